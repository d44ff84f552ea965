"""SeaBIOS starts boot sectors from each kind of disk, in the order it is told."""

import pathlib
import struct
import tempfile
import unittest

import rhea
import tap

EXIT_PORT = 0xF4
DEBUG_PORT = 0xE9
PATIENCE = 60


def boot_sector(text):
    """16-bit code that says text on the debug port and ends the program with status 33."""
    code = bytearray(b"\x31\xc0\x8e\xd8\xbe\0\0"  # xor ax,ax; mov ds,ax; mov si,text
                     b"\xac\x84\xc0\x74\x04\xe6\xe9\xeb\xf7"  # each byte: out 0xe9,al
                     b"\xba\xf4\0\xb0\x10\xee\xf4\xeb\xfd")  # out 0xf4; hlt
    struct.pack_into("<H", code, 5, 0x7C00 + len(code))
    code += text.encode() + b"\0"
    return bytes(code.ljust(510, b"\0")) + b"\x55\xaa"


def bootable_cd(text):
    """ISO 9660 with an El Torito catalogue: one image without emulation."""
    sectors = {16: b"\1CD001\1", 17: b"\0CD001\1EL TORITO SPECIFICATION".ljust(0x47, b"\0") +
               struct.pack("<I", 19), 18: b"\xffCD001\1"}
    validation = bytearray(b"\1\0\0\0".ljust(30, b"\0") + b"\x55\xaa")
    struct.pack_into("<H", validation, 0x1C, -sum(struct.unpack("<16H", validation)) & 0xFFFF)
    entry = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 20)
    sectors[19] = bytes(validation) + entry
    sectors[20] = boot_sector(text)
    return b"".join(sectors.get(i, b"").ljust(2048, b"\0") for i in range(64))


class Firmware(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def disk(self, name, data):
        path = self.folder / name
        path.write_bytes(data.ljust(1 << 20, b"\0"))
        return str(path)

    def boot(self, *args):
        said = self.folder / "said"
        said.write_bytes(b"")
        status, _, errors = rhea.run("-display", "none", "-serial", "none", "-debugcon",
                                     "file:%s" % said, "-device",
                                     "isa-debug-exit,iobase=0x%x" % EXIT_PORT, *args,
                                     timeout=PATIENCE)
        self.assertEqual(status, 33, errors)
        return said.read_text()

    def test_every_kind_of_disk(self):
        disk = self.disk("disk", boot_sector("from a disk"))
        cd = self.disk("cd", bootable_cd("from a CD"))
        for machine in ("pc", "q35"):
            for args, text in (
                    (("-hda", disk), "from a disk"),
                    (("-hdd", disk), "from a disk"),
                    (("-drive", "file=%s,if=ide,bus=1,unit=0,format=raw" % disk), "from a disk"),
                    (("-drive", "file=%s,if=virtio,format=raw" % disk), "from a disk"),
                    (("-cdrom", cd), "from a CD"),
                    (("-drive", "file=%s,media=cdrom,index=0" % cd), "from a CD"),
                    (("-drive", "file=%s,if=none,id=d" % disk, "-device", "ich9-ahci,id=sata",
                      "-device", "ide-hd,drive=d,bus=sata.3"), "from a disk")):
                with self.subTest(machine=machine, args=args):
                    self.assertEqual(self.boot("-machine", machine, *args), text)

    def test_boot_index_goes_before_everything(self):
        names = ("first", "second", "third")
        disks = [self.disk(name, boot_sector(name)) for name in names]
        cd = self.disk("cd", bootable_cd("CD"))
        for machine, sata in (("pc", "ide.1"), ("q35", "ide.4")):
            for index in range(1, 5):
                order = [i if i >= index else index - 1 - i for i in range(4)]
                args = ["-machine", machine]
                for i, (name, path) in enumerate(zip(names, disks)):
                    args += ["-drive", "file=%s,if=none,id=%s,format=raw" % (path, name)]
                args += ["-device", "ide-hd,drive=first,bus=ide.0,bootindex=%d" % order[0],
                         "-device", "virtio-blk-pci,drive=second,bootindex=%d" % order[1],
                         "-device", "ide-hd,drive=third,bus=%s,bootindex=%d" % (sata, order[2]),
                         "-drive", "file=%s,if=none,id=cd,media=cdrom" % cd,
                         "-device", "ide-cd,drive=cd,bus=%s,bootindex=%d" %
                         ("ide.0" if machine == "pc" else "ide.5", order[3])]
                with self.subTest(machine=machine, order=order):
                    self.assertEqual(self.boot(*args), (*names, "CD")[order.index(0)])

    def test_order_of_letters(self):
        disk = self.disk("disk", boot_sector("disk"))
        cd = self.disk("cd", bootable_cd("CD"))
        for order, text in (("c", "disk"), ("d", "CD"), ("dc", "CD"), ("order=c,once=d", "CD")):
            with self.subTest(order=order):
                self.assertEqual(self.boot("-machine", "pc", "-hda", disk, "-cdrom", cd, "-boot",
                                           order), text)

    def test_an_index_belongs_to_one_device(self):
        disk = self.disk("disk", boot_sector("disk"))
        status, _, said = rhea.run("-display", "none", "-hda", disk, "-accel", "qtest",
                                   "-device", "virtio-net-pci,bootindex=1",
                                   "-device", "virtio-net-pci,bootindex=1")
        self.assertEqual(status, 1)
        self.assertIn("bootindex 1 is used twice", said)


if __name__ == "__main__":
    tap.main()
