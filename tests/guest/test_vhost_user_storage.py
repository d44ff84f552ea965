"""Disks and folders served by other processes: a guest makes, fills and checks a file system on
qemu-storage-daemon's disk, which is killed and started again meanwhile; files through virtiofsd are
compared, and it comes back too."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import backends
import guest
import tap

PROGRAMS = ("mke2fs", "e2fsck")


def programs_and_libraries():
    """(name inside, path outside) of e2fsprogs and all that they need."""
    files = []
    for name in PROGRAMS:
        path = shutil.which(name) or "/sbin/" + name
        if not os.path.exists(path):
            return ()
        files.append(("e2fsprogs/" + name, path))
        listing = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True)
        for library in re.findall(r"(/\S+)", listing.stdout):
            files.append((library.lstrip("/"), os.path.realpath(library)))
    return tuple(dict(files).items())


E2FSPROGS = programs_and_libraries()


class Folder(guest.GuestTest):
    memory = "256M"
    append = "quiet mitigations=off no_timer_check"  # the host may be busy

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-storage-")
        self.addCleanup(shutil.rmtree, self.folder)


@unittest.skipUnless(backends.STORAGE_DAEMON, "qemu-storage-daemon is not installed")
@unittest.skipUnless(E2FSPROGS, "e2fsprogs is not installed")
class Disk(Folder):
    modules = ("virtio_pci", "virtio_blk", "ext4")
    files = E2FSPROGS
    script = """

/e2fsprogs/mke2fs -q -t ext4 /dev/vda
mkdir -p /mnt; mount -t ext4 /dev/vda /mnt
echo "disk: mounted $(cat /sys/block/vda/size) sectors"
i=0
while [ $i -lt 40 ]; do
  dd if=/dev/urandom of=/mnt/f$i bs=64k count=16 2>/dev/null
  cp /mnt/f$i /mnt/g$i &
  [ $((i % 4)) = 3 ] && sync
  echo "disk: file $i"
  i=$((i+1))
done
wait
sync
echo 3 > /proc/sys/vm/drop_caches
i=0
while [ $i -lt 40 ]; do cmp /mnt/f$i /mnt/g$i || echo "disk: file $i differs"; i=$((i+1)); done
echo "disk: compared"
umount /mnt
/e2fsprogs/e2fsck -fn /dev/vda && echo "disk: clean"
if dmesg | grep -E "I/O error|EXT4-fs error|blocked for more"; then echo "disk: trouble"; fi
"""

    def check(self, restarts, queues=1, cpus=1):
        image = os.path.join(self.folder, "disk.img")
        with open(image, "wb") as f:
            f.truncate(256 << 20)
        with backends.StorageDaemon(self.folder, image, queues) as daemon:
            self.cpus = cpus
            with self.boot("-chardev", "socket,id=c0,reconnect-ms=100,path=" + daemon.socket,
                           "-device", "vhost-user-blk-pci,id=d0,chardev=c0") as g:
                g.expect(r"disk: mounted %d sectors" % ((256 << 20) // 512))
                for file in (7, 21)[:restarts]:
                    g.expect(r"disk: file %d\n" % file)
                    daemon.kill()
                    g.qmp.event("VHOST_USER_DISCONNECTED")
                    time.sleep(1)
                    self.assertEqual(g.qmp("query-status")["status"], "running")
                    daemon.start()
                    g.qmp.event("VHOST_USER_CONNECTED")
                g.expect(r"disk: compared", timeout=120, unless=r"differs|trouble|panic")
                g.expect(r"disk: clean", timeout=60, unless=r"disk: trouble|panic")
                g.expect(r"guest-script: done", unless=r"disk: trouble|panic")
                g.expect_power_off()

    def test_filled_and_clean(self):
        self.check(0)

    def test_killed_under_load(self):
        self.check(2)

    def test_killed_under_load_two_queues(self):
        self.check(2, queues=2, cpus=2)


@unittest.skipUnless(backends.VIRTIOFSD, "virtiofsd is not installed")
class Share(Folder):
    modules = ("virtio_pci", "virtiofs")
    script = """
mkdir -p /mnt; mount -t virtiofs share /mnt && echo "share: mounted"
cd /mnt
sha256sum big.bin | sed 's/^/share: /'
i=0; while [ $i -lt 200 ]; do echo "content $i" > made.$i; i=$((i+1)); done
dd if=big.bin of=copy.bin bs=1M 2>/dev/null; sync
echo "share: filled $(ls | wc -l)"
while cat big.bin >/dev/null 2>&1; do echo "share: alive"; sleep 1; done
echo "share: forgotten"
cd /; umount -l /mnt
mount -t virtiofs share /mnt && echo "share: again"
sha256sum /mnt/copy.bin | sed 's/^/share: /'
"""

    def test_files(self):
        shared = os.path.join(self.folder, "shared")
        os.mkdir(shared)
        data = os.urandom(8 << 20)
        with open(os.path.join(shared, "big.bin"), "wb") as f:
            f.write(data)
        digest = hashlib.sha256(data).hexdigest()
        with backends.Virtiofsd(self.folder, shared) as daemon:
            with self.boot("-chardev", "socket,id=c0,reconnect-ms=100,path=" + daemon.socket,
                           "-device", "vhost-user-fs-pci,id=fs0,chardev=c0,tag=share") as g:
                g.expect(r"share: mounted")
                g.expect("share: " + digest, timeout=60)
                g.expect(r"share: filled 202", timeout=60)
                with open(os.path.join(shared, "copy.bin"), "rb") as f:
                    self.assertEqual(hashlib.sha256(f.read()).hexdigest(), digest)
                for i in range(200):
                    with open(os.path.join(shared, "made.%d" % i), encoding="ascii") as f:
                        self.assertEqual(f.read(), "content %d\n" % i)
                g.expect(r"share: alive")
                daemon.kill()
                g.qmp.event("VHOST_USER_DISCONNECTED")
                time.sleep(1)
                self.assertEqual(g.qmp("query-status")["status"], "running")
                daemon.start()
                g.qmp.event("VHOST_USER_CONNECTED")
                # A new daemon knows nothing of the old mount: the guest hears of it and mounts anew.
                g.expect(r"share: forgotten", timeout=60)
                g.expect(r"share: again", timeout=60)
                g.expect("share: " + digest, timeout=60)
                g.expect_power_off()


if __name__ == "__main__":
    tap.main()
