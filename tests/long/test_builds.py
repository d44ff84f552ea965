"""Other ways to build the program: another compiler, sanitizers, an archive, an installation.

The build folders stay (build/other/NAME), so that a second run is fast.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import tap

SOURCE = pathlib.Path(os.environ["RHEA_SOURCE"])
BUILD = pathlib.Path(os.environ["RHEA_BUILD"])
SHOWN = 4000  # characters of a failing command's output


def run(*command, **options):
    environment = dict(os.environ, **options.pop("environment", {}))
    for name in ("RHEA", "RHEA_BUILD", "RHEA_SOURCE", "MAKEFLAGS"):
        environment.pop(name, None)
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        **options,
    )
    if done.returncode:
        raise AssertionError("%s: exit status %d\n%s"
                             % (" ".join(map(str, command)), done.returncode, done.stdout[-SHOWN:]))
    return done.stdout


def build(name, *options, environment=None, source=SOURCE):
    folder = BUILD / "other" / name
    if not (folder / "build.ninja").exists():
        run("meson", "setup", folder, source, *options, environment=environment or {})
    run("ninja", "-C", folder)
    return folder


class Clang(unittest.TestCase):
    @unittest.skipUnless(shutil.which("clang"), "clang is not installed")
    def test_build_and_quick_tests(self):
        folder = build("clang", "-Dtrace_backends=log,simple,syslog,usdt",
                       environment={"CC": "clang"})
        run(SOURCE / "tests/run", "--build", folder, "--time", "3", "quick")


class OneTraceBackend(unittest.TestCase):
    def test_build(self):
        folder = build("syslog", "-Dtrace_backends=syslog", "-Dbuildtype=release")
        self.assertIn("rhea", run(folder / "rhea", "-version").lower())


class Asan(unittest.TestCase):
    def test_build_and_tests(self):
        folder = build("asan", "-Db_sanitize=address,undefined", "-Db_lundef=false")
        run(SOURCE / "tests/run", "--build", folder, "--time", "5", "quick", "device",
            "contract",
            environment={"RHEA_PATIENCE": "90"})


class Tsan(unittest.TestCase):
    def test_build_and_tests(self):
        folder = build("tsan", "-Db_sanitize=thread", "-Db_lundef=false")
        run(SOURCE / "tests/run", "--build", folder, "--time", "10", "quick", "device",
            environment={"RHEA_PATIENCE": "120"})


class Install(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rhea-install-"))
        self.addCleanup(shutil.rmtree, self.dir)

    def test_installation_runs(self):
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.dir)
        (program,) = self.dir.glob("**/bin/rhea")
        self.assertIn("rhea", run(program, "-version").lower())
        for tool in ("rhea-trace-read", "rhea-vhost-net"):
            self.assertTrue((program.parent / tool).exists(), tool)

    @unittest.skipUnless((SOURCE / ".git").exists(), "an archive is made from a repository")
    def test_archive_builds(self):
        run("git", "clone", "-q", "--no-local", SOURCE, self.dir / "clone")
        run("meson", "setup", self.dir / "clone/build", self.dir / "clone")
        run("meson", "dist", "-C", self.dir / "clone/build", "--no-tests", "--formats", "gztar")
        (archive,) = (self.dir / "clone/build/meson-dist").glob("*.tar.gz")
        run("tar", "-C", self.dir, "-xf", archive)
        (tree,) = self.dir.glob("rhea-*")
        run("meson", "setup", self.dir / "built", tree)
        run("ninja", "-C", self.dir / "built", "rhea")
        self.assertIn("rhea", run(self.dir / "built/rhea", "-version").lower())


@unittest.skipUnless(shutil.which("dpkg-buildpackage") and shutil.which("dh"),
                     "debhelper is not installed")
class DebianPackage(unittest.TestCase):
    def test_package_builds_and_runs(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="rhea-package-"))
        self.addCleanup(shutil.rmtree, folder)
        run("git", "clone", "-q", "--no-local", SOURCE, folder / "rhea")
        run("dpkg-buildpackage", "-b", "-us", "-uc", cwd=folder / "rhea",
            environment={"DEB_BUILD_OPTIONS": "nocheck"})
        (package,) = folder.glob("rhea_*.deb")
        run("dpkg-deb", "-x", package, folder / "root")
        (modules,) = (folder / "root").glob("usr/lib/*/rhea")
        out = run("timeout", "20", folder / "root/usr/bin/rhea", "-machine", "none", "-netdev",
                  "user,id=n0", "-dump-vmstate", "/dev/null",
                  environment={"RHEA_MODULE_DIR": str(modules)})
        self.assertNotIn("error", out)


if __name__ == "__main__":
    tap.main()
