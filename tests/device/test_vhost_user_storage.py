"""Disks and folders that real back ends serve, with the driver outside: qemu-storage-daemon and
virtiofsd are killed and started again with requests in their queues."""

import os
import shutil
import struct
import tempfile
import time
import unittest

import backends
import rhea
import tap
import virtio

DATA, RINGS = 0x200000, 0x100000
SECTOR = 512
F_FLUSH = 9


class Driver(virtio.Device):
    """Blocks over one queue."""

    def __init__(self, qtest, slot, features=0, packed=False, queue=0, bus=0):
        super().__init__(qtest, slot, features, packed, bus=bus)
        self.queue = virtio.Queue(self, queue, RINGS)
        self.ready()

    def send(self, kind, sector, data=b"", room=0, at=DATA):
        """Make a request available; its buffers lie at `at`."""
        q = self.qtest
        q.write(at, struct.pack("<IIQ", kind, 0, sector))
        q.write(at + 0x100, b"\xee")
        segments = [(at, 16, False)]
        if data:
            q.write(at + 0x1000, data)
            segments.append((at + 0x1000, len(data), False))
        if room:
            segments.append((at + 0x1000, room, True))
        segments.append((at + 0x100, 1, True))
        self.queue.add(segments)
        self.queue.kick()
        return len(segments)

    def block(self, kind, sector, data=b"", room=0):
        self.queue.wait(self.send(kind, sector, data, room))
        status = self.qtest.read(DATA + 0x100, 1)[0]
        return status, self.qtest.read(DATA + 0x1000, room) if room else b""


class Machine(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-vhost-")
        self.addCleanup(shutil.rmtree, self.folder)

    def machine(self, daemon, device, *args, chardev="reconnect-ms=20", name="q35"):
        return rhea.Rhea("-M", name, "-nodefaults", "-m", "64M", "-display", "none",
                         "-qtest-log", "none",
                         
                         "-chardev", "socket,id=c0,path=%s,%s" % (daemon.socket, chardev),
                         *(("-device", device) if device else ()), *args, qtest=True)

    def wait_state(self, m, state):
        end = time.monotonic() + rhea.PATIENCE
        while True:
            found = m.qmp("query-vhost-user")[0]["state"]
            if found == state:
                return
            self.assertLess(time.monotonic(), end, "still %s" % found)
            time.sleep(0.01)

    def reset(self, m):
        m.qmp("system_reset")
        m.qmp.event("RESET")  # once the back end has let go of the queues

    def wait_running(self, m):
        end = time.monotonic() + rhea.PATIENCE
        while m.qmp("query-status")["status"] != "running":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)


