"""-icount: instructions are counted exactly, and are the clock: the same run every time."""

import os
import re
import shutil
import tempfile
import unittest

import guest
import rhea
import tap

BAREMETAL = rhea.BUILD / "tests/guest/baremetal"


class Exact(unittest.TestCase):
    def run_kernel(self, *more):
        status, out, err = rhea.run(
            "-M", "q35", "-accel", "jit", "-m", "32", "-display", "none", "-nodefaults",
            "-kernel", BAREMETAL / "icount.img", "-device", "isa-debug-exit,iobase=0xf4",
            "-debugcon", "stdio", *more, timeout=60)
        return status, out, err

    def test_each_instruction_counts_once(self):
        status, out, err = self.run_kernel("-icount", "shift=0,sleep=off")
        self.assertNotIn("not ok", out + err)
        self.assertRegex(out, r"(?m)^1\.\.\d\d$")

    def test_translated_one_by_one(self):
        out = self.run_kernel("-icount", "shift=0,sleep=off", "-d", "nochain")[1]
        self.assertNotIn("not ok", out)
        self.assertRegex(out, r"(?m)^1\.\.\d\d$")

    def test_options(self):
        for option, message in (("shift=11", "neither a number from 0 to 10 nor auto"),
                                ("auto,sleep=off", "don't go together"),
                                ("shift=1,align=on,sleep=off", "don't go together"),
                                ("shift=1,rr=record,rrfile=x", "aren't implemented"),
                                ("sleep=off", "shift")):
            status, _, err = rhea.run("-icount", option, "-M", "none", "-accel", "jit")
            self.assertEqual(status, 1, option)
            self.assertIn(message, err)
        status, _, err = rhea.run("-icount", "1", "-M", "none", "-accel", "qtest")
        self.assertEqual(status, 1)
        self.assertIn("-accel jit", err)


class SameRun(guest.GuestTest):
    script = """
i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo "counted $i"
sleep 1
dd if=/dev/urandom bs=1k count=4 2>/dev/null | sha256sum
cat /proc/interrupts /proc/uptime
"""
    cpus = 1

    def one(self, icount, *more):
        folder = tempfile.mkdtemp(prefix="rhea-icount-")
        self.addCleanup(shutil.rmtree, folder)
        serial = os.path.join(folder, "serial")
        initramfs = self.images.initramfs(self.script + guest.EPILOGUE)
        with rhea.Rhea("-nodefaults", "-display", "none", "-machine", "q35", "-accel", "jit",
                       "-smp", self.cpus, "-m", "256", "-kernel", self.kernel, "-initrd", initramfs,
                       "-append", "console=ttyS0", "-rtc", "base=2026-01-01,clock=vm",
                       "-serial", "file:" + serial, "-no-shutdown", "-icount", icount, *more) as r:
            r.qmp.event("SHUTDOWN", timeout=150)
            count = re.search(r"instructions: (\d+)", r.qmp.hmp("info icount"))[1]
        return int(count), open(serial, encoding="utf-8", errors="replace").read()

    def test_twice(self):
        for icount in ("shift=1,sleep=off", "shift=3"):
            with self.subTest(icount):
                first, second = self.one(icount), self.one(icount)
                self.assertIn("counted 300", first[1])
                self.assertEqual(first[1], second[1])
                self.assertEqual(first[0], second[0])
                self.assertGreater(first[0], 100 * 1000 * 1000)

    def test_others(self):
        for icount in ("auto", "shift=2,align=on"):
            with self.subTest(icount):
                self.assertIn("counted 300", self.one(icount)[1])


class SameRunOfSeveral(SameRun):
    cpus = 2


if __name__ == "__main__":
    tap.main()
