"""Each kind of vhost-user device against a back end that is written for this: identity, queues,
configuration, a buffer through the first and the last queue, death and return."""

import os
import shutil
import struct
import tempfile
import time
import unittest

import rhea
import tap
import vhost_user as vu
import virtio

GET_CONFIG, SET_CONFIG = 24, 25
PF_CONFIG = 1 << 9
RINGS, DATA = 0x100000, 0x200000
NAME, SERIAL, EV_BITS, ABS_INFO = 1, 2, 0x11, 0x12


class Anything(vu.Backend):
    """Completes what it is given with its own bytes; input's configuration answers to selections."""

    def __init__(self, path, features, config=b"", queues=8, pieces=None):
        super().__init__(path, listen=False)
        self.features = vu.F_PROTOCOL | vu.F_VERSION_1 | features
        self.protocol_features = vu.PF_MQ | vu.PF_REPLY_ACK | PF_CONFIG | vu.PF_BACKEND_REQ
        self.queue_pairs = queues
        self.config, self.pieces = bytearray(config), pieces
        self.before = {GET_CONFIG: self.get_config, SET_CONFIG: self.set_config}
        self.start()

    def get_config(self, conn, m):
        offset, size, flags = struct.unpack_from("<III", m.payload)
        data = bytes(self.config[offset:offset + size])
        conn.send(m.code, struct.pack("<III", offset, len(data), flags) + data)
        return True

    def set_config(self, conn, m):
        offset, size, _ = struct.unpack_from("<III", m.payload)
        self.config[offset:offset + size] = m.payload[12:12 + size]
        if self.pieces is not None:
            piece = self.pieces.get((self.config[0], self.config[1]), b"")
            self.config[2:] = bytes([len(piece)]) + bytes(5) + piece.ljust(128, b"\0")
        return False

    def fill(self, conn, index, data):
        end = time.monotonic() + rhea.PATIENCE
        while time.monotonic() < end:
            with conn.lock:
                popped = conn.pop(index)
                if popped:
                    head, segments = popped
                    address = next(a for a, n, writable in segments if writable)
                    conn.write(address, data)
                    conn.push(index, head, len(data))
                    return
            time.sleep(0.002)
        raise AssertionError("no buffer in queue %d" % index)


class Kind:
    """What a device is to be: virtio id, queues the back end works, configuration."""

    def __init__(self, virtio_id, queues, config=b"", features=0, accept=0, options="", own=False):
        self.virtio_id, self.queues, self.config = virtio_id, queues, config
        self.features, self.accept, self.options, self.own = features, accept, options, own


CID = struct.pack("<Q", 42)
SCSI = struct.pack("<IIIIIIIHHI", 2, 126, 65535, 128, 16, 96, 32, 0, 255, 16383)
KINDS = {
    "rng": Kind(4, 1),
    "i2c": Kind(34, 1, features=1, accept=1),
    "gpio": Kind(41, 2, config=struct.pack("<HHI", 8, 0, 0), features=1, accept=1),
    "snd": Kind(25, 4, config=struct.pack("<III", 1, 2, 3)),
    "vsock": Kind(19, 2, config=CID, features=2, accept=2),
    "scsi": Kind(8, 4, config=SCSI, features=6, accept=2, options=",num_queues=2", own=True),
    "fs": Kind(26, 3, config=b"t".ljust(36, b"\0") + struct.pack("<I", 2),
               options=",tag=t,num-request-queues=2", own=True),
    "device": Kind(20, 3, config=bytes(range(48)), features=1 << 3 | 1 << 50, accept=1 << 50,
                   options=",virtio-id=20,num_vqs=3,vq_size=16,config_size=48"),
}


