"""Disks and folders that other processes serve over vhost-user: qemu-storage-daemon and virtiofsd, with
Debian's kernel in the guest and software acceleration on both sides."""

import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import backends
import bench
import guest
import rhea

ACCELERATORS = {"rhea": "jit", "qemu": "tcg"}
SMALL, LARGE = 4000, 192  # requests of 4 KiB, MiB in large pieces
DISK_MIB, FILES = 320, 300


def with_libraries(*programs):
    files = {}
    for name in programs:
        path = shutil.which(name) or "/sbin/" + name
        if not os.path.exists(path):
            raise bench.Skip("%s is not installed" % name)
        files["tools/" + name] = path
        listing = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True)
        files.update((library.lstrip("/"), os.path.realpath(library))
                     for library in re.findall(r"(/\S+)", listing.stdout))
    return tuple(files.items())


class Storage(guest.GuestTest):
    memory = "512M"
    append = "quiet mitigations=off no_timer_check"  # the host may be busy
    modules = ("virtio_pci", "virtio_blk", "ext4", "virtiofs")
    lines = ()
    prologue = ""

    @classmethod
    def prepare(cls, program):
        rhea.PROGRAM = guest.PROGRAM = program.path
        guest.ACCEL = ACCELERATORS[program.name]
        cls.files = with_libraries("dd", "mke2fs")
        cls.script = cls.prologue + 'echo "bench: up"\n' + "".join(
            'echo 3 > /proc/sys/vm/drop_caches\n'
            'echo "bench: begin %d"; (%s) >/dev/null 2>&1 && echo "bench: end %d"\n'
            % (number, line, number) for number, (_, line, _) in enumerate(cls.lines))
        try:
            cls.setUpClass()
        except unittest.SkipTest as reason:
            raise bench.Skip("%s: %s" % (program.name, reason)) from reason

    def measure(self, socket, device):
        values = {}
        memory = ("-object", "memory-backend-memfd,id=mem,size=%s,share=on" % self.memory,
                  "-machine", "memory-backend=mem")
        with self.boot(*memory, "-chardev", "socket,id=c0,path=" + socket, "-device", device) as g:
            g.expect("bench: up", timeout=300)
            for number, (name, _, amount) in enumerate(self.lines):
                g.expect("bench: begin %d" % number, timeout=300)
                start = time.perf_counter()
                g.expect("bench: end %d" % number, timeout=300)
                values[name] = amount / (time.perf_counter() - start)
            g.expect_power_off()
        return values


DD = "/tools/dd"


class Disk(Storage):
    prologue = "/tools/mke2fs -q -t ext4 /dev/vda; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt\n"
    lines = (
        ("ext4 write", DD + " if=/dev/zero of=/mnt/f bs=1M count=%d conv=fsync" % LARGE, LARGE),
        ("ext4 read", DD + " if=/mnt/f of=/dev/null bs=1M", LARGE),
        ("direct read 1 MiB", DD + " if=/dev/vda of=/dev/null bs=1M count=%d iflag=direct" % LARGE,
         LARGE),
        ("direct read 4 KiB", DD + " if=/dev/vda of=/dev/null bs=4k count=%d iflag=direct" % SMALL,
         SMALL),
        ("direct write 4 KiB", DD + " if=/dev/zero of=/mnt/f bs=4k count=%d oflag=direct "
         "conv=notrunc" % SMALL, SMALL),
    )


@bench.benchmark(
    "vhost-user-blk",
    *[bench.Measure(name, "MiB/s") for name, _, _ in Disk.lines[:3]],
    *[bench.Measure(name, "requests/s") for name, _, _ in Disk.lines[3:]],
    rounds=3,
)
def disk(program):
    """A raw image in a temporary folder, served by qemu-storage-daemon with one queue; what the guest
    moves a second through it, larger is better."""
    if not backends.STORAGE_DAEMON:
        raise bench.Skip("qemu-storage-daemon is not installed")
    Disk.prepare(program)
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "disk.img")
        with open(image, "wb") as f:
            f.truncate(DISK_MIB << 20)
        with backends.StorageDaemon(folder, image) as daemon:
            return Disk().measure(daemon.socket, "vhost-user-blk-pci,chardev=c0,num-queues=1")


class Share(Storage):
    prologue = "mkdir -p /mnt; mount -t virtiofs share /mnt; cd /mnt\n"
    lines = (
        ("write", DD + " if=/dev/zero of=made bs=1M count=%d" % LARGE, LARGE),
        ("read", DD + " if=made of=/dev/null bs=1M", LARGE),
        ("create", "i=0; while [ $i -lt %d ]; do : > f$i; i=$((i+1)); done" % FILES, FILES),
        ("remove", "rm f*", FILES),
    )


@bench.benchmark(
    "virtiofs",
    *[bench.Measure(name, "MiB/s") for name, _, _ in Share.lines[:2]],
    *[bench.Measure(name, "files/s") for name, _, _ in Share.lines[2:]],
    rounds=3,
)
def share(program):
    """A temporary folder, served by virtiofsd without caching; larger is better."""
    if not backends.VIRTIOFSD:
        raise bench.Skip("virtiofsd is not installed")
    Share.prepare(program)
    with tempfile.TemporaryDirectory() as folder:
        shared = os.path.join(folder, "shared")
        os.mkdir(shared)
        with backends.Virtiofsd(folder, shared) as daemon:
            return Share().measure(daemon.socket,
                                   "vhost-user-fs-pci,chardev=c0,tag=share,queue-size=1024")
