"""DPDK's testpmd between two NICs of one machine, as server and as client, with one and two queue pairs;
killed and started again under traffic. The driver is outside of the machine."""

import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import rhea
import tap
import vhost_user as vu
import virtio

TESTPMD = shutil.which("dpdk-testpmd")
RINGS, DATA, BUFFERS = 0x100000, 0x200000, 0x300000
CTRL_VQ, MQ = 1 << 17, 1 << 22
ROOM = 2048
FRAME = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x01" + b"\x08\x00" + b"t" * 50
MEMORIES = {
    "memfd": ["-object", "memory-backend-memfd,id=mem,size=64M,share=on"],
    "file": ["-object", "memory-backend-file,id=mem,size=64M,share=on,mem-path=FOLDER/ram"],
    "default": [],
}


class Testpmd:
    def __init__(self, folder, client, pairs):
        self.paths = [os.path.join(folder, "v%d" % i) for i in range(2)]
        self.client, self.pairs, self.log = client, pairs, os.path.join(folder, "log")
        self.process = None

    def start(self):
        vdevs = []
        for i, path in enumerate(self.paths):
            if not self.client and os.path.exists(path):
                os.unlink(path)
            vdevs += ["--vdev", "net_vhost%d,iface=%s,queues=%d,client=%d" %
                      (i, path, self.pairs, self.client)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [TESTPMD, "-l", "0,1", "--no-pci", "--file-prefix", "rt%d" % os.getpid(),
                 "--no-huge", "-m", "256", *vdevs, "--", "--nb-cores", "1", "--rxq",
                 str(self.pairs), "--txq", str(self.pairs), "--forward-mode", "io",
                 "--auto-start", "--total-num-mbufs", "8192", "--no-rmv-interrupt",
                 "--stats-period", "60"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Nic:
    """A driver with every queue set up; receive buffers in all receive queues."""

    def __init__(self, m, slot, pairs, place):
        features = CTRL_VQ | MQ if pairs > 1 else 0
        self.device = d = virtio.Device(m.qtest, slot, features=features)
        base = RINGS + place * 0x40000
        self.queues = [virtio.Queue(d, i, base + 0x4000 * i) for i in range(2 * pairs)]
        self.control = virtio.Queue(d, 2 * pairs, base + 0x20000) if pairs > 1 else None
        self.buffers = BUFFERS + place * 0x80000
        self.waiting = {}
        d.ready()
        for i in range(0, 2 * pairs, 2):
            self.waiting[i] = []
            for n in range(8):
                self.offer(i, self.buffers + (8 * i + n) * ROOM)
        if pairs > 1:
            q = m.qtest
            q.write(DATA, bytes([4, 0]) + struct.pack("<H", pairs) + b"\xff")
            self.control.add([(DATA, 2, False), (DATA + 2, 2, False), (DATA + 4, 1, True)])
            self.control.kick()
            self.control.wait(3)
            assert q.read(DATA + 4, 1) == b"\0"

    def offer(self, queue, at):
        self.queues[queue].add([(at, ROOM, True)])
        self.queues[queue].kick()
        self.waiting[queue].append(at)

    def send(self, frame, queue=1):
        while self.queues[queue].take(1) is not None:
            pass
        self.device.qtest.write(DATA, bytes(vu.NET_HEADER) + frame)
        self.queues[queue].add([(DATA, vu.NET_HEADER + len(frame), False)])
        self.queues[queue].kick()

    def take(self):
        """A frame from any of the queues, or None."""
        for queue, places in self.waiting.items():
            length = self.queues[queue].take(1)
            if length is not None:
                at = places.pop(0)
                data = self.device.qtest.read(at, length)
                self.offer(queue, at)
                return data[vu.NET_HEADER:]
        return None


class Frames(unittest.TestCase):
    def pass_frame(self, a, b, number, queue=1):
        """Send until one comes through: what testpmd held when it died is lost."""
        frame = FRAME + struct.pack("<I", number)
        end = time.monotonic() + rhea.PATIENCE
        sent = 0
        while time.monotonic() < end:
            if time.monotonic() >= sent + 0.2:
                a.send(frame, queue)
                sent = time.monotonic()
            if b.take() == frame:
                return
            time.sleep(0.002)
        self.fail("no frame passes")


@unittest.skipUnless(TESTPMD, "dpdk-testpmd is not installed (package dpdk-dev)")
class Traffic(Frames):
    def machine(self, folder, pmd, memory):
        args = ["-M", "pc" + (",memory-backend=mem" if MEMORIES[memory] else ""), "-m", "64M",
                "-nodefaults", "-display", "none", "-qtest-log", "none"]
        args += [a.replace("FOLDER", folder) for a in MEMORIES[memory]]
        for i, path in enumerate(pmd.paths):
            role = "server=on,wait=off" if pmd.client else "reconnect-ms=100"
            args += ["-chardev", "socket,id=c%d,path=%s,%s" % (i, path, role), "-netdev",
                     "vhost-user,id=n%d,chardev=c%d,queues=%d" % (i, i, pmd.pairs), "-device",
                     "virtio-net-pci,netdev=n%d,addr=%d,mq=%s" %
                     (i, 5 + i, "on" if pmd.pairs > 1 else "off")]
        return rhea.Rhea(*args, qtest=True)

    def check(self, client, pairs, memory):
        with tempfile.TemporaryDirectory(prefix="rhea-pmd-") as folder:
            pmd = Testpmd(folder, client, pairs)
            try:
                if not client:
                    pmd.start()
                with self.machine(folder, pmd, memory) as m:
                    if client:
                        pmd.start()
                    end = time.monotonic() + rhea.PATIENCE
                    while virtio.Pci(m.qtest, 6).read(0, 2) != 0x1AF4:
                        self.assertLess(time.monotonic(), end, m.errors())
                        time.sleep(0.02)
                    a, b = Nic(m, 5, pairs, 0), Nic(m, 6, pairs, 1)
                    for n in range(10):
                        self.pass_frame(a, b, n, 1 + 2 * (n % pairs))
                        self.pass_frame(b, a, 100 + n)
                    for n in range(2):
                        pmd.kill()
                        m.qmp.event("VHOST_USER_DISCONNECTED")
                        a.send(FRAME)
                        pmd.start()
                        self.pass_frame(a, b, 200 + n)
                        self.pass_frame(b, a, 300 + n)
                    m.qmp("system_reset")
                    m.qmp.event("RESET")
                    a, b = Nic(m, 5, pairs, 0), Nic(m, 6, pairs, 1)
                    self.pass_frame(a, b, 400)
                    states = [i["state"] for i in m.qmp("query-vhost-user")]
                    self.assertEqual(states, ["running", "running"])
            except Exception:
                with open(pmd.log, errors="replace") as log:
                    print("# testpmd: " + log.read()[-2000:].replace("\n", "\n# "))
                raise
            finally:
                pmd.kill()

    def test_server(self):
        self.check(False, 1, "default")

    def test_client(self):
        self.check(True, 1, "memfd")

    def test_server_two_pairs(self):
        self.check(False, 2, "file")

    def test_client_two_pairs(self):
        self.check(True, 2, "default")


if __name__ == "__main__":
    tap.main()