class Kinds(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-kinds-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "sock")

    def machine(self, kind, options=""):
        return rhea.Rhea(
            "-M", "q35", "-nodefaults", "-m", "64M", "-display", "none", "-qtest-log", "none",
            "-chardev", "socket,id=c0,reconnect-ms=20,path=" + self.path, "-device",
            "vhost-user-%s-pci,id=d0,chardev=c0,addr=5%s" % (kind, options), qtest=True)

    def wait_running(self, m):
        end = time.monotonic() + rhea.PATIENCE
        while m.qmp("query-status")["status"] != "running":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def check(self, name, kind):
        config = b"" if kind.own else kind.config
        with Anything(self.path, kind.features, config) as back_end, \
                self.machine(name, kind.options) as m:
            self.wait_running(m)
            d = virtio.Device(m.qtest, 5, features=kind.accept)
            self.assertEqual(d.pci.read(2, 2), 0x1040 + kind.virtio_id
                             if name != "scsi" else 0x1004)
            if kind.config:
                self.assertEqual(m.qtest.read(d.config, len(kind.config)), kind.config)
            queues = [virtio.Queue(d, i, RINGS + 0x4000 * i, 4) for i in range(kind.queues)]
            d.set_status(15)
            for turn in range(2):
                conn = back_end.wait_running(kind.queues)
                for i in (0, kind.queues - 1):
                    queues[i].add([(DATA, 64, True)])
                    queues[i].kick()
                    data = bytes([turn + 1, i]) * 8
                    back_end.fill(conn, i, data)
                    self.assertEqual(queues[i].wait(1), 16)
                    self.assertEqual(m.qtest.read(DATA, 16), data)
                back_end.drop()
                m.qmp.event("VHOST_USER_DISCONNECTED")
                m.qmp.event("VHOST_USER_CONNECTED")
            info = m.qmp("query-vhost-user")[0]
            self.assertEqual(info["device"], "device 'd0'")
            self.reset(m)
            virtio.Device(m.qtest, 5, features=kind.accept)

    def reset(self, m):
        m.qmp("system_reset")
        m.qmp.event("RESET")

    def test_kinds(self):
        for name, kind in KINDS.items():
            with self.subTest(name):
                self.check(name, kind)

    def test_missing_feature(self):
        """What a device can't be without is named, and so is what the user asked for."""
        for name, options, message in (("i2c", "", "bit 0"), ("vsock", ",seqpacket=on", "SEQPACKET"),
                                       ("snd", ",controls=on", "bit 0")):
            with Anything(self.path, 0, bytes(16)):
                status, _, err = rhea.run(
                    "-M", "q35", "-nodefaults", "-accel", "qtest",
                    "-chardev", "socket,id=c0,reconnect-ms=20,path=" + self.path,
                    "-device", "vhost-user-%s-pci,id=d0,chardev=c0%s" % (name, options))
            self.assertEqual(status, 1)
            self.assertIn("device 'd0'", err)
            self.assertIn(message, err)

    def test_input(self):
        """Every piece of its configuration is there when the driver selects it."""
        pieces = {(NAME, 0): b"pad", (SERIAL, 0): b"theirs", (EV_BITS, 1): b"\xff\x01",
                  (EV_BITS, 3): b"\x03", (ABS_INFO, 0): bytes(range(20)),
                  (ABS_INFO, 1): bytes(range(20, 40))}
        for serial, options in ((b"theirs", ""), (b"ours", ",serial=ours")):
            with Anything(self.path, 0, bytes(136), pieces=dict(pieces)) as back_end, \
                    self.machine("input", options) as m:
                self.wait_running(m)
                d = virtio.Device(m.qtest, 5)
                expected = dict(pieces)
                expected[(SERIAL, 0)] = serial
                expected[(EV_BITS, 2)] = b""
                for turn in range(2):
                    for (select, subsel), data in expected.items():
                        m.qtest.writeb(d.config, select)
                        m.qtest.writeb(d.config + 1, subsel)
                        self.assertEqual(m.qtest.readb(d.config + 2), len(data))
                        self.assertEqual(m.qtest.read(d.config + 8, 128), data.ljust(128, b"\0"))
                    if not turn:  # the next one has another name
                        back_end.pieces[(NAME, 0)] = expected[(NAME, 0)] = b"another"
                        back_end.drop()
                        m.qmp.event("VHOST_USER_CONNECTED")
                        m.qmp.event("VHOST_USER_CONNECTED")
                        end = time.monotonic() + rhea.PATIENCE
                        m.qtest.writeb(d.config, NAME)
                        m.qtest.writeb(d.config + 1, 0)
                        while m.qtest.readb(d.config + 2) != 7:
                            self.assertLess(time.monotonic(), end)

    def test_vsock(self):
        """The user's context id goes before the back end's; a new back end resets connections."""
        with Anything(self.path, 0, CID) as back_end, self.machine("vsock", ",guest-cid=7") as m:
            self.wait_running(m)
            d = virtio.Device(m.qtest, 5)
            self.assertEqual(m.qtest.readq(d.config), 7)
            queues = [virtio.Queue(d, i, RINGS + 0x4000 * i, 4) for i in range(3)]
            d.set_status(15)
            back_end.wait_running(2)
            m.qtest.write(DATA, b"\xee" * 8)
            queues[2].add([(DATA, 8, True)])
            queues[2].kick()
            self.assertIsNone(queues[2].take(1))
            back_end.drop()
            self.assertEqual(queues[2].wait(1), 4)
            self.assertEqual(m.qtest.read(DATA, 8), bytes(4) + b"\xee" * 4)

    def test_properties(self):
        """What can't be is said before a back end is looked for."""
        for name, options, message in (
                ("blk", "num-queues=0", "num-queues must be at least 1"),
                ("blk", "queue-size=100", "queue-size must be a power of two"),
                ("blk", "iommu_platform=on,disable-legacy=on", "iommu_platform=on is not possible"),
                ("scsi", "num_queues=0", "num_queues must be between"),
                ("scsi", "virtqueue_size=2", "virtqueue_size must be at least"),
                ("vsock", "guest-cid=2", "guest-cid must be between 3 and"),
                ("input", "serial=" + "x" * 129, "is longer than 128"),
                ("device", "num_vqs=1", "virtio-id must be between 1 and 63"),
                ("device", "virtio-id=64", "virtio-id must be between 1 and 63"),
                ("device", "virtio-id=2,config_size=300", "config_size must be at most 256"),
                ("device", "virtio-id=2,vq_size=2048", "vq_size must be a power of two"),
                ("rng", "wait-timeout=90000", "wait-timeout")):
            status, _, err = rhea.run(
                "-M", "q35", "-nodefaults", "-accel", "qtest", "-chardev",
                "socket,id=c0,server=on,wait=off,path=" + self.path,
                "-device", "vhost-user-%s-pci,chardev=c0,%s" % (name, options))
            self.assertEqual(status, 1)
            self.assertIn(message, err)
        status, _, err = rhea.run("-M", "q35", "-accel", "qtest", "-device", "vhost-user-rng-pci")
        self.assertEqual(status, 1)
        self.assertIn("property 'chardev' is needed", err)


if __name__ == "__main__":
    tap.main()
