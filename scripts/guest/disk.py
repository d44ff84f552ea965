#!/usr/bin/env python3
"""A disk with a small Debian 12 on it, as firmware boots it: partitions, a boot loader, systemd.

    disk.py --output FILE [--append "kernel arguments"]

The first partition (FAT) has SYSLINUX, the kernel and an initramfs, the second (ext4) the system, made
by mmdebstrap. /etc/guest-script on it, or the base64 text behind guest.script= on the kernel's command
line, is run at the end of boot with the console as its output; then the machine is switched
off. Needs root, and the packages of group `long` in scripts/packages.txt.
"""

import argparse
import base64
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import images

MIB = 1 << 20
# The one archive: the others needn't have every architecture in step.
MIRROR = "deb http://deb.debian.org/debian bookworm main"
PACKAGES = "systemd-sysv,udev,iproute2,iputils-ping,kmod"


class System:
    """What is on the second partition: architectures and packages; its size in bytes."""

    def __init__(self, architectures, packages, size):
        self.architectures = architectures
        self.packages = packages
        self.size = size


SYSTEMS = {
    "small": System("amd64", PACKAGES, 800 * MIB),
    # What people work with, and a 32-bit program.
    "tools": System("amd64,i386", PACKAGES + ",apt,python3,perl,gcc,libc6-dev,openssl,sqlite3,"
                    "procps,busybox-static:i386", 2000 * MIB),
}

BOOT_START, BOOT_SIZE = 1 * MIB, 64 * MIB
ROOT_START = BOOT_START + BOOT_SIZE
END_SIZE = 1 * MIB  # behind the last partition
MBR_CODE = pathlib.Path("/usr/lib/syslinux/mbr/mbr.bin")
MBR_CODE_MAX = 440  # bytes; the partition table begins behind it

INIT = """
n=0
while [ ! -b /dev/vda2 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
mkdir -p /root
mount -t ext4 /dev/vda2 /root || { echo "guest: no root file system"; poweroff -f; }
umount /dev/pts
for d in dev proc sys; do mount --move /$d /root/$d; done
exec switch_root /root /sbin/init
"""

# Through /dev/console: the login prompt on the serial line hangs up whoever has opened that itself.
SCRIPT_RUNNER = """#!/bin/sh
exec < /dev/null > /dev/console 2>&1
text=$(sed -n 's/.*guest\\.script=\\([A-Za-z0-9+/=]*\\).*/\\1/p' /proc/cmdline)
if [ -n "$text" ]; then echo "$text" | base64 -d > /run/guest-script; else cp /etc/guest-script /run/; fi
sh /run/guest-script
echo "guest-script: done"
systemctl poweroff --force
"""

SERVICE = """[Unit]
Description=The script this guest is started for
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/run-guest-script

[Install]
WantedBy=default.target
"""

SYSLINUX = """DEFAULT linux
PROMPT 0
SERIAL 0
LABEL linux
  KERNEL /vmlinuz
  INITRD /initrd.gz
  APPEND %s
"""


