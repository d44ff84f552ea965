#!/usr/bin/env python3
"""Things for guests to boot, made from Debian's packages and kept in a cache folder.

    images.py kernel                         path of an unmodified Debian kernel
    images.py initramfs [--modules A,B] --init FILE --output FILE
                                             busybox, the modules with all they need, and /init

Nothing is installed: packages are downloaded with apt-get and unpacked. As a module, Images gives
the same to tests (tests/lib/guest.py) and to `make run`.
"""

import argparse
import fcntl
import gzip
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

KERNEL_PACKAGE = "linux-image-cloud-amd64"
FULL_KERNEL_PACKAGE = "linux-image-amd64"  # with drivers for everything
BUSYBOX_PACKAGE = "busybox-static"
RECHECK_SECONDS = 7 * 86400  # how long a downloaded kernel is taken for the current one

# Enough to look round, to drive a network card and to leave.
INIT_PROLOGUE = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /bin /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
for m in $(cat /modules.list); do insmod "$m"; done
"""


class ImageError(Exception):
    """What can't be had, and why, on one line."""


def run(command, **options):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ImageError("%s: %s" % (" ".join(command[:3]), last))
    return done.stdout


class Cpio:
    """An archive in the format that the kernel unpacks (newc)."""

    def __init__(self):
        self.parts = []
        self.inode = 0
        self.folders = set()

    def entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        self.parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def folder(self, name):
        if name and name not in self.folders:
            self.folder(os.path.dirname(name))
            self.folders.add(name)
            self.entry(name, 0o040755)

    def file(self, name, data, mode=0o644):
        self.folder(os.path.dirname(name))
        self.entry(name, 0o100000 | mode, data)

    def device(self, name, major, minor):
        self.folder(os.path.dirname(name))
        self.entry(name, 0o020600, rdev=(major, minor))

    def finish(self):
        self.entry("TRAILER!!!", 0)
        return b"".join(self.parts)


class Images:
    """The cache folder; safe to use from several processes at once."""

    def __init__(self, cache, progress=None, kernel=KERNEL_PACKAGE):
        self.cache = pathlib.Path(cache)
        self.meta = kernel  # the meta package
        self.cache.mkdir(parents=True, exist_ok=True)
        self.progress = progress or (lambda text: None)

    def locked(self):
        lock = open(self.cache / "lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock  # released when it is closed

    def unpack(self, package):
        """Download a package and unpack it; the folder. Only once."""
        folder = self.cache / package
        if folder.exists():
            return folder
        self.progress("downloading %s" % package)
        fresh = self.cache / (package + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            run(["apt-get", "download", package], cwd=fresh)
        except ImageError:
            # No package lists, or too old ones.
            as_root = [] if os.getuid() == 0 else ["sudo"]
            run(as_root + ["apt-get", "update"])
            run(["apt-get", "download", package], cwd=fresh)
        (deb,) = fresh.glob("*.deb")
        run(["dpkg-deb", "-x", str(deb), str(fresh)])
        deb.unlink()
        fresh.rename(folder)
        return folder

    def kernel_package(self):
        """The current kernel's package, by what Debian's meta package depends on."""
        note = self.cache / ("current-" + self.meta)
        if note.exists() and time.time() - note.stat().st_mtime < RECHECK_SECONDS:
            return note.read_text().strip()
        depends = ["apt-cache", "depends", "--no-recommends", self.meta]
        found = re.search(r"Depends: (linux-image-\S+)", run(depends))
        if not found:
            as_root = [] if os.getuid() == 0 else ["sudo"]
            run(as_root + ["apt-get", "update"])
            found = re.search(r"Depends: (linux-image-\S+)", run(depends))
        if not found:
            raise ImageError("no package %s: is this Debian 12?" % self.meta)
        note.write_text(found[1] + "\n")
        return found[1]

    def kernel(self):
        """(vmlinuz, folder of its modules)"""
        with self.locked():
            folder = self.unpack(self.kernel_package())
            (vmlinuz,) = (folder / "boot").glob("vmlinuz-*")
            (modules,) = (folder / "lib/modules").glob("*")
            if not (modules / "modules.dep").exists():
                run(["depmod", "-b", str(folder), modules.name])
        return vmlinuz, modules

    def busybox(self):
        """An executable that needs no libraries."""
        with self.locked():
            return self.unpack(BUSYBOX_PACKAGE) / "bin/busybox"

    def module_files(self, names):
        """The files of the modules and of all they need, in the order to load them."""
        _, folder = self.kernel()
        needs = {}
        paths = {}
        for line in (folder / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
            paths[re.sub(r"\.ko.*", "", os.path.basename(path)).replace("-", "_")] = path
        built_in = {
            re.sub(r"\.ko.*", "", os.path.basename(line)).replace("-", "_")
            for line in (folder / "modules.builtin").read_text().splitlines()
        }
        order = []

        def add(path):
            if path not in order:
                for other in reversed(needs[path]):
                    add(other)
                order.append(path)

        for name in names:
            name = name.replace("-", "_")
            if name in paths:
                add(paths[name])
            elif name not in built_in:
                raise ImageError("the kernel has no module '%s'" % name)
        return [folder / path for path in order]

    def initramfs(self, script, modules=(), files=(), output=None):
        """
        Make an archive whose /init sets up a shell's surroundings, loads the modules, and goes on
        with the script. files: (name inside, path outside) pairs. The same contents are made once.
        """
        module_files = self.module_files(modules)
        busybox = self.busybox()
        key = hashlib.sha256(repr((INIT_PROLOGUE, script, module_files)).encode())
        for name, path in files:
            key.update(name.encode() + pathlib.Path(path).read_bytes())
        output = pathlib.Path(output or self.cache / ("initramfs-%s.gz" % key.hexdigest()[:16]))
        if output.exists() and output.parent == self.cache:
            return output
        archive = Cpio()
        archive.file("bin/busybox", busybox.read_bytes(), 0o755)
        archive.device("dev/console", 5, 1)
        archive.device("dev/null", 1, 3)
        for path in module_files:
            archive.file("lib/modules/" + path.name, path.read_bytes())
        names = "".join("/lib/modules/%s\n" % path.name for path in module_files)
        archive.file("modules.list", names.encode())
        for name, path in files:
            path = pathlib.Path(path)
            archive.file(name, path.read_bytes(), path.stat().st_mode & 0o777)
        archive.file("init", (INIT_PROLOGUE + script).encode(), 0o755)
        fresh = output.with_suffix(".%d" % os.getpid())
        fresh.write_bytes(gzip.compress(archive.finish(), 1, mtime=0))
        fresh.rename(output)
        return output


def main():
    source = pathlib.Path(__file__).resolve().parents[2]
    default = os.environ.get("RHEA_GUEST_CACHE") or source / "build/guest-cache"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", default=default)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("kernel")
    make = what.add_parser("initramfs")
    make.add_argument("--modules", default="")
    make.add_argument("--init", required=True, help="shell script that /init goes on with")
    make.add_argument("--output", required=True)
    args = parser.parse_args()
    images = Images(args.cache, lambda text: print(text, file=sys.stderr))
    try:
        if args.what == "kernel":
            print(images.kernel()[0])
        else:
            script = pathlib.Path(args.init).read_text()
            modules = [name for name in args.modules.split(",") if name]
            print(images.initramfs(script, modules, output=args.output))
    except ImageError as error:
        sys.exit("images.py: %s" % error)


if __name__ == "__main__":
    main()
