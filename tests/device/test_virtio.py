"""virtio devices driven from outside, through qtest, with real blocks and real packets."""

import fcntl
import os
import socket
import struct
import tempfile
import unittest

import rhea
import tap
import virtio

F_SEAL_FUTURE_WRITE = 0x10
DATA = 0x200000
RINGS = 0x100000


class Virtio(unittest.TestCase):
    def machine(self, name, *args, **options):
        return rhea.Rhea("-M", name, "-nodefaults", "-m", "64M", "-display", "none", *args,
                         qtest=True, **options)

    def block(self, queue, kind, sector, data=b"", room=0, vector=None, indirect=None):
        q = queue.q
        q.write(DATA, struct.pack("<IIQ", kind, 0, sector))
        q.write(DATA + 0x100, b"\xee")
        segments = [(DATA, 16, False)]
        if data:
            q.write(DATA + 0x1000, data)
            segments.append((DATA + 0x1000, len(data), False))
        if room:
            segments.append((DATA + 0x1000, room, True))
        segments.append((DATA + 0x100, 1, True))
        queue.add(segments, indirect)
        queue.kick()
        queue.wait(1 if indirect else len(segments))
        if vector is not None:
            queue.d.wait_interrupt(vector)
        return q.read(DATA + 0x100, 1)[0], q.read(DATA + 0x1000, room) if room else b""

    # Transport, ring and interrupts: everything that a driver can be.
    MODES = {
        "modern, split, messages": dict(interrupts="msix"),
        "modern, split, pin": dict(interrupts="pin"),
        "modern, packed, messages": dict(packed=True, interrupts="msix"),
        "modern, packed, pin": dict(packed=True, interrupts="pin"),
        "legacy, messages": dict(legacy=True, interrupts="msix"),
        "legacy, pin": dict(legacy=True, interrupts="pin"),
    }

    def modes(self):
        for name in ("pc", "q35"):
            for mode, options in self.MODES.items():
                with self.subTest(machine=name, mode=mode):
                    yield name, options, "on" if options.get("packed") else "off"

    def test_blocks(self):
        for name, options, packed in self.modes():
            with tempfile.NamedTemporaryFile() as image:
                image.write(bytes(i // 512 & 0xFF for i in range(1 << 20)))
                image.flush()
                drive = "file=%s,if=none,id=d0,format=raw" % image.name
                device = "virtio-blk-pci,drive=d0,addr=5,packed=%s" % packed
                with self.machine(name, "-drive", drive, "-device", device) as m:
                    d = virtio.Device(m.qtest, 5, **options)
                    queue = virtio.Queue(d, 0, RINGS, vector=1 if d.with_msix else None)
                    d.ready()
                    for sector in range(0, 60, 7):
                        status, data = self.block(queue, 0, sector, room=1024, vector=1)
                        self.assertEqual(status, 0)
                        self.assertEqual(data, bytes([sector]) * 512 + bytes([sector + 1]) * 512)
                    self.assertEqual(self.block(queue, 1, 100, data=b"w" * 2048)[0], 0)
                    self.assertEqual(self.block(queue, 4, 0)[0], 0)
                    with open(image.name, "rb") as again:
                        again.seek(51200)
                        self.assertEqual(again.read(2049), b"w" * 2048 + bytes([104]))
                    self.assertEqual(self.block(queue, 0, 5000, room=512)[0], 1)
                    stats = m.qmp("query-blockstats")[0]["stats"]
                    self.assertEqual(stats["wr_bytes"], 2048)
                    self.assertEqual(stats["wr_highest_offset"], 51200 + 2048)
                    self.assertEqual(stats["invalid_rd_operations"], 1)

    def test_indirect(self):
        """Whole requests in a table of their own, in both formats."""
        for packed in (False, True):
            device = "virtio-blk-pci,drive=d0,addr=5,packed=%s" % ("on" if packed else "off")
            with self.machine("q35", "-drive",
                              "file.driver=null-co,file.read-zeroes=on,if=none,id=d0",
                              "-device", device) as m:
                d = virtio.Device(m.qtest, 5, packed=packed, features=1 << virtio.INDIRECT_DESC)
                queue = virtio.Queue(d, 0, RINGS, size=4)
                d.ready()
                for sector in range(12):
                    self.assertEqual(self.block(queue, 0, sector, room=512, indirect=RINGS + 0x8000),
                                     (0, bytes(512)))

    def test_notification_data(self):
        for packed in (False, True):
            device = "virtio-rng-pci,addr=7,notification_data=on,packed=%s" % (
                "on" if packed else "off")
            with self.machine("q35", "-device", device) as m:
                d = virtio.Device(m.qtest, 7, packed=packed,
                                  features=1 << virtio.NOTIFICATION_DATA)
                queue = virtio.Queue(d, 0, RINGS, size=4)
                d.ready()
                for _ in range(10):
                    queue.add([(DATA, 64, True)])
                    queue.kick()
                    self.assertEqual(queue.wait(), 64)

    def test_ring_reset(self):
        """One queue starts over while the device goes on (2.6.1)."""
        for packed in (False, True):
            device = "virtio-rng-pci,addr=7,packed=%s" % ("on" if packed else "off")
            with self.machine("q35", "-device", device) as m:
                d = virtio.Device(m.qtest, 7, packed=packed, features=1 << virtio.RING_RESET)
                for _ in range(3):
                    queue = virtio.Queue(d, 0, RINGS)
                    d.ready()
                    queue.add([(DATA, 64, True)])
                    queue.kick()
                    self.assertEqual(queue.wait(), 64)
                    d.common_w(22, 0, 2)
                    d.common_w(58, 1, 2)
                    self.assertEqual(d.common_r(58, 2), 0)
                    self.assertEqual(d.common_r(28, 2), 0)
                self.assertEqual(d.status(), 15)

    def test_large_ring(self):
        """1024 entries, all of them in one go."""
        for packed in (False, True):
            device = "virtio-blk-pci,drive=d0,addr=5,queue-size=1024,packed=%s" % (
                "on" if packed else "off")
            with self.machine("q35", "-drive", "file=null-co://,if=none,id=d0", "-device",
                              device) as m:
                d = virtio.Device(m.qtest, 5, packed=packed)
                d.common_w(22, 0, 2)
                self.assertEqual(d.common_r(24, 2), 1024)
                self.assertEqual(d.config_r(12, 4), 1022)  # segments of a request
                d.qtest.write(RINGS, bytes(0x10000))
                d.common_w(24, 1024, 2)
                for offset, at in ((32, 0), (40, 0x4000), (48, 0x8000)):
                    d.common_w(offset, RINGS + at, 4)
                    d.common_w(offset + 4, 0, 4)
                d.common_w(28, 1, 2)
                d.ready()
                m.qtest.write(DATA, struct.pack("<IIQ", 0, 0, 0))
                count, rows = 1024 // 2, b""
                for i in range(count):
                    avail = virtio.AVAIL if packed else 0
                    for k, (at, n, flags) in enumerate(((DATA, 16, virtio.NEXT),
                                                        (DATA + 0x100, 1, virtio.WRITE))):
                        tail = (i, flags | avail) if packed else (flags, 2 * i + 1)
                        rows += struct.pack("<QIHH", at, n, *tail)
                m.qtest.write(RINGS, rows)
                if not packed:
                    heads = b"".join(struct.pack("<H", 2 * i) for i in range(count))
                    m.qtest.write(RINGS + 0x4000, struct.pack("<HH", 0, count) + heads)
                m.qtest.writew(d.notify, 0)
                for _ in range(1000):
                    if packed:
                        flags = m.qtest.readw(RINGS + 16 * (1024 - 2) + 14)
                        done = flags & virtio.USED
                    else:
                        done = m.qtest.readw(RINGS + 0x8002) == count
                    if done:
                        break
                self.assertTrue(done)
                self.assertEqual(d.status(), 15)

    def test_stop_with_requests(self):
        """Requests in flight over stop and cont: each is answered once, none while stopped."""
        drive = "file.driver=null-co,file.latency-ns=200000000,if=none,id=d0"
        for thread in ("", ",iothread=t"):
            with self.machine("q35", "-drive", drive, "-object", "iothread,id=t", "-device",
                              "virtio-blk-pci,drive=d0,addr=5" + thread) as m:
                d = virtio.Device(m.qtest, 5)
                queue = virtio.Queue(d, 0, RINGS, size=64)
                d.ready()
                m.qtest.write(DATA, struct.pack("<IIQ", 0, 0, 0))
                for _ in range(8):
                    queue.add([(DATA, 16, False), (DATA + 0x1000, 512, True),
                               (DATA + 0x100, 1, True)])
                queue.kick()
                m.qmp("stop")
                used = m.qtest.readw(queue.device + 2)
                queue.add([(DATA, 16, False), (DATA + 0x1000, 512, True), (DATA + 0x100, 1, True)])
                queue.kick()
                self.assertEqual(m.qtest.readw(queue.device + 2), used)
                m.qmp("cont")
                for _ in range(9):
                    self.assertEqual(queue.wait(3), 513)
                self.assertEqual(m.qtest.readw(queue.device + 2), 9)

    def test_reset_with_requests(self):
        drive = "file.driver=null-co,file.latency-ns=100000000,if=none,id=d0"
        with self.machine("q35", "-drive", drive, "-device", "virtio-blk-pci,drive=d0,addr=5") as m:
            for _ in range(3):
                d = virtio.Device(m.qtest, 5)
                queue = virtio.Queue(d, 0, RINGS)
                d.ready()
                m.qtest.write(DATA, struct.pack("<IIQ", 0, 0, 0))
                queue.add([(DATA, 16, False), (DATA + 0x1000, 512, True), (DATA + 0x100, 1, True)])
                queue.kick()
            d.set_status(0)
            m.qmp("system_reset")
            self.assertEqual(m.qmp("query-status")["status"], "running")

    def test_block_requests(self):
        """Identity, ranges, geometry, resize, read-only, and what is refused."""
        with tempfile.NamedTemporaryFile() as image:
            image.write(b"x" * (1 << 20))
            image.flush()
            with self.machine(
                    "q35", "-blockdev", "driver=file,node-name=f,filename=%s,discard=unmap" % image.name,
                    "-blockdev", "raw,node-name=d,file=f,discard=unmap", "-device",
                    "virtio-blk-pci,drive=d,addr=5,serial=abc,id=disk,logical_block_size=512,"
                    "physical_block_size=4096,min_io_size=4096,opt_io_size=65536,num-queues=2,"
                    "max-discard-sectors=64") as m:
                d = virtio.Device(m.qtest, 5, interrupts="msix",
                                  features=1 << 6 | 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14)
                queue = virtio.Queue(d, 0, RINGS, vector=1)
                other = virtio.Queue(d, 1, RINGS + 0x8000, vector=2)
                d.ready()
                self.assertEqual(self.block(queue, 8, 0, room=20), (0, b"abc" + bytes(17)))
                self.assertEqual(d.config_r(0, 4), 2048)
                self.assertEqual(d.config_r(20, 4), 512)
                self.assertEqual(d.config_r(24, 1), 3)  # 4096 / 512 = 2^3
                self.assertEqual((d.config_r(26, 2), d.config_r(28, 4)), (8, 128))
                self.assertEqual(d.config_r(34, 2), 2)
                self.assertEqual(d.config_r(36, 4), 64)
                zero = struct.pack("<QII", 16, 8, 0)
                self.assertEqual(self.block(queue, 13, 0, data=zero)[0], 0)
                self.assertEqual(self.block(other, 0, 15, room=1024, vector=2),
                                 (0, b"x" * 512 + bytes(512)))
                self.assertEqual(self.block(queue, 11, 0, data=struct.pack("<QII", 1024, 64, 0))[0], 0)
                self.assertEqual(self.block(queue, 0, 1024, room=512), (0, bytes(512)))
                # Too many sectors, past the end, an unknown flag, an unknown request.
                for kind, data, status in ((11, struct.pack("<QII", 0, 65, 0), 1),
                                           (13, struct.pack("<QII", 2047, 2, 0), 1),
                                           (11, struct.pack("<QII", 0, 1, 4), 2),
                                           (99, b"", 2)):
                    self.assertEqual(self.block(queue, kind, 0, data=data)[0], status)
                generation = d.common_r(21, 1)
                m.qmp("block_resize", node_name="d", size=2 << 20)
                d.wait_interrupt(0, bit=2)
                self.assertEqual(d.config_r(0, 4), 4096)
                self.assertNotEqual(d.common_r(21, 1), generation)
                self.assertEqual(os.path.getsize(image.name), 2 << 20)
                stats = m.qmp("query-blockstats")[0]["stats"]
                self.assertEqual(stats["unmap_operations"], 1)

    def test_read_only(self):
        with tempfile.NamedTemporaryFile() as image:
            image.write(b"r" * 4096)
            image.flush()
            with self.machine("q35", "-drive", "file=%s,if=none,id=d0,format=raw,read-only=on"
                              % image.name, "-device", "virtio-blk-pci,drive=d0,addr=5") as m:
                d = virtio.Device(m.qtest, 5, features=1 << 5)
                queue = virtio.Queue(d, 0, RINGS)
                d.ready()
                self.assertEqual(self.block(queue, 0, 0, room=512), (0, b"r" * 512))
                self.assertEqual(self.block(queue, 1, 0, data=b"w" * 512)[0], 1)

    def test_write_error_policies(self):
        """A medium that refuses writes: reported, ignored, or the machine stops."""
        for policy, action, status in (("report", "report", 1), ("ignore", "ignore", 0),
                                       ("stop", "stop", None)):
            fd = os.memfd_create("disk", os.MFD_ALLOW_SEALING)
            os.truncate(fd, 1 << 20)
            try:
                with self.machine(
                        "q35", "-add-fd", "fd=%d,set=1" % fd, "-drive",
                        "file.filename=/dev/fdset/1,if=none,id=d0,format=raw,file.locking=off,"
                        "werror=" + policy, "-device", "virtio-blk-pci,drive=d0,addr=5",
                        pass_fds=(fd,)) as m:
                    d = virtio.Device(m.qtest, 5)
                    queue = virtio.Queue(d, 0, RINGS)
                    d.ready()
                    self.assertEqual(self.block(queue, 1, 0, data=b"w" * 512)[0], 0)
                    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
                    if status is not None:
                        self.assertEqual(self.block(queue, 1, 0, data=b"w" * 512)[0], status)
                    else:
                        m.qtest.write(DATA, struct.pack("<IIQ", 1, 0, 0))
                        queue.add([(DATA, 528, False), (DATA + 0x400, 1, True)])
                        queue.kick()
                        m.qmp.event("STOP")
                        self.assertEqual(m.qmp("query-status")["status"], "io-error")
                        self.assertEqual(m.qmp("query-block")[0]["io-status"], "failed")
                        self.assertIsNone(queue.take(2))
                        m.qmp("cont")  # tried again, and fails again
                        m.qmp.event("STOP")
                    event = m.qmp.event("BLOCK_IO_ERROR")["data"]
                    self.assertEqual((event["operation"], event["action"], event["device"]),
                                     ("write", action, "d0"))
            finally:
                os.close(fd)

    def test_image_is_locked(self):
        with tempfile.NamedTemporaryFile() as image:
            os.truncate(image.name, 4096)
            drive = "file=%s,if=none,id=d0,format=raw" % image.name
            with self.machine("q35", "-drive", drive):
                status, _, said = rhea.run("-M", "none", "-drive", drive)
                self.assertEqual(status, 1)
                self.assertIn("in use by another process", said)

    def test_nodes(self):
        """Disks made and taken away while the machine runs; names are unique."""
        with tempfile.NamedTemporaryFile() as one, tempfile.NamedTemporaryFile() as two:
            for image in (one, two):
                os.truncate(image.name, 1 << 20)
            with self.machine("q35", "-drive", "file=%s,if=virtio,format=raw,id=d0" % one.name,
                              "-device", "pcie-root-port,id=r1,chassis=1,addr=9") as m:
                m.qmp("blockdev-add", driver="file", filename=two.name, node_name="f")
                m.qmp("blockdev-add", driver="raw", file="f", node_name="d1")
                names = [n["node-name"] for n in m.qmp("query-named-block-nodes")]
                self.assertEqual(len(set(names)), 4)
                for bad in (dict(driver="raw", file="f", node_name="d2"),
                            dict(driver="raw", file="nothing", node_name="d2"),
                            dict(driver="raw", file="d1", node_name="f"),
                            dict(driver="file", filename=two.name, node_name="d2")):
                    with self.assertRaises(rhea.QmpError):
                        m.qmp("blockdev-add", **bad)
                m.qmp("device_add", driver="virtio-blk-pci", drive="d1", bus="r1", id="b")
                with self.assertRaises(rhea.QmpError):
                    m.qmp("device_add", driver="virtio-blk-pci", drive="d1", bus="r1", id="c")
                self.assertEqual([b["inserted"]["node-name"] for b in m.qmp("query-block")][1], "d1")
                for busy in ("f", "d1", names[0]):
                    with self.assertRaises(rhea.QmpError):
                        m.qmp("blockdev-del", node_name=busy)
                m.qmp.hmp("block_resize d0 2")
                self.assertEqual(os.path.getsize(one.name), 2 << 20)

    def net(self, device, netdev_more=(), **options):
        """A machine with a NIC and our end of its wire."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        fd = theirs.fileno()
        os.set_inheritable(fd, True)
        netdev = "dgram,id=n0,local.type=fd,local.str=%d" % fd
        m = self.machine("q35", "-netdev", netdev, "-device", "virtio-net-pci,netdev=n0,addr=6,id=nic"
                         + device, *netdev_more, pass_fds=(fd,), **options)
        ours.settimeout(rhea.PATIENCE)
        theirs.close()
        return m, ours

    def command(self, queue, klass, command, data):
        """One of the control queue: its result."""
        q = queue.q
        q.write(DATA + 0x8000, bytes([klass, command]) + data)
        q.write(DATA + 0x8800, b"\xee")
        queue.add([(DATA + 0x8000, 2 + len(data), False), (DATA + 0x8800, 1, True)])
        queue.kick()
        queue.wait(2)
        return q.read(DATA + 0x8800, 1)[0]

    def test_packets(self):
        for mode, options in self.MODES.items():
            with self.subTest(mode=mode):
                packed = "on" if options.get("packed") else "off"
                m, ours = self.net(",packed=" + packed)
                with m, ours:
                    d = virtio.Device(m.qtest, 6, **options)
                    header = 10 if d.legacy else 12
                    rx = virtio.Queue(d, 0, RINGS, vector=1 if d.with_msix else None)
                    tx = virtio.Queue(d, 1, RINGS + 0x8000, vector=2 if d.with_msix else None)
                    d.ready()
                    for i in range(20):
                        frame = bytes([i]) * (60 + 50 * i)
                        m.qtest.write(DATA, bytes(header) + frame)
                        tx.add([(DATA, header, False), (DATA + header, len(frame), False)])
                        tx.kick()
                        tx.wait(2)
                        d.wait_interrupt(2)
                        self.assertEqual(ours.recv(2000), frame)
                        rx.add([(DATA + 0x4000, 2048, True)])
                        rx.kick()
                        ours.send(frame)
                        self.assertEqual(rx.wait(1), header + len(frame))
                        d.wait_interrupt(1)
                        self.assertEqual(m.qtest.read(DATA + 0x4000 + header, len(frame)), frame)

    def test_mergeable_and_waiting(self):
        """A frame over several buffers; frames wait until there is room, and none is lost."""
        m, ours = self.net("")
        with m, ours:
            d = virtio.Device(m.qtest, 6, features=1 << 15)
            rx = virtio.Queue(d, 0, RINGS)
            d.ready()
            frames = [bytes([i]) * 1000 for i in range(6)]
            for frame in frames:
                ours.send(frame)
            for i, frame in enumerate(frames):
                for k in range(4):
                    rx.add([(DATA + 0x1000 * k, 256, True)])
                rx.kick()
                got = b""
                for k in range(4):
                    got += m.qtest.read(DATA + 0x1000 * k, rx.wait())
                self.assertEqual(struct.unpack_from("<H", got, 10)[0], 4)
                self.assertEqual(got[12:], frame)

    def test_control_queue(self):
        m, ours = self.net("")
        with m, ours:
            d = virtio.Device(m.qtest, 6, features=sum(1 << b for b in (5, 16, 17, 18, 19, 20, 21, 23)))
            rx = virtio.Queue(d, 0, RINGS)
            control = virtio.Queue(d, 2, RINGS + 0x8000)
            d.ready()
            own, second, group = b"\x52\x54\0\0\0\1", b"\x52\x54\0\0\0\2", b"\1\0\x5e\0\0\1"
            event = m.qmp.event
            self.assertEqual(self.command(control, 0, 0, b"\0"), 0)  # not promiscuous
            self.assertEqual(event("NIC_RX_FILTER_CHANGED")["data"]["name"], "nic")
            self.assertEqual(self.command(control, 1, 1, own), 0)
            table = struct.pack("<I", 1) + second + struct.pack("<I", 1) + group
            self.assertEqual(self.command(control, 1, 0, table), 0)
            self.assertEqual(self.command(control, 2, 0, struct.pack("<H", 7)), 0)
            info = m.qmp("query-rx-filter", name="nic")[0]
            self.assertEqual((info["promiscuous"], info["main-mac"], info["unicast-table"],
                              info["multicast-table"], info["vlan-table"]),
                             (False, "52:54:00:00:00:01", ["52:54:00:00:00:02"],
                              ["01:00:5e:00:00:01"], [7]))
            # Told once, and again only after somebody asked.
            self.assertEqual(self.command(control, 2, 0, struct.pack("<H", 8)), 0)
            event("NIC_RX_FILTER_CHANGED")
            self.assertEqual(self.command(control, 2, 1, struct.pack("<H", 8)), 0)
            m.qmp("query-status")
            self.assertFalse([e for e in m.qmp.events if e["event"] == "NIC_RX_FILTER_CHANGED"])

            def arrives(frame):
                rx.add([(DATA, 2048, True)])
                rx.kick()
                ours.send(frame.ljust(60, b"."))
                last = own + b"last".ljust(54, b"!")
                ours.send(last)
                if rx.wait() and m.qtest.read(DATA + 12, 60) == frame.ljust(60, b"."):
                    rx.add([(DATA, 2048, True)])
                    rx.kick()
                    rx.wait()
                    return True
                return False

            vlan = bytes(6) + b"\x81\0\0"
            self.assertTrue(arrives(own + bytes(6) + b"\x08\0"))
            self.assertTrue(arrives(second + bytes(6) + b"\x08\0"))
            self.assertTrue(arrives(group + bytes(6) + b"\x08\0"))
            self.assertTrue(arrives(b"\xff" * 6 + bytes(6) + b"\x08\0"))
            self.assertFalse(arrives(b"\x52\x54\0\0\0\3" + bytes(6) + b"\x08\0"))
            self.assertFalse(arrives(b"\1\0\x5e\0\0\2" + bytes(6) + b"\x08\0"))
            self.assertTrue(arrives(own + vlan + b"\7"))
            self.assertFalse(arrives(own + vlan + b"\x09"))
            self.assertEqual(self.command(control, 0, 1, b"\1"), 0)  # all multicast
            self.assertTrue(arrives(b"\1\0\x5e\0\0\2" + bytes(6) + b"\x08\0"))
            self.assertEqual(self.command(control, 0, 5, b"\1"), 0)  # no broadcast
            self.assertFalse(arrives(b"\xff" * 6 + bytes(6) + b"\x08\0"))
            # Nonsense is refused: unknown class, a table longer than its data, a VLAN too high.
            self.assertEqual(self.command(control, 77, 0, b"\0"), 1)
            self.assertEqual(self.command(control, 1, 0, struct.pack("<I", 1 << 30)), 1)
            self.assertEqual(self.command(control, 2, 0, struct.pack("<H", 4096)), 1)
            # The network wants to know where we are.
            m.qmp("announce-self", initial=50, max=50, rounds=1, step=0)
            for _ in range(1000):
                if d.config_r(6, 2) & 2:
                    break
            self.assertEqual(d.config_r(6, 2), 3)
            self.assertEqual(self.command(control, 3, 0, b""), 0)
            self.assertEqual(d.config_r(6, 2), 1)

    def test_link_and_properties(self):
        m, ours = self.net(",host_mtu=9000,speed=10000,duplex=full,mac=52:54:00:aa:bb:cc")
        with m, ours:
            d = virtio.Device(m.qtest, 6, features=1 << 3 | 1 << 5 | 1 << 16 | 1 << 63,
                              interrupts="msix")
            d.ready()
            mac = bytes(d.config_r(i, 1) for i in range(6))
            self.assertEqual(mac, b"\x52\x54\0\xaa\xbb\xcc")
            self.assertEqual((d.config_r(10, 2), d.config_r(12, 4), d.config_r(16, 1)),
                             (9000, 10000, 1))
            for name in ("nic", "n0"):
                for up in (False, True):
                    m.qmp("set_link", name=name, up=up)
                    d.wait_interrupt(0, bit=2)
                    self.assertEqual(d.config_r(6, 2) & 1, int(up))
            text = m.qmp.hmp("info network")
            self.assertIn("nic: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:aa:bb:cc", text)

    def test_stop_with_frames(self):
        """A frame that waits at the peer while the machine stops is sent once, afterwards."""
        m, ours = self.net("")
        with m, ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            d = virtio.Device(m.qtest, 6)
            tx = virtio.Queue(d, 1, RINGS, size=256)
            d.ready()
            m.qtest.write(DATA, bytes(12 + 1000))
            count = 200
            for i in range(count):
                m.qtest.write(DATA + 0x1000 * i, bytes(12) + struct.pack("<I", i) + bytes(996))
                tx.add([(DATA + 0x1000 * i, 1012, False)])
            tx.kick()
            m.qmp("stop")
            used = m.qtest.readw(tx.device + 2)
            self.assertLess(used, count)
            got = [struct.unpack_from("<I", ours.recv(2000))[0] for _ in range(used)]
            m.qmp("cont")
            while len(got) < count:
                got.append(struct.unpack_from("<I", ours.recv(2000))[0])
            self.assertEqual(got, list(range(count)))
            for _ in range(count):
                tx.wait()

    def test_coalescing(self):
        """Interrupts are held back as the driver asked (5.1.6.5.9), by number and by time."""
        m, ours = self.net("")
        with m, ours:
            d = virtio.Device(m.qtest, 6, features=1 << 17 | 1 << 52 | 1 << 53, interrupts="msix")
            rx = virtio.Queue(d, 0, RINGS, vector=1)
            control = virtio.Queue(d, 2, RINGS + 0x8000)
            d.ready()
            self.assertEqual(self.command(control, 6, 1, struct.pack("<II", 3, 1000000)), 0)
            self.assertEqual(self.command(control, 6, 2, struct.pack("<HHII", 0, 0, 3, 500000)), 0)
            for _ in range(6):
                rx.add([(DATA, 2048, True)])
            rx.kick()
            for _ in range(2):
                ours.send(b"f" * 60)
                rx.wait()
            self.assertFalse(d.message(1))
            ours.send(b"f" * 60)
            rx.wait()
            d.wait_interrupt(1)
            ours.send(b"f" * 60)
            rx.wait()
            self.assertFalse(d.message(1))
            m.qtest.clock_step(600 * 1000 * 1000)
            d.wait_interrupt(1)

    def test_failover(self):
        """The primary is kept away until the driver knows standby NICs, and then plugged in."""
        ports = [w for i in (1, 2) for w in ("-device", "pcie-root-port,id=r%d,chassis=%d,addr=%d"
                                             % (i, i, i))]
        with self.machine("q35", *ports, "-netdev", "hubport,id=a,hubid=0", "-netdev",
                          "hubport,id=b,hubid=0", "-device",
                          "virtio-net-pci,netdev=a,id=standby,addr=6,failover=on,mac=52:54:00:1:2:3",
                          "-device", "virtio-net-pci,netdev=b,id=primary,bus=r1,"
                          "failover_pair_id=standby,mac=52:54:00:1:2:3") as m:
            names = lambda: {d["name"] for d in m.qmp("qom-list", path="/machine/peripheral")}
            self.assertNotIn("primary", names())
            for more, why in (({"id": "other"}, "more than one primary"), ({}, "needs an id")):
                words = dict(more, driver="virtio-net-pci", bus="r2", failover_pair_id="standby")
                with self.assertRaises(rhea.QmpError) as refused:
                    m.qmp.execute({"execute": "device_add", "arguments": words})
                self.assertIn(why, str(refused.exception))
            virtio.Device(m.qtest, 6)  # a driver that doesn't know
            self.assertNotIn("primary", names())
            virtio.Device(m.qtest, 6, features=1 << 62)
            self.assertEqual(m.qmp.event("FAILOVER_NEGOTIATED")["data"]["device-id"], "standby")
            self.assertIn("primary", names())

    def balloon_pages(self, queue, pages):
        queue.q.write(DATA, b"".join(struct.pack("<I", p) for p in pages))
        queue.add([(DATA, 4 * len(pages), False)])
        queue.kick()
        queue.wait()

    def test_balloon(self):
        with self.machine("q35", "-device",
                          "virtio-balloon-pci,addr=4,id=b,free-page-reporting=on,deflate-on-oom=on") as m:
            d = virtio.Device(m.qtest, 4, features=1 << 1 | 1 << 2 | 1 << 5, interrupts="pin")
            inflate, deflate = virtio.Queue(d, 0, RINGS), virtio.Queue(d, 1, RINGS + 0x4000)
            stats = virtio.Queue(d, 2, RINGS + 0x8000)
            report = virtio.Queue(d, 3, RINGS + 0xC000)
            d.ready()
            ram = m.qmp("query-balloon")["actual"]
            self.assertEqual(ram, 64 << 20)
            m.qmp("balloon", value=ram - (1 << 20))
            d.wait_interrupt(0, bit=2)
            self.assertEqual(d.config_r(0, 4), 256)
            m.qtest.write(0x300000, b"page" * 1024)
            self.balloon_pages(inflate, [0x300])
            self.assertEqual(m.qtest.read(0x300000, 4096), bytes(4096))
            d.config_w(4, 1, 4)
            event = m.qmp.event("BALLOON_CHANGE")["data"]
            self.assertEqual(event["actual"], ram - 4096)
            self.assertEqual(m.qmp("query-balloon")["actual"], ram - 4096)
            self.balloon_pages(deflate, [0x300])
            # Reported pages go back at once.
            m.qtest.write(0x310000, b"free" * 1024)
            report.add([(0x310000, 4096, True)])
            report.kick()
            report.wait()
            self.assertEqual(m.qtest.read(0x310000, 4096), bytes(4096))
            # Statistics: the first buffer is kept, and given back when somebody wants news.
            path = "/machine/peripheral/b"
            values = struct.pack("<HQHQ", 4, 12345, 5, 67890)
            m.qtest.write(DATA, values)
            stats.add([(DATA, len(values), False)])
            stats.kick()
            self.assertIsNone(stats.take(1))
            got = m.qmp("qom-get", path=path, property="guest-stats")
            self.assertEqual((got["stats"]["stat-free-memory"], got["stats"]["stat-total-memory"]),
                             (12345, 67890))
            self.assertGreater(got["last-update"], 0)
            m.qmp("qom-set", path=path, property="guest-stats-polling-interval", value=2)
            stats.wait()
            self.assertEqual(m.qmp("qom-get", path=path, property="guest-stats-polling-interval"), 2)
            m.qtest.write(DATA, struct.pack("<HQ", 4, 777))
            stats.add([(DATA, 10, False)])
            stats.kick()
            for _ in range(1000):
                got = m.qmp("qom-get", path=path, property="guest-stats")
                if got["stats"]["stat-free-memory"] == 777:
                    break
            self.assertEqual(got["stats"]["stat-free-memory"], 777)
            self.assertIsNone(stats.take(1))
            m.qtest.clock_step(2 * 10**9)
            stats.wait()
            # A page that is no memory, and a number that is no page.
            self.balloon_pages(inflate, [0xFFFFFFFF, 0xE0000])
            self.assertEqual(d.status(), 15)

    def test_second_balloon(self):
        """One is enough; one that could not be made is none."""
        ports = [w for i in (1, 2) for w in ("-device", "pcie-root-port,id=r%d,chassis=%d" % (i, i))]
        with self.machine("q35", *ports, "-object", "iothread,id=t") as m:
            for bad in ({"iothread": "t"}, {"iothread": "nothing"}, {"vectors": "x"},
                        {"disable-legacy": "on", "disable-modern": "on"}):
                with self.assertRaises(rhea.QmpError):
                    m.qmp("device_add", driver="virtio-balloon-pci", id="bad", bus="r1", **bad)
                with self.assertRaises(rhea.QmpError):
                    m.qmp("query-balloon")
            m.qmp("device_add", driver="virtio-balloon-pci", id="good", bus="r1")
            self.assertEqual(m.qmp("query-balloon")["actual"], 64 << 20)
            with self.assertRaises(rhea.QmpError) as second:
                m.qmp("device_add", driver="virtio-balloon-pci", id="more", bus="r2")
            self.assertIn("at most one", str(second.exception))
            self.assertEqual(m.qmp("query-balloon")["actual"], 64 << 20)
        status, _, said = rhea.run("-M", "q35", "-nodefaults", "-display", "none", "-accel", "qtest",
                                   "-device", "virtio-balloon-pci", "-device", "virtio-balloon-pci")
        self.assertEqual(status, 1)
        self.assertIn("at most one", said)

    def test_entropy_rate(self):
        with self.machine("q35", "-object", "rng-random,id=r,filename=/dev/urandom", "-device",
                          "virtio-rng-pci,addr=7,rng=r,max-bytes=100,period=1000") as m:
            d = virtio.Device(m.qtest, 7)
            queue = virtio.Queue(d, 0, RINGS)
            d.ready()
            for _ in range(3):
                queue.add([(DATA, 60, True)])
            queue.kick()
            self.assertEqual(queue.wait(), 60)
            self.assertEqual(queue.wait(), 40)  # what is left of this period
            self.assertNotEqual(m.qtest.read(DATA, 40), bytes(40))
            self.assertIsNone(queue.take(1))
            m.qtest.clock_step(1000 * 1000 * 1000)
            self.assertEqual(queue.wait(), 60)

    def test_serial_ports(self):
        """A console and a named port: control messages, bytes both ways, flow control, hot plug."""
        ours, theirs = socket.socketpair()
        fd = theirs.fileno()
        os.set_inheritable(fd, True)
        with self.machine("q35", "-device", "virtio-serial-pci,addr=8,id=vs,max_ports=8",
                          "-chardev", "ringbuf,id=con", "-device", "virtconsole,chardev=con,id=c0",
                          "-chardev", "socket,id=port,fd=%d" % fd, "-device",
                          "virtserialport,chardev=port,id=p1,name=org.test.0,nr=3",
                          pass_fds=(fd,)) as m, ours:
            theirs.close()
            ours.settimeout(rhea.PATIENCE)
            d = virtio.Device(m.qtest, 8, features=1 << 1)
            self.assertEqual(d.config_r(4, 4), 8)
            control_in = virtio.Queue(d, 2, RINGS)
            control_out = virtio.Queue(d, 3, RINGS + 0x4000)
            rx, tx = virtio.Queue(d, 8, RINGS + 0x8000), virtio.Queue(d, 9, RINGS + 0xC000)
            console = virtio.Queue(d, 1, RINGS + 0x10000)
            d.ready()

            def say(port, event, value):
                m.qtest.write(DATA, struct.pack("<IHH", port, event, value))
                control_out.add([(DATA, 8, False)])
                control_out.kick()
                control_out.wait()

            def hear():
                control_in.add([(DATA + 0x100, 64, True)])
                control_in.kick()
                length = control_in.wait()
                data = m.qtest.read(DATA + 0x100, length)
                return struct.unpack("<IHH", data[:8]) + (data[8:],)

            say(0xFFFFFFFF, 0, 1)
            self.assertEqual({hear()[:3], hear()[:3]}, {(0, 1, 1), (3, 1, 1)})
            say(3, 3, 1)
            self.assertEqual(hear(), (3, 7, 1, b"org.test.0"))
            self.assertEqual(hear()[:3], (3, 6, 1))
            say(0, 3, 1)
            self.assertEqual(hear()[:3], (0, 4, 1))
            self.assertEqual(hear()[:3], (0, 6, 1))
            # Input waits until the guest opens the port, and while it has no buffer.
            ours.send(b"hello")
            rx.add([(DATA + 0x200, 3, True)])
            rx.kick()
            self.assertIsNone(rx.take(1))
            say(3, 6, 1)
            self.assertEqual(m.qmp.event("VSERPORT_CHANGE")["data"], {"id": "p1", "open": True})
            self.assertEqual(rx.wait(), 3)
            rx.add([(DATA + 0x210, 16, True)])
            rx.kick()
            self.assertEqual(rx.wait(), 2)
            self.assertEqual(m.qtest.read(DATA + 0x200, 3) + m.qtest.read(DATA + 0x210, 2), b"hello")
            # A reader who is slow gets everything all the same.
            total, block = b"", bytes(range(256)) * 16
            m.qtest.write(DATA + 0x1000, block * 15)
            for _ in range(12):
                tx.add([(DATA + 0x1000, len(block) * 15, False)])
            tx.kick()
            while len(total) < 12 * 15 * len(block):
                total += ours.recv(65536)
            self.assertEqual(total, block * 15 * 12)
            for _ in range(12):
                tx.wait()
            m.qtest.write(DATA + 0x300, b"console")
            console.add([(DATA + 0x300, 7, False)])
            console.kick()
            console.wait()
            self.assertEqual(m.qmp("ringbuf-read", device="con", size=100), "console")
            # Ports come and go.
            m.qmp("chardev-add", id="more", backend={"type": "null", "data": {}})
            m.qmp("device_add", driver="virtserialport", id="p2", bus="vs.0", chardev="more", nr=5)
            self.assertEqual(hear()[:3], (5, 1, 1))
            m.qmp("device_del", id="p2")
            m.qmp.event("DEVICE_DELETED")
            self.assertEqual(hear()[:2], (5, 2))
            for bad in (dict(nr=3), dict(nr=8), dict(nr=0)):
                with self.assertRaises(rhea.QmpError):
                    m.qmp("device_add", driver="virtserialport", bus="vs.0", id="bad", **bad)

    def test_access_through_configuration_space(self):
        """The window of the access capability (4.1.4.9) reaches every structure, and nothing else."""
        with self.machine("q35", "-device", "virtio-rng-pci,addr=7") as m:
            d = virtio.Device(m.qtest, 7)
            at = d.capability[5]

            def window(bar, offset, length):
                d.pci.write(at + 4, bar, 1)
                d.pci.write32(at + 8, offset)
                d.pci.write32(at + 12, length)

            window(4, 20, 1)  # status
            self.assertEqual(d.pci.read(at + 16, 1), 11)
            d.pci.write(at + 16, 15, 1)
            self.assertEqual(d.status(), 15)
            window(4, 18, 2)  # number of queues
            self.assertEqual(d.pci.read(at + 16, 2), 1)
            for bad in ((4, 21, 2), (4, 0x7FFFFFFF, 4), (3, 0, 4), (4, 0, 3), (255, 0, 4)):
                window(*bad)
                d.pci.read32(at + 16)
                d.pci.write32(at + 16, 0xFFFFFFFF)
            self.assertEqual(d.status(), 15)

    def test_broken_ring(self):
        """A ring that breaks the rules stops the device, not the machine."""
        with self.machine("q35", "-device", "virtio-rng-pci,addr=7", "-d", "guest_errors") as m:
            d = virtio.Device(m.qtest, 7, interrupts="msix")
            queue = virtio.Queue(d, 0, RINGS)
            d.ready()
            queue.add([(0xFFFFFFFFFFFFF000, 4096, True)])
            queue.kick()
            d.wait_interrupt(0, bit=2)
            self.assertTrue(d.status() & virtio.NEEDS_RESET)
            self.assertEqual(m.qmp("query-status")["status"], "running")
            d = virtio.Device(m.qtest, 7)
            queue = virtio.Queue(d, 0, RINGS)
            d.ready()
            queue.add([(DATA, 64, True)])
            queue.kick()
            self.assertEqual(queue.wait(1), 64)
            self.assertEqual(m.errors().count("waits for a reset"), 1)


if __name__ == "__main__":
    tap.main()
