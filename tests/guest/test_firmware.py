"""SeaBIOS starts boot sectors from each kind of disk, in the order it is told."""

import pathlib
import tempfile
import unittest

import bootable
import rhea
import tap

PATIENCE = 60


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
                                     "isa-debug-exit,iobase=0x%x" % bootable.EXIT_PORT, *args,
                                     timeout=PATIENCE)
        self.assertEqual(status, 33, errors)
        return said.read_text()

    def test_every_kind_of_disk(self):
        disk = self.disk("disk", bootable.sector("from a disk", bootable.DEBUG_PORT))
        cd = self.disk("cd", bootable.cd("from a CD", bootable.DEBUG_PORT))
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
        disks = [self.disk(name, bootable.sector(name, bootable.DEBUG_PORT)) for name in names]
        cd = self.disk("cd", bootable.cd("CD", bootable.DEBUG_PORT))
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
        disk = self.disk("disk", bootable.sector("disk", bootable.DEBUG_PORT))
        cd = self.disk("cd", bootable.cd("CD", bootable.DEBUG_PORT))
        for order, text in (("c", "disk"), ("d", "CD"), ("dc", "CD"), ("order=c,once=d", "CD")):
            with self.subTest(order=order):
                self.assertEqual(self.boot("-machine", "pc", "-hda", disk, "-cdrom", cd, "-boot",
                                           order), text)

    def test_an_index_belongs_to_one_device(self):
        disk = self.disk("disk", bootable.sector("disk", bootable.DEBUG_PORT))
        status, _, said = rhea.run("-display", "none", "-hda", disk, "-accel", "qtest",
                                   "-device", "virtio-net-pci,bootindex=1",
                                   "-device", "virtio-net-pci,bootindex=1")
        self.assertEqual(status, 1)
        self.assertIn("bootindex 1 is used twice", said)


if __name__ == "__main__":
    tap.main()
