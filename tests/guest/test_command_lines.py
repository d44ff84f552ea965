"""Command lines that people have, from docs/qemu-command-lines.md: each boots or is refused clearly."""

import os
import re
import select
import shlex
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

import bootable
import guest
import rhea
import tap

PAGE = rhea.SOURCE / "docs/qemu-command-lines.md"
BLOCK = re.compile(r"^```\n(qemu-system-x86_64 .*)\n```\n(Boots|Waits|Refused)(?:: `(.*)`)?", re.M)
BOOTED = "up and running"
BOOT_SECONDS = 120
WAITS_SECONDS = 2  # in which a machine that should wait would have begun to boot


class CommandLines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            images = guest.images.Images(guest.CACHE)
            kernel = images.kernel()[0]
            initramfs = images.initramfs("echo %s\n" % BOOTED + guest.EPILOGUE, ())
        except guest.images.ImageError as error:
            raise unittest.SkipTest("no kernel to boot: %s" % error)
        folder = tempfile.TemporaryDirectory(prefix="rhea-lines-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        shutil.copy(kernel, cls.path("vmlinuz"))
        shutil.copy(initramfs, cls.path("initrd.img"))
        cls.make("disk.img", bootable.disk(BOOTED, bootable.SERIAL_PORT))
        cls.make("cd.iso", bootable.cd(BOOTED, bootable.SERIAL_PORT))
        cls.make("disk.qcow2", b"QFI\xfb" + struct.pack(">I", 3) + bytes(1 << 16))

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def make(cls, name, data):
        with open(cls.path(name), "wb") as f:
            f.write(data)

    def start(self, line):
        words = shlex.split(line)
        return subprocess.Popen([guest.PROGRAM or rhea.PROGRAM, *words[1:]], cwd=self.folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def read_until(self, process, text, seconds):
        """What it says until that text comes, it ends, or time is over."""
        said = b""
        end = time.monotonic() + seconds
        while text.encode() not in said:
            left = end - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                break
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                break
            said += part
        return said.decode(errors="replace")

    def stop(self, process):
        process.terminate()
        try:
            return process.wait(rhea.PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def check(self, line, outcome, reason):
        process = self.start(line)
        if outcome == "Refused":
            said = process.communicate(timeout=rhea.PATIENCE)[0].decode()
            self.assertEqual(process.returncode, 1, said)
            self.assertIn(reason, said)
            self.assertEqual(said.count("\n"), 1, said)
            return
        seconds = BOOT_SECONDS if outcome == "Boots" else WAITS_SECONDS
        said = self.read_until(process, BOOTED, seconds)
        ended = process.poll() is not None and outcome == "Waits"
        status = self.stop(process)
        self.assertEqual((BOOTED in said, ended, status), (outcome == "Boots", False, 0), said)

    def test_all(self):
        lines = BLOCK.findall(PAGE.read_text())
        self.assertGreaterEqual(len(lines), 20)
        self.assertEqual(len(lines), PAGE.read_text().count("\nqemu-system-x86_64 "))
        for line, outcome, reason in lines:
            with self.subTest(line):
                self.check(line, outcome, reason)


if __name__ == "__main__":
    tap.main()
