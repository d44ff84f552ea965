"""Debian with systemd on a virtio disk: to the login prompt, and the programs people work with."""

import os
import shutil
import tempfile
import unittest

import guest
import tap
import disk
import images

PROGRAM = r"""
#include <stdio.h>
int main(void)
{
    double s = 0;
    for (int i = 1; i < 1000000; i++)
        s += 1.0 / i;
    printf("%.6f\n", s);
    return 0;
}
"""

# "what: " and what the program says, one line each.
SCRIPT = r"""
say() { what=$1; shift; echo "$what: $("$@" 2>&1 | tail -n 1)"; }
say apt sh -c 'apt-get --version | head -n 1'
say dpkg dpkg-query -W -f '${Status}\n' bash
say python python3 -c 'import json; print(json.dumps({"sum": sum(range(1000)), "half": 0.5}))'
say perl perl -e 'print join(",", map { $_ * $_ } 1..5), "\n"'
cat > /root/a.c <<'EOF'
%s
EOF
say gcc gcc -O2 -o /root/a /root/a.c
say compiled /root/a
say openssl openssl speed -seconds 1 -evp aes-256-gcm
say digest openssl speed -seconds 1 sha256
say sqlite sqlite3 :memory: 'create table t(a); insert into t values(1),(2); select sum(a) from t;'
say elf od -A n -t x1 -N 5 /bin/busybox
say busybox /bin/busybox sh -c 'echo $((1 << 40)) | /bin/busybox md5sum'
say log sh -c 'dmesg | grep -cE "BUG|Oops|WARNING|Call Trace|nstable|ockup|stall|segfault|traps:"'
""" % PROGRAM

EXPECTED = (
    ("apt", r"apt 2\.[\d.]+ \(amd64\)"),
    ("dpkg", r"install ok installed"),
    ("python", r'\{"sum": 499500, "half": 0\.5\}'),
    ("perl", r"1,4,9,16,25"),
    ("gcc", r""),
    ("compiled", r"14\.392726"),
    ("openssl", r"AES-256-GCM( +[\d.]+k){6}"),
    ("digest", r"sha256( +[\d.]+k){6}"),
    ("sqlite", r"3"),
    ("elf", r" 7f 45 4c 46 01"),  # 32 bits
    ("busybox", r"f498726c061916ab514d3e6fb069b5db  -"),
    ("log", r"0"),
)


class Debian(guest.GuestTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-debian-", dir=self.images.cache)
        self.addCleanup(shutil.rmtree, self.folder)
        self.disk = os.path.join(self.folder, "disk.img")
        try:
            disk.debian_disk(self.images, self.disk, system="tools")
            self.initramfs = self.images.initramfs(
                disk.INIT, ("virtio_pci", "virtio_blk", "ext4"))
        except images.ImageError as error:
            raise unittest.SkipTest(str(error)) from error

    def check(self, machine, cpus):
        if machine not in guest.rhea.run("-machine", "help")[1].split():
            raise unittest.SkipTest("this build has no machine '%s'" % machine)
        disk.put_script(self.disk, SCRIPT)
        with guest.Guest(
                "-nodefaults", "-display", "none", "-no-reboot", "-machine", machine,
                "-accel", guest.ACCEL, "-m", "1G", "-smp", cpus, "-kernel", self.kernel,
                "-initrd", self.initramfs, "-append", "console=ttyS0 root=/dev/vda2",
                "-drive", "file=%s,if=virtio,format=raw" % self.disk) as g:
            g.expect(r"guest-script: done", timeout=600)
            g.expect_power_off()
            self.assertIn("login: ", g.console.text)
            for what, pattern in EXPECTED:
                self.assertRegex(g.console.text, r"\b%s: %s\n" % (what, pattern))
            print("# %.1f s from start to power-off" % g.seconds())

    def test_q35(self):
        self.check("q35", 2)

    def test_pc(self):
        self.check("pc", 1)


if __name__ == "__main__":
    tap.main()
