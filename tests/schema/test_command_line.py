"""The program's command line as users meet it: wrong input is one line and status 1, with nothing
half-started; help is help."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import tap

RHEA = os.environ.get("RHEA") or str(pathlib.Path(__file__).parents[2] / "build" / "rhea")

# arguments -> the message behind "rhea: ". "..." stands for anything.
WRONG = [
    (["-foo"], "-foo: unknown option; '-help' lists them"),
    (["-machin", "none"], "-machin: unknown option; did you mean '-machine'?"),
    (["-machine=none"],
     "-machine=none: write the argument as a word of its own: '-machine none'"),
    (["-m"], "-m: needs an argument: ..."),
    (["file"], "'file' is not an option: options begin with '-'; '-help' lists them"),
    (["-m", "12x"], "-m 12x: Parameter 'size' expects a size in bytes, or with a suffix K, M, G or"
     " T, got '12x'"),
    (["-m", "size=1G,slot=2"],
     "-m size=1G,slot=2: Unknown parameter 'slot'; did you mean 'slots'?"),
    (["-m", "size=1G,size=2G"], "-m size=1G,size=2G: Parameter 'size' is given twice"),
    (["-smp", "cpus=0"],
     "-smp cpus=0: Parameter 'cpus' expects an integer between 1 and 65535, got '0'"),
    (["-rtc", "clock=hots"], "-rtc clock=hots: Parameter 'clock' expects one of host, rt, vm, got"
     " 'hots'; did you mean 'host'?"),
    (["-uuid", "1"], "-uuid 1: a UUID is written ..."),
    (["-netdev", "{\"type\": \"user\""], "-netdev {\"type\": \"user\": invalid JSON at ..."),
    (["-netdev", "{\"type\": \"user\", \"id\": 5}"],
     "-netdev {\"type\": \"user\", \"id\": 5}: Parameter 'id' expects a string, got 5"),
    (["-device", "x,id=1"], "-device x,id=1: Parameter 'id' expects a letter, ..."),
    (["-object", "x,id=a", "-object", "x,id=a"],
     "-object x,id=a: id 'a' is already taken by an earlier -object"),
    (["-machine", "none,accel=kvm", "-accel", "qtest"],
     "-machine accel=kvm and -accel exclude each other; use -accel only"),
    (["-machine", "nome"], "...'nome'...did you mean 'none'?"),
    (["-global", "x"], "-global x: expected TYPE.PROPERTY=VALUE"),
    (["-readconfig", "/nonexistent"],
     "can't read config file '/nonexistent': No such file or directory"),
    (["-name", "\xff\udcff"], "...not UTF-8"),
]

FILES = [
    ("[memory]\nsiz = \"1\"\n", ":1: Unknown parameter 'siz'; did you mean 'size'?"),
    ("[machine]\ntype = none\n", ":2: expected key = \"value\" with the value in quotes"),
    ("\n[machin]\n", ":2: there is no option group 'machin'; did you mean 'machine'?"),
    ("[memory]\nsize = \"lots\"\n", ":1: Parameter 'size' expects a size ..."),
]


def run(*arguments, **more):
    return subprocess.run([RHEA, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=20, errors="surrogateescape", **more)


class CommandLine(unittest.TestCase):
    def assert_refused(self, done, message):
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        pattern = "rhea: " + ".*".join(re.escape(part) for part in message.split("..."))
        self.assertRegex(done.stderr, "^" + pattern + "\n$")

    def test_wrong_input(self):
        with tempfile.TemporaryDirectory() as folder:
            for arguments, message in WRONG:
                with self.subTest(arguments):
                    # whatever else was asked for isn't left behind
                    self.assert_refused(
                        run("-no-user-config", "-nodefaults", "-pidfile", "pid", "-qmp",
                            "unix:socket,server=on,wait=off", *arguments, cwd=folder), message)
                    self.assertEqual(os.listdir(folder), [])

    def test_wrong_files(self):
        for text, message in FILES:
            with self.subTest(text), tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
                file.write(text)
                file.flush()
                self.assert_refused(run("-no-user-config", "-readconfig", file.name),
                                    file.name + message)

    def test_default_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "rhea.conf")
            path.write_text("[nonsense]\n")
            environment = dict(os.environ, RHEA_CONFDIR=folder)
            self.assert_refused(run("-machine", "help", env=environment),
                                "%s:1: there is no option group 'nonsense'" % path)
            for option in ("-no-user-config", "-nouserconfig"):
                done = run(option, "-machine", "help", env=environment)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_help(self):
        self.assertIn("\n-machine, -M ", run("-help").stdout)
        self.assertEqual(run("-h").stdout, run("--help").stdout)
        self.assertRegex(run("-version").stdout, r"^Rhea emulator version \d+\.\d+\.\d+\n$")
        for option in ("machine", "device", "object", "accel", "netdev", "chardev", "d", "trace",
                       "module", "numa", "smp", "m", "rtc"):
            with self.subTest(option):
                done = run("-" + option, "help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertNotEqual(done.stdout, "")
                self.assertEqual(run("-" + option, "?").stdout, done.stdout)

    def test_help_of_one_type(self):
        done = run("-netdev", "socket,help")
        self.assertIn("listen=<str>", done.stdout)
        done = run("-object", "memory-backend-file,?")
        self.assertIn("mem-path=<str>", done.stdout)

    def test_write_and_read_again(self):
        arguments = ["-machine", "none,accel=qtest", "-m", "256", "-name", "a,process=b", "-no-reboot",
                     "-chardev", "{\"backend\": \"null\", \"id\": \"c\"}", "-S",
                     "-object", "memory-backend-ram,id=m,size=1M,share=on", "-global", "a.b=c,d"]
        with tempfile.TemporaryDirectory() as folder:
            first, second = folder + "/first", folder + "/second"
            run("-no-user-config", *arguments, "-writeconfig", first, "-machine", "bad-type")
            run("-no-user-config", "-readconfig", first, "-writeconfig", second)
            text = pathlib.Path(first).read_text()
            self.assertEqual(text, pathlib.Path(second).read_text())
            self.assertIn("[object \"m\"]\n  qom-type = \"memory-backend-ram\"\n", text)
            self.assertIn("[S]\n", text)


if __name__ == "__main__":
    tap.main()
