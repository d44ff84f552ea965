"""A Debian disk boots by itself: firmware, boot sector, boot loader, kernel, systemd."""

import os
import shutil
import tempfile
import unittest

import guest
import tap
import disk
import images


class Disk(guest.GuestTest):
    script = 'echo "guest: $(uname -r) with $(cat /proc/1/comm), root $(findmnt -no SOURCE /)"\n'

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-disk-", dir=self.images.cache)
        self.addCleanup(shutil.rmtree, self.folder)
        self.disk = os.path.join(self.folder, "disk.img")
        try:
            disk.debian_disk(self.images, self.disk, "quiet " + disk.script_argument(self.script))
        except images.ImageError as error:
            raise unittest.SkipTest(str(error)) from error

    def boot(self, *more):
        return guest.Guest(
            "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", self.machine, "-accel", guest.ACCEL, "-m", "1G",
            "-drive", "file=%s,if=virtio,format=raw" % self.disk, *more)

    def test_boots_from_its_own_boot_sector(self):
        with self.boot() as g:
            g.expect(r"SYSLINUX", timeout=60)
            found = g.expect(r"guest: (\S+) with systemd, root /dev/vda2\n", timeout=400)
            self.assertIn("cloud-amd64", found[1])
            g.expect(r"guest-script: done")
            g.expect_power_off()
            print("# %.1f s from start to power-off" % g.seconds())


if __name__ == "__main__":
    tap.main()
