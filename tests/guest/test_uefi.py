"""UEFI firmware (Debian's ovmf) in flash: it reaches its shell, and keeps its variables."""

import pathlib
import shutil
import tempfile
import time
import unittest

import rhea
import tap

FOLDER = pathlib.Path("/usr/share/OVMF")
CODE, VARS = FOLDER / "OVMF_CODE_4M.fd", FOLDER / "OVMF_VARS_4M.fd"
PATIENCE = 150
# The shell's prompt and headings are yellow, which nothing before it is.
YELLOW = b"\xff\xff\x00"


@unittest.skipUnless(CODE.exists(), "ovmf is not installed")
class Uefi(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.vars = self.folder / "vars"
        shutil.copy(VARS, self.vars)

    def yellow(self, r):
        path = self.folder / "shot"
        r.qmp("screendump", filename=str(path))
        return path.read_bytes().count(YELLOW)

    def wait_for_shell(self, *args):
        with rhea.Rhea("-m", "256", "-display", "none", "-serial", "none", "-vga", "std", *args) as r:
            end = time.monotonic() + PATIENCE
            while self.yellow(r) < 200:
                self.assertLess(time.monotonic(), end, "no shell")
                time.sleep(0.5)

    def test_shell_and_variables(self):
        for machine in ("q35", "pc"):
            with self.subTest(machine):
                shutil.copy(VARS, self.vars)
                self.wait_for_shell("-machine", machine,
                                    "-drive", "if=pflash,unit=0,readonly=on,file=%s" % CODE,
                                    "-drive", "if=pflash,unit=1,file=%s" % self.vars)
                self.assertNotEqual(self.vars.read_bytes(), VARS.read_bytes())
                self.assertIn("BootOrder".encode("utf-16-le"), self.vars.read_bytes())

    def test_flash_by_node(self):
        self.wait_for_shell("-blockdev", "driver=file,node-name=code,read-only=on,filename=%s" % CODE,
                            "-blockdev", "driver=file,node-name=vars,filename=%s" % self.vars,
                            "-machine", "q35,pflash0=code,pflash1=vars")


class Flash(unittest.TestCase):
    """The Intel command set, from outside."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def image(self, name, size):
        path = self.folder / name
        path.write_bytes(bytes(range(256)) * (size // 256))
        return path

    def test_commands(self):
        upper, lower = self.image("upper", 1 << 16), self.image("lower", 1 << 15)
        with rhea.Rhea("-machine", "q35", "-nodefaults", "-display", "none", "-qtest-log", "none",
                       "-drive", "if=pflash,unit=0,readonly=on,file=%s" % upper,
                       "-drive", "if=pflash,unit=1,file=%s" % lower, qtest=True) as r:
            q = r.qtest
            flash, rom = (1 << 32) - (1 << 16) - (1 << 15), (1 << 32) - (1 << 16)
            self.assertEqual(q.readl(flash + 4), 0x07060504)
            self.assertEqual(q.read(0xF0010, 4), b"\x10\x11\x12\x13", "below 1 MiB")
            q.writeb(flash, 0x98)
            self.assertEqual(bytes(q.readb(flash + 0x10 + i) for i in range(3)), b"QRY")
            self.assertEqual(q.readb(flash + 0x27), 15, "size")
            q.writeb(flash, 0x20)
            q.writeb(flash + 0x1234, 0xD0)  # erase a block
            self.assertEqual(q.readb(flash), 0x80, "ready, no error")
            q.writeb(flash, 0xFF)
            self.assertEqual(q.read(flash + 0x1000, 0x1000), b"\xff" * 0x1000)
            self.assertEqual(q.readb(flash + 0x0FFF), 0xFF)
            self.assertEqual(q.readb(flash + 0x2001), 0x01)
            for byte in (0xF0, 0x3C):
                q.writeb(flash, 0x10)
                q.writeb(flash + 0x1000, byte)
            q.writeb(flash, 0xE8)
            q.writeb(flash, 3)
            for i, byte in enumerate(b"Rhea"):
                q.writeb(flash + 0x1800 + i, byte)
            q.writeb(flash, 0xD0)
            q.writeb(flash, 0xFF)
            self.assertEqual(q.readb(flash + 0x1000), 0x30, "bits are only cleared")
            self.assertEqual(q.read(flash + 0x1800, 4), b"Rhea")
            # The other one can't be written.
            q.writeb(rom, 0x10)
            q.writeb(rom + 9, 0)
            self.assertEqual(q.readb(rom), 0x90, "program error")
            q.writeb(rom, 0x50)
            self.assertEqual(q.readb(rom + 9), 9)
        data = lower.read_bytes()
        self.assertEqual(data[0x1800:0x1804], b"Rhea")
        self.assertEqual(data[0x1004:0x1800], b"\xff" * 0x7FC)

    def test_refusals(self):
        good, odd = self.image("good", 1 << 16), self.image("odd", 256)
        for args, why in (
                (("-drive", "if=pflash,file=%s" % odd), "multiple of 4096"),
                (("-drive", "if=pflash,unit=1,file=%s" % good), "needs a first one"),
                (("-drive", "if=pflash,file=%s" % good, "-bios", "x"), "leave out -bios"),
                (("-drive", "if=pflash,file=%s" % good, "-machine", "pflash0=pflash0"), "exclude")):
            status, _, said = rhea.run("-machine", "q35", "-display", "none", "-accel", "qtest", *args)
            with self.subTest(why, said=said):
                self.assertEqual(status, 1)
                self.assertIn(why, said)


if __name__ == "__main__":
    tap.main()