@unittest.skipUnless(backends.STORAGE_DAEMON, "qemu-storage-daemon is not installed")
class Disk(Machine):
    DEVICE = "vhost-user-blk-pci,id=d0,chardev=c0,addr=5"

    def daemon(self, size=1 << 20, **options):
        image = os.path.join(self.folder, "disk.img")
        with open(image, "wb") as f:
            f.write(bytes(i // SECTOR & 0xFF for i in range(size)))
        return backends.StorageDaemon(self.folder, image, **options)

    def check_contents(self, d):
        for sector in range(0, 60, 7):
            status, data = d.block(0, sector, room=1024)
            self.assertEqual(status, 0)
            self.assertEqual(data, bytes([sector]) * SECTOR + bytes([sector + 1]) * SECTOR)

    def test_blocks(self):
        with self.daemon() as daemon, self.machine(daemon, self.DEVICE) as m:
            self.wait_running(m)
            d = Driver(m.qtest, 5, features=1 << F_FLUSH)
            self.assertEqual(m.qtest.readq(d.config), (1 << 20) // SECTOR)
            self.check_contents(d)
            self.assertEqual(d.block(1, 100, data=b"w" * 2048)[0], 0)
            self.assertEqual(d.block(4, 0)[0], 0)
            with open(daemon.image, "rb") as f:
                f.seek(100 * SECTOR)
                self.assertEqual(f.read(2049), b"w" * 2048 + bytes([104]))
            self.assertEqual(d.block(0, 5000, room=512)[0], 1)
            info = m.qmp("query-vhost-user")[0]
            self.assertEqual((info["device"], info["state"]), ("device 'd0'", "running"))
            self.assertEqual([q["index"] for q in info["queues"]], [0])

    def test_queues(self):
        """As many as the back end has, if the user does not say how many."""
        device = self.DEVICE + ",num-queues=%s"
        with self.daemon(queues=3) as daemon:
            with self.machine(daemon, self.DEVICE, "-smp", "4") as m:
                self.wait_running(m)
                d = Driver(m.qtest, 5, features=1 << 12, queue=2)
                self.assertEqual(m.qtest.readw(d.config + 34), 3)
                self.check_contents(d)
            with self.machine(daemon, device % 2) as m:
                self.wait_running(m)
                d = Driver(m.qtest, 5, features=1 << 12, queue=1)
                self.assertEqual(m.qtest.readw(d.config + 34), 2)
                self.check_contents(d)
            status, _, err = rhea.run("-M", "q35", "-nodefaults", "-accel", "qtest", "-chardev",
                                      "socket,id=c0,path=" + daemon.socket, "-device", device % 4)
            self.assertEqual(status, 1)
            self.assertIn("device 'd0'", err)
            self.assertIn("the device has 4 queues, the back end only 3", err)

    def test_killed_with_requests_waiting(self):
        """The driver's requests wait for the next daemon; each is done once."""
        with self.daemon() as daemon, self.machine(daemon, self.DEVICE) as m:
            self.wait_running(m)
            d = Driver(m.qtest, 5)
            self.check_contents(d)
            for turn in range(3):
                daemon.kill()
                reason = m.qmp.event("VHOST_USER_DISCONNECTED")["data"]
                self.assertEqual(reason["device"], "device 'd0'")
                sizes = [d.send(1, 200 + i, data=bytes([turn * 16 + i]) * SECTOR,
                                at=DATA + 0x2000 * i) for i in range(5)]
                self.assertIsNone(d.queue.take(3))
                self.assertEqual(m.qtest.readq(d.config), (1 << 20) // SECTOR)
                self.assertEqual(m.qmp("query-status")["status"], "running")
                daemon.start()
                for size in sizes:
                    d.queue.wait(size)
                for i in range(5):
                    self.assertEqual(m.qtest.read(DATA + 0x2000 * i + 0x100, 1), b"\0")
                with open(daemon.image, "rb") as f:
                    f.seek(200 * SECTOR)
                    for i in range(5):
                        self.assertEqual(f.read(SECTOR), bytes([turn * 16 + i]) * SECTOR)
                self.check_contents(d)

    def test_reset(self):
        with self.daemon() as daemon, self.machine(daemon, self.DEVICE) as m:
            self.wait_running(m)
            for _ in range(3):
                self.check_contents(Driver(m.qtest, 5))
                self.reset(m)
            d = Driver(m.qtest, 5)
            daemon.kill()
            m.qmp.event("VHOST_USER_DISCONNECTED")
            self.reset(m)
            daemon.start()
            m.qmp.event("VHOST_USER_CONNECTED")
            self.check_contents(Driver(m.qtest, 5))

    def test_paused(self):
        """A machine that stands still has its queues back; they go on where they were."""
        with self.daemon() as daemon, self.machine(daemon, self.DEVICE) as m:
            self.wait_running(m)
            d = Driver(m.qtest, 5)
            self.check_contents(d)
            m.qmp("stop")
            self.wait_state(m, "ready")
            daemon.kill()
            daemon.start()
            m.qmp("cont")
            self.check_contents(d)

    def test_absent_at_start(self):
        with self.daemon() as daemon:
            daemon.kill()
            os.unlink(daemon.socket)
            with self.machine(daemon, self.DEVICE) as m:
                self.assertEqual(m.qmp("query-status")["status"], "prelaunch")
                self.assertEqual(m.qmp("query-vhost-user")[0]["state"], "disconnected")
                end = time.monotonic() + rhea.PATIENCE
                while "waiting for the back end of device 'd0'" not in m.errors():
                    self.assertLess(time.monotonic(), end, "nobody says what is awaited")
                    time.sleep(0.05)
                daemon.start()
                self.wait_running(m)
                self.check_contents(Driver(m.qtest, 5))
            daemon.kill()
            os.unlink(daemon.socket)
            with self.machine(daemon, self.DEVICE + ",wait=off") as m:
                self.wait_running(m)
                d = Driver(m.qtest, 5)
                self.assertEqual(m.qtest.readq(d.config), 0)
                self.assertIsNone(d.queue.take(d.send(0, 7, room=SECTOR)))
                daemon.start()
                d.queue.wait(3)
                self.assertEqual(m.qtest.readq(d.config), (1 << 20) // SECTOR)
                self.assertEqual(m.qtest.read(DATA + 0x1000, SECTOR), bytes([7]) * SECTOR)
                self.check_contents(d)
            daemon.kill()
            os.unlink(daemon.socket)
            status, _, err = rhea.run(
                "-M", "q35", "-nodefaults", "-accel", "qtest", "-chardev",
                "socket,reconnect=1,id=c0,path=" + daemon.socket, "-device",
                self.DEVICE + ",wait-timeout=1")
            self.assertEqual(status, 1)
            self.assertIn("device 'd0': no back end at", err)

    def test_hot_plug(self):
        port = ("-device", "pcie-root-port,id=port,addr=6,chassis=1")
        with self.daemon() as daemon, self.machine(daemon, None, *port) as m:
            bridge = virtio.Pci(m.qtest, 6)
            bridge.write32(0x18, 0x010100)  # secondary bus 1
            at = virtio.MODERN_AT
            bridge.write32(0x20, at >> 16 & 0xFFF0 | at & 0xFFF00000)
            bridge.write32(4, 7)
            slot = next(at for at, kind in bridge.capabilities() if kind == 0x10) + 0x18  # Express capability: slot control, slot status
            for name in ("d1", "d2"):
                m.qmp("device_add", driver="vhost-user-blk-pci", id=name, chardev="c0", bus="port")
                bridge.write32(slot, 0x0100)  # power on
                # A driver that finds the device at once still finds all of it.
                d = Driver(m.qtest, 0, features=1 << F_FLUSH | 1 << 2, bus=1)
                self.check_contents(d)
                with self.assertRaisesRegex(rhea.QmpError, "busy"):
                    m.qmp("chardev-remove", id="c0")
                m.qmp("device_del", id=name)
                bridge.write32(slot, 0x0700)  # power off, as the attention button asks
                m.qmp.event("DEVICE_DELETED")
                self.assertEqual(m.qmp("query-vhost-user"), [])

    def test_read_only(self):
        with self.daemon(writable=False) as daemon, self.machine(daemon, self.DEVICE) as m:
            self.wait_running(m)
            d = Driver(m.qtest, 5, features=1 << 5)
            self.check_contents(d)
            self.assertEqual(d.block(1, 0, data=b"x" * SECTOR)[0], 1)


class Fuse:
    """Requests of the kernel's FUSE protocol, 7.31, over one virtiofs queue."""

    INIT, LOOKUP, OPEN, READ, WRITE, FSYNC = 26, 1, 14, 15, 16, 20

    def __init__(self, qtest, slot):
        self.qtest = qtest
        self.device = virtio.Device(qtest, slot)
        self.hiprio = virtio.Queue(self.device, 0, RINGS)
        self.queue = virtio.Queue(self.device, 1, RINGS + 0x4000)
        self.device.ready()
        self.unique = 0

    def send(self, code, node, body):
        self.unique += 2
        request = struct.pack("<IIQQIIII", 40 + len(body), code, self.unique, node, 0, 0, 1, 0)
        self.qtest.write(DATA, request + body)
        self.qtest.write(DATA + 0x20000, bytes(16))
        self.queue.add([(DATA, 40, False), (DATA + 40, len(body), False),
                        (DATA + 0x20000, 0x10000, True)])
        self.queue.kick()

    def receive(self):
        self.queue.wait(3)
        length, error, unique = struct.unpack("<IiQ", self.qtest.read(DATA + 0x20000, 16))
        assert unique == self.unique, "an answer to something else"
        return error, self.qtest.read(DATA + 0x20000, length)[16:]

    def __call__(self, code, node, body):
        self.send(code, node, body)
        error, answer = self.receive()
        if error:
            raise OSError(-error, os.strerror(-error))
        return answer

    def start(self):
        answer = self(self.INIT, 0, struct.pack("<IIII", 7, 31, 0x20000, 0))
        return struct.unpack_from("<II", answer)

    def lookup(self, name):
        return struct.unpack_from("<Q", self(self.LOOKUP, 1, name.encode() + b"\0"))[0]

    def read(self, name):
        node = self.lookup(name)
        handle = struct.unpack_from("<Q", self(self.OPEN, node, struct.pack("<II", os.O_RDONLY, 0)))[0]
        data = b""
        while True:
            part = self(self.READ, node, struct.pack("<QQIIQII", handle, len(data), 0xFFF0, 0, 0, 0, 0))
            data += part
            if len(part) < 0xFFF0:
                return data


@unittest.skipUnless(backends.VIRTIOFSD, "virtiofsd is not installed")
class Share(Machine):
    DEVICE = "vhost-user-fs-pci,id=fs0,chardev=c0,tag=share,addr=5"

    def daemon(self):
        shared = os.path.join(self.folder, "shared")
        os.mkdir(shared)
        self.data = os.urandom(100000)
        with open(os.path.join(shared, "file"), "wb") as f:
            f.write(self.data)
        return backends.Virtiofsd(self.folder, shared)

    def test_files(self):
        with self.daemon() as daemon, self.machine(daemon, self.DEVICE) as m:
            self.wait_running(m)
            fuse = Fuse(m.qtest, 5)
            tag = m.qtest.read(fuse.device.config, 40)
            self.assertEqual(tag, b"share".ljust(36, b"\0") + struct.pack("<I", 1))
            self.assertEqual(fuse.start()[0], 7)
            self.assertEqual(fuse.read("file"), self.data)
            with self.assertRaises(FileNotFoundError):
                fuse.lookup("nothing")
            with open(os.path.join(daemon.shared, "later"), "wb") as f:
                f.write(b"late")
            self.assertEqual(fuse.read("later"), b"late")
            for _ in range(2):
                daemon.kill()
                m.qmp.event("VHOST_USER_DISCONNECTED")
                fuse.send(Fuse.INIT, 0, struct.pack("<IIII", 7, 31, 0x20000, 0))
                time.sleep(0.1)
                self.assertIsNone(fuse.queue.take(3))
                daemon.start()
                m.qmp.event("VHOST_USER_CONNECTED")
                self.assertEqual(fuse.receive()[0], 0)
                self.assertEqual(fuse.read("file"), self.data)
                self.reset(m)
                fuse = Fuse(m.qtest, 5)
                fuse.start()
                self.assertEqual(fuse.read("file"), self.data)

    def test_refused(self):
        """What can't be is said before a back end is looked for."""
        for options, message in (
                ("tag=share,cache-size=1G", "cache-size: there is no DAX window"),
                ("", "property 'tag' is needed"),
                ("tag=" + 37 * "x", "is longer than 36 bytes"),
                ("tag=t,queue-size=100", "queue-size must be a power of two"),
                ("tag=t,num-request-queues=0", "num-request-queues must be between 1 and")):
            status, _, err = rhea.run(
                "-M", "q35", "-nodefaults", "-accel", "qtest", "-chardev",
                "socket,id=c0,server=on,wait=off,path=" + os.path.join(self.folder, "s"),
                "-device", "vhost-user-fs-pci,chardev=c0" + (options and "," + options))
            self.assertEqual(status, 1)
            self.assertIn(message, err)


if __name__ == "__main__":
    tap.main()
