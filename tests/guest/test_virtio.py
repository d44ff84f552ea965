"""Debian's drivers on every virtio device, in each transport: disk, NIC, balloon, entropy, ports."""

import os
import shutil
import tempfile
import time

import guest
import tap

SCRIPT = r"""
echo "disk: $(head -c 9 /dev/vda) serial $(cat /sys/block/vda/serial)"
echo written | dd of=/dev/vda bs=512 seek=1 conv=fsync,notrunc 2>/dev/null
echo "features: $(cat /sys/bus/virtio/drivers/virtio_net/virtio*/features)"
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
tftp -g -r hello -l /tmp/hello 10.0.2.2 && echo "tftp: $(cat /tmp/hello)"
md5sum < /tmp/hello > /dev/null
tftp -g -r big -l /tmp/big 10.0.2.2 && echo "big: $(wc -c < /tmp/big) $(md5sum < /tmp/big)"
echo "random: $(head -c 16 /dev/hwrng | wc -c) of $(cat /sys/class/misc/hw_random/rng_current)"
echo "port: $(cat /sys/class/virtio-ports/vport*/name)"
echo "from the guest" > /dev/vport$(basename $(ls -d /sys/class/virtio-ports/vport*p1) | cut -c6-)
echo "memory: $(grep MemTotal /proc/meminfo)"
read go
echo "balloon: $(grep MemTotal /proc/meminfo)"
"""


class Devices(guest.GuestTest):
    modules = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_balloon", "virtio_rng",
               "virtio_console")
    script = SCRIPT
    append = "quiet"
    memory = "512M"

    def check(self, options):
        folder = tempfile.mkdtemp(prefix="rhea-virtio-")
        self.addCleanup(shutil.rmtree, folder)
        big = os.urandom(300000)
        for name, data in (("hello", b"hello from the host"), ("big", big),
                           ("disk", b"sector 0:".ljust(1 << 20, b"\0"))):
            with open(os.path.join(folder, name), "wb") as out:
                out.write(data)
        image = os.path.join(folder, "disk")
        args = ["-drive", "file=%s,if=none,id=d,format=raw" % image,
                "-device", "virtio-blk-pci,drive=d,serial=number-1" + options,
                "-netdev", "user,id=n,restrict=on,tftp=" + folder,
                "-device", "virtio-net-pci,netdev=n" + options,
                "-device", "virtio-balloon-pci" + options, "-device", "virtio-rng-pci" + options,
                "-device", "virtio-serial-pci,id=vs" + options,
                "-chardev", "ringbuf,id=port", "-device",
                "virtserialport,chardev=port,name=org.test.0"]
        with self.boot(*args) as g:
            g.expect(r"disk: sector 0: serial number-1")
            g.expect(r"features: [01]+")
            g.expect(r"tftp: hello from the host")
            g.expect(r"big: 300000 [0-9a-f]{32}")
            g.expect(r"random: 16 of virtio_rng")
            g.expect(r"port: org.test.0")
            g.expect(r"memory: ")
            self.assertEqual(g.qmp("ringbuf-read", device="port", size=100), "from the guest\n")
            g.qmp("balloon", value=256 << 20)
            end = time.monotonic() + guest.BOOT_SECONDS
            while g.qmp("query-balloon")["actual"] != 256 << 20:
                self.assertLess(time.monotonic(), end, "the balloon does not grow")
                time.sleep(0.1)
            g.send("\n")
            g.expect(r"balloon: MemTotal: +2\d{5} kB")
            g.expect(r"guest-script: done")
            g.expect_power_off()
        with open(image, "rb") as disk:
            self.assertEqual(disk.read(520)[512:519], b"written")

    def test_modern(self):
        self.check("")

    def test_packed(self):
        self.check(",packed=on,disable-legacy=on")

    def test_legacy(self):
        self.check(",disable-modern=on")

    def test_pin(self):
        self.check(",vectors=0")


if __name__ == "__main__":
    tap.main()