def make_system(system, folder):
    """The files of the second partition."""
    images.run(["mmdebstrap", "--variant=minbase", "--architectures=" + system.architectures,
                "--include=" + system.packages, "bookworm", str(folder), MIRROR])
    files = {
        "etc/hostname": "guest\n",
        "etc/fstab": "/dev/vda2 / ext4 defaults 0 1\n",
        "etc/guest-script": 'echo "guest: up"\n',
        "etc/systemd/system/guest-script.service": SERVICE,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    runner = folder / "usr/local/sbin/run-guest-script"
    runner.write_text(SCRIPT_RUNNER)
    runner.chmod(0o755)
    wants = folder / "etc/systemd/system/default.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "guest-script.service").symlink_to("/etc/systemd/system/guest-script.service")


def make_partitions(disk, root_size):
    with open(disk, "wb") as f:
        f.truncate(ROOT_START + root_size + END_SIZE)
    table = "label: dos\nstart=%d, size=%d, type=c, bootable\nstart=%d, size=%d, type=83\n" % (
        BOOT_START // 512, BOOT_SIZE // 512, ROOT_START // 512, root_size // 512)
    images.run(["sfdisk", "-q", str(disk)], input=table)
    code = MBR_CODE.read_bytes()
    if len(code) > MBR_CODE_MAX:
        raise images.ImageError("%s is longer than a boot sector has room" % MBR_CODE)
    with open(disk, "r+b") as f:
        f.write(code)


def put(part, disk, start):
    """Copy a partition's file into the disk, and leave holes where it has holes."""
    images.run(["dd", "if=%s" % part, "of=%s" % disk, "bs=1M", "seek=%d" % (start // MIB),
                "conv=notrunc,sparse"])


def make_disk(store, system, folder, disk):
    """The whole disk, without a command line for the kernel."""
    kernel, modules = store.kernel()
    files = folder / "system"
    make_system(system, files)
    shutil.copytree(modules, files / "lib/modules" / modules.name, symlinks=True)
    make_partitions(disk, system.size)

    boot = folder / "boot.img"
    with open(boot, "wb") as f:
        f.truncate(BOOT_SIZE)
    images.run(["mkfs.vfat", "-F", "32", "-h", str(BOOT_START // 512), str(boot)])
    initramfs = store.initramfs(INIT, ("virtio_pci", "virtio_blk", "ext4"))
    images.run(["mcopy", "-i", str(boot), str(kernel), "::vmlinuz"])
    images.run(["mcopy", "-i", str(boot), str(initramfs), "::initrd.gz"])
    images.run(["syslinux", "--install", str(boot)])
    put(boot, disk, BOOT_START)

    root = folder / "root.img"
    images.run(["mkfs.ext4", "-q", "-F", "-d", str(files), str(root), "%dM" % (system.size // MIB)])
    put(root, disk, ROOT_START)


def base_disk(store, name, progress):
    """The disk in the cache with the system of that name, made on first use."""
    if os.getuid() != 0:
        raise images.ImageError("making a Debian disk needs root")
    for tool in ("mmdebstrap", "mcopy", "mkfs.vfat", "sfdisk", "syslinux"):
        if not shutil.which(tool):
            raise images.ImageError("%s is not installed: scripts/setup long" % tool)
    disk = store.cache / ("debian-%s-%s.img" % (name, store.kernel_package()))
    if not disk.exists():
        progress("making a Debian disk (some minutes)")
        with tempfile.TemporaryDirectory(dir=store.cache) as folder:
            fresh = pathlib.Path(folder) / "disk"
            make_disk(store, SYSTEMS[name], pathlib.Path(folder), fresh)
            fresh.rename(disk)
    return disk


def debian_disk(store, output, append="", progress=lambda text: None, system="small"):
    """A copy of the disk that boots with these kernel arguments."""
    base = base_disk(store, system, progress)
    images.run(["cp", "--sparse=always", "--reflink=auto", str(base), str(output)])
    with tempfile.NamedTemporaryFile("w") as config:
        config.write(SYSLINUX % ("root=/dev/vda2 console=ttyS0 " + append).strip())
        config.flush()
        images.run(["mcopy", "-o", "-i", "%s@@%d" % (output, BOOT_START), config.name,
                    "::syslinux.cfg"])
    return output


def put_script(disk, script):
    """A script of any length to run at the end of boot."""
    with tempfile.NamedTemporaryFile("w") as text:
        text.write(script)
        text.flush()
        where = "%s?offset=%d" % (disk, ROOT_START)
        for request in ("rm /etc/guest-script", "write %s /etc/guest-script" % text.name):
            images.run(["debugfs", "-w", "-R", request, where])


def script_argument(script):
    """For the kernel's command line (2048 bytes in all)."""
    return "guest.script=" + base64.b64encode(script.encode()).decode()


def main():
    source = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", default=os.environ.get("RHEA_GUEST_CACHE")
                        or source / "build/guest-cache")
    parser.add_argument("--output", required=True)
    parser.add_argument("--append", default="")
    parser.add_argument("--system", choices=list(SYSTEMS), default="small")
    parser.add_argument("--script", type=pathlib.Path, help="shell script to run at the end of boot")
    args = parser.parse_args()
    append = args.append + (" " + script_argument(args.script.read_text()) if args.script else "")

    def tell(text):
        print(text, file=sys.stderr)

    try:
        print(debian_disk(images.Images(args.cache, tell), args.output, append, tell,
                          args.system))
    except images.ImageError as error:
        sys.exit("disk.py: %s" % error)


if __name__ == "__main__":
    main()
