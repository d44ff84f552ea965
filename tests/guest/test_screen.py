"""What firmware and boot sectors draw, seen through screendump."""

import pathlib
import struct
import tempfile
import time
import unittest
import zlib

import rhea
import tap

PATIENCE = 60
# Text, 4 and 2 colours in two banks, 16 in planes, 256 in a row; then linear ones by VESA's numbers.
MODES = {0x03: (720, 400), 0x04: (320, 200), 0x06: (640, 200), 0x0D: (320, 200), 0x12: (640, 480),
         0x13: (320, 200), 0x101: (640, 480), 0x103: (800, 600), 0x111: (640, 480),
         0x118: (1024, 768)}


def drawing(mode):
    """A boot sector that sets a mode, writes a row of X by the BIOS, and stands still."""
    code = b"\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x7c"
    if mode < 0x100:
        code += b"\xb8" + struct.pack("<H", mode) + b"\xcd\x10"
    else:
        code += b"\xb8\x02\x4f\xbb" + struct.pack("<H", mode) + b"\xcd\x10"
    code += b"\xb9\x14\x00\xb8\x58\x0e\xbb\x0f\x00\x51\xcd\x10\x59\xe2\xf4\xeb\xfe"
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")


def read_ppm(path):
    data = path.read_bytes()
    head, size, most, pixels = data.split(b"\n", 3)
    assert head == b"P6" and most == b"255"
    width, height = map(int, size.split())
    assert len(pixels) == 3 * width * height
    return width, height, pixels


def read_png(path):
    data, at, chunks = path.read_bytes(), 8, {}
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        size, = struct.unpack_from(">I", data, at)
        body = data[at + 4:at + 8 + size]
        assert zlib.crc32(body) == struct.unpack_from(">I", data, at + 8 + size)[0]
        chunks[body[:4]] = body[4:]
        at += 12 + size
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    raw = zlib.decompress(chunks[b"IDAT"])
    step = 3 * width + 1
    return width, height, b"".join(raw[i * step + 1:(i + 1) * step] for i in range(height))


def has_letters(width, pixels):
    """Twenty times the same, and something, in the first eight lines."""
    for y in range(8):
        row = pixels[3 * y * width:3 * (y * width + 160)]
        if row != row[:24] * 20:
            return False
    return bool(pixels[:24 * width].strip(b"\0"))


class Screen(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def shot(self, r, **options):
        path = self.folder / "shot"
        r.qmp("screendump", filename=str(path), **options)
        return path

    def wait_for(self, r, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            picture = read_ppm(self.shot(r))
            if wanted(*picture):
                return picture
            self.assertLess(time.monotonic(), end, picture[:2])
            time.sleep(0.05)

    def test_firmware_writes(self):
        for machine in ("pc", "q35"):
            with rhea.Rhea("-machine", machine, "-display", "none", "-serial", "none") as r:
                width, height, pixels = self.wait_for(
                    r, lambda w, h, p: (w, h) == (720, 400) and p.count(b"\xaa\xaa\xaa") > 500)
                r.qmp("stop")
                ppm, png = read_ppm(self.shot(r)), read_png(self.shot(r, format="png"))
                self.assertEqual(ppm, png)

    def test_modes(self):
        for mode, size in MODES.items():
            disk = self.folder / "disk"
            disk.write_bytes(drawing(mode))
            with self.subTest(hex(mode)), rhea.Rhea("-display", "none", "-serial", "none", "-hda",
                                                    disk) as r:
                # Twenty equal letters beside each other; text has a cursor and firmware's lines.
                self.wait_for(r, lambda w, h, p: (w, h) == size and (
                    mode == 3 or has_letters(w, p)))

    def test_no_display(self):
        with rhea.Rhea("-nodefaults", "-display", "none", "-accel", "qtest") as r:
            with self.assertRaisesRegex(Exception, "no console"):
                self.shot(r)
        with rhea.Rhea("-vga", "none", "-display", "none", "-accel", "qtest") as r:
            with self.assertRaisesRegex(Exception, "no console"):
                self.shot(r)
        with rhea.Rhea("-nodefaults", "-display", "none", "-accel", "qtest", "-device",
                       "VGA,id=v,vgamem_mb=32", "-device", "edu,id=e") as r:
            self.shot(r, device="v", head=0)
            for device, head in (("e", 0), ("v", 1), ("x", 0)):
                with self.assertRaises(Exception):
                    self.shot(r, device=device, head=head)


if __name__ == "__main__":
    tap.main()
