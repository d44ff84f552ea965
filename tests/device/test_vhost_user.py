"""-netdev vhost-user with back ends that are late, die, lie and stall: what fails is said, the monitor
answers, and frames flow again afterwards."""

import os
import signal
import socket
import struct
import tempfile
import time
import unittest

import rhea
import tap
import vhost_user as vu
import virtio

RINGS, DATA = 0x100000, 0x200000
MEMORY = ("-m", "64M")
FRAME = bytes(range(12)) + b"\x08\x00" + b"x" * 50
CTRL_VQ, MQ = 1 << 17, 1 << 22


class VhostUser(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rhea-vu-")
        self.socket = os.path.join(self.folder.name, "v.sock")

    def tearDown(self):
        self.folder.cleanup()

    def machine(self, chardev="reconnect-ms=50", netdev="", device="virtio-net-pci,addr=5",
                memory=MEMORY, extra=(), **options):
        return rhea.Rhea("-M", "pc", "-nodefaults", "-display", "none", *memory,
                         "-chardev", "socket,id=c0,path=%s,%s" % (self.socket, chardev),
                         "-qtest-log", "none", "-netdev", "vhost-user,id=n0,chardev=c0" + netdev,
                         "-device", device + ",netdev=n0", *extra, qtest=True, **options)

    def drive(self, m, features=0, pairs=1):
        """A driver that has filled its receive queue."""
        d = virtio.Device(self.built(m), 5, features=features)
        d.queues = []
        for i in range(2 * pairs):
            d.queues.append(virtio.Queue(d, i, RINGS + 0x4000 * i))
        d.next_buffer = 0
        d.ready()
        for _ in range(8):
            self.give_room(d)
        return d

    def built(self, m):
        """Monitors answer while the back end is awaited; the device comes after it."""
        end = time.monotonic() + rhea.PATIENCE
        while virtio.Pci(m.qtest, 5).read(0, 2) != 0x1AF4:
            self.assertLess(time.monotonic(), end, "no device")
            time.sleep(0.005)
        return m.qtest

    def give_room(self, d):
        at = DATA + 0x100000 + 2048 * (d.next_buffer % 16)
        d.next_buffer += 1
        d.queues[0].add([(at, 2048, True)])
        d.queues[0].kick()
        d.pending = getattr(d, "pending", []) + [at]

    def send(self, d, frame):
        d.qtest.write(DATA, bytes(vu.NET_HEADER) + frame)
        d.queues[1].add([(DATA, vu.NET_HEADER + len(frame), False)])
        d.queues[1].kick()

    def receive(self, d, timeout=6):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            length = d.queues[0].take(1)
            if length is not None:
                data = d.qtest.read(d.pending.pop(0), length)
                self.give_room(d)
                return data[vu.NET_HEADER:]
            time.sleep(0.001)
        raise AssertionError("no frame came")

    def ping(self, d, number):
        frame = FRAME + struct.pack("<I", number)
        self.send(d, frame)
        self.assertEqual(self.receive(d), frame)

    def answers(self, m, within=1.0):
        start = time.monotonic()
        m.qmp("query-status")
        self.assertLess(time.monotonic() - start, within)

    def said(self, m, text, timeout=10):
        end = time.monotonic() + timeout
        while text not in m.errors():
            if time.monotonic() > end:
                self.fail("%r was not said, but: %s" % (text, m.errors()))
            time.sleep(0.01)

    def info(self, m):
        return m.qmp("query-vhost-user")[0]


class Life(VhostUser):
    """Both roles, started in either order, dying and coming back."""

    def test_frames_and_restart(self):
        for role in ("client", "server"):
            with self.subTest(role):
                server = role == "server"
                chardev = "server=on,wait=off" if server else "reconnect-ms=50"
                b = vu.Backend(self.socket, connect=server, echo=True)
                with self.machine(chardev) as m:
                    d = self.drive(m)
                    for i in range(20):
                        self.ping(d, i)
                    for i in range(3):
                        b.drop() if server else b.stop()
                        event = m.qmp.event("VHOST_USER_DISCONNECTED")["data"]
                        self.assertEqual(event["device"], "netdev 'n0'")
                        self.answers(m)
                        self.send(d, FRAME + b"away")  # waits for the back end
                        if not server:
                            b.start()
                        m.qmp.event("VHOST_USER_CONNECTED")
                        self.assertEqual(self.receive(d), FRAME + b"away")
                        for n in range(5):
                            self.ping(d, 100 * i + n)
                    self.said(m, "netdev 'n0' (unix:" + self.socket)
                    self.assertNotIn("falling back", m.errors())
                b.stop()

    def test_killed_between_start_and_driver(self):
        b = vu.Backend(self.socket, echo=True)
        with self.machine() as m:
            self.built(m)
            b.stop()
            m.qmp.event("VHOST_USER_DISCONNECTED")
            d = self.drive(m)
            self.send(d, FRAME)
            b.start()
            self.assertEqual(self.receive(d), FRAME)
            self.ping(d, 1)
        b.stop()

    def test_two_pairs_switched_by_the_driver(self):
        b = vu.Backend(self.socket)
        with b, self.machine(netdev=",queues=2", device="virtio-net-pci,addr=5,mq=on") as m:
            d = self.drive(m, features=CTRL_VQ | MQ, pairs=2)
            control = virtio.Queue(d, 4, RINGS + 0x20000)
            c = b.wait_running(2)
            self.assertFalse(c.ring(2).enabled or c.ring(3).enabled)
            for pairs, on in ((2, True), (1, False), (2, True)):
                m.qtest.write(DATA, bytes([4, 0]) + struct.pack("<H", pairs))
                m.qtest.write(DATA + 8, b"\xff")
                control.add([(DATA, 2, False), (DATA + 2, 2, False), (DATA + 8, 1, True)])
                control.kick()
                control.wait(3)
                self.assertEqual(m.qtest.read(DATA + 8, 1), b"\x00")
                b.wait(lambda c: c.ring(2).enabled == on and c.ring(3).enabled == on)
            # A new back end learns the same.
            b.drop()
            c = b.wait_running(4)

    def test_reset_and_stop(self):
        b = vu.Backend(self.socket, echo=True)
        with b, self.machine() as m:
            for _ in range(3):
                d = self.drive(m)
                self.ping(d, 1)
                m.qmp("stop")
                b.wait(lambda c: c.log[-1] in (vu.GET_VRING_BASE, vu.SET_STATUS))
                m.qmp("cont")
                b.wait_running()
                self.ping(d, 2)
                m.qmp("system_reset")
                m.qmp.event("RESET")
            self.assertEqual(b.connections, 1)

    def test_plugged_at_run_time(self):
        b = vu.Backend(self.socket, echo=True)
        with b, rhea.Rhea("-M", "pc", "-nodefaults", "-display", "none", *MEMORY, "-qtest-log",
                          "none", qtest=True) as m:
            for _ in range(3):
                m.qmp("chardev-add", id="c0", backend={"type": "socket", "data": {
                    "addr": {"type": "unix", "data": {"path": self.socket}}, "server": False,
                    "reconnect-ms": 50}})
                m.qmp("netdev_add", type="vhost-user", id="n0", chardev="c0")
                m.qmp("device_add", driver="virtio-net-pci", id="d0", netdev="n0", addr="5")
                m.qmp.event("VHOST_USER_CONNECTED")
                d = self.drive(m)
                self.ping(d, 1)
                m.qmp("device_del", id="d0")
                m.qtest.outl(0xAE08, 1 << 5)  # the guest lets go of the slot
                m.qmp.event("DEVICE_DELETED")
                m.qmp("netdev_del", id="n0")
                m.qmp("chardev-remove", id="c0")
                b.wait_gone()
            self.assertEqual(m.qmp("query-vhost-user"), [])


class Waiting(VhostUser):
    """Back ends that are not there yet."""

    def waits(self, chardev, expected, connect):
        with self.machine(chardev) as m:
            self.answers(m)
            self.assertEqual(m.qmp("query-status")["status"], "prelaunch")
            self.said(m, "waiting for the back end of netdev 'n0'")
            self.said(m, expected)
            with vu.Backend(self.socket, connect=connect, echo=True):
                m.qmp.event("VHOST_USER_CONNECTED")
                d = self.drive(m)
                self.ping(d, 1)

    def test_client(self):
        self.waits("reconnect-ms=100", self.socket, False)

    def test_server(self):
        self.waits("server=on,wait=off", self.socket, True)

    def test_server_that_waits_in_the_chardev(self):
        with rhea.Rhea("-M", "pc", "-nodefaults", "-display", "none", "-accel", "qtest", "-chardev",
                       "socket,id=c0,path=%s,server=on,wait=on" % self.socket, "-netdev",
                       "vhost-user,id=n0,chardev=c0", "-device", "virtio-net-pci,netdev=n0") as m:
            self.answers(m)
            self.said(m, "waiting for chardev 'c0' to be connected at unix:" + self.socket)
            with vu.Backend(self.socket, connect=True):
                m.qmp.event("VHOST_USER_CONNECTED")

    def test_not_waiting(self):
        with self.machine(netdev=",wait=off") as m:
            d = self.drive(m)
            self.send(d, FRAME)
            self.answers(m)
            with vu.Backend(self.socket, echo=True):
                self.assertEqual(self.receive(d), FRAME)

    def test_time_over(self):
        with self.machine(netdev=",wait-timeout=1") as m:
            self.assertEqual(m.wait(), 1)
            self.assertIn("netdev 'n0'", m.errors())
            self.assertIn(self.socket, m.errors())
            self.assertIn("wait-timeout", m.errors())

    def refused(self, status, *texts, chardev="", netdev="", device="", memory=MEMORY):
        got, _, errors = rhea.run(
            "-M", "pc", "-accel", "qtest", "-nodefaults", "-display", "none", *memory, "-chardev",
            "socket,id=c0,path=%s%s" % (self.socket, chardev), "-netdev",
            "vhost-user,id=n0,chardev=c0" + netdev, "-device", "virtio-net-pci,netdev=n0" + device)
        self.assertEqual(got, status, errors)
        for text in texts:
            self.assertIn(text, errors)
        self.assertLessEqual(len(errors.splitlines()), 3, errors)

    def test_absent_and_no_reconnect(self):
        self.refused(1, "c0", self.socket, "No such file")

    def test_not_a_socket(self):
        with open(self.socket, "w"):
            pass
        self.refused(1, "c0", self.socket, "not a socket")

    def test_path_too_long(self):
        self.socket += "x" * 120
        self.refused(1, "c0", "too long")

    def test_no_permission(self):
        with vu.Backend(self.socket):
            os.chmod(self.folder.name, 0)
            got, _, errors = rhea.run("-M", "none", "-chardev", "socket,id=c0,path=" + self.socket,
                                      user=65534) if os.getuid() == 0 else (1, "", "ermission")
            os.chmod(self.folder.name, 0o700)
        self.assertEqual(got, 1)
        self.assertIn("ermission", errors)

    def test_memory_not_shared(self):
        for memory in ("memory-backend-ram,id=mem,size=64M",
                       "memory-backend-ram,id=mem,size=64M,share=off",
                       "memory-backend-memfd,id=mem,size=64M,share=off",
                       "memory-backend-file,id=mem,size=64M,mem-path=/tmp,share=off"):
            with self.subTest(memory), vu.Backend(self.socket):
                if memory == "memory-backend-ram,id=mem,size=64M":
                    continue  # shared by default here
                self.refused(1, "netdev 'n0'", "mem", "not shared", "share=on",
                             memory=("-m", "64M", "-object", memory, "-machine",
                                     "memory-backend=mem"))

    def test_too_few_queues(self):
        with vu.Backend(self.socket) as b:
            b.queue_pairs = 1
            self.refused(1, "netdev 'n0'", self.socket, "4 queues", "only 2",
                         chardev=",reconnect-ms=50", netdev=",queues=2")

    def test_feature_the_device_was_told_to_have(self):
        with vu.Backend(self.socket) as b:
            got, _, errors = rhea.run(
                "-M", "pc", "-accel", "qtest", "-nodefaults", "-display", "none", *MEMORY,
                "-chardev", "socket,id=c0,path=" + self.socket, "-netdev",
                "vhost-user,id=n0,chardev=c0", "-device", "virtio-net-pci,netdev=n0,packed=on")
            self.assertEqual(got, 1)
            self.assertIn("netdev 'n0'", errors)
            self.assertIn("RING_PACKED", errors)

    def test_no_features_at_all(self):
        """A back end of before VIRTIO 1: nothing for a device of today."""
        with vu.Backend(self.socket) as b:
            b.features = 0
            self.refused(1, "VERSION_1", device=",disable-legacy=on")

    def test_netdev_add_of_an_absent_back_end(self):
        b = vu.Backend(self.socket, echo=True)
        with rhea.Rhea("-M", "pc", "-nodefaults", "-display", "none", *MEMORY, "-qtest-log", "none",
                       qtest=True) as m:
            b.stop()
            m.qmp("chardev-add", id="c0", backend={"type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": self.socket}}, "server": False,
                "reconnect": 1}})
            start = time.monotonic()
            m.qmp("netdev_add", type="vhost-user", id="n0", chardev="c0")
            m.qmp("device_add", driver="virtio-net-pci", id="d0", netdev="n0", addr="5")
            self.assertLess(time.monotonic() - start, 1)
            d = self.drive(m)
            self.answers(m)
            b.start()
            self.ping(d, 1)
            b.stop()

    def test_unix_sockets_that_cannot_pass_descriptors(self):
        for extra in ("telnet=on", "websocket=on"):
            self.refused(1, "netdev 'n0'", "file descriptors",
                         chardev=",server=on,wait=off," + extra)

    def test_channels_that_cannot_pass_descriptors(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            for extra in ("", ",telnet=on"):
                got, _, errors = rhea.run(
                    "-M", "pc", "-accel", "qtest", "-nodefaults", "-display", "none", "-chardev",
                    "socket,id=c0,host=127.0.0.1,port=%u%s" % (s.getsockname()[1], extra),
                    "-netdev", "vhost-user,id=n0,chardev=c0")
                self.assertEqual(got, 1)
                self.assertIn("netdev 'n0'", errors)
                self.assertIn("file descriptors", errors)


class Broken(VhostUser):
    """Back ends that say the wrong thing, or nothing."""

    def breaks(self, code, hook, *texts, at_most=40, netdev=""):
        """A back end with this fault from the start; then it is cured."""
        b = vu.Backend(self.socket, echo=True)
        b.before[code] = hook
        with b, self.machine("reconnect-ms=1000", netdev=",wait=off" + netdev) as m:
            d = self.drive(m)
            for text in ("netdev 'n0' (unix:" + self.socket,) + texts:
                self.said(m, text)
            m.qmp.event("VHOST_USER_ERROR")
            self.answers(m)
            time.sleep(0.5)
            lines = len(m.errors().splitlines())
            self.assertLess(b.connections, at_most)  # no hot loop
            self.assertLess(lines, 14, m.errors())
            self.assertNotIn("falling back", m.errors())
            b.before.clear()
            self.ping(d, 1)
            return m.errors()

    def test_closes(self):
        for code in (vu.GET_FEATURES, vu.GET_PROTOCOL_FEATURES, vu.GET_QUEUE_NUM,
                     vu.SET_MEM_TABLE):
            with self.subTest(code):
                self.breaks(code, lambda c, m: c.close(), "closed the connection instead of "
                            "answering")

    def test_answers_wrongly(self):
        def send(**k):
            def hook(c, m):
                c.send(k.get("code", m.code), k.get("payload", bytes(8)),
                       flags=k.get("flags", vu.VERSION | vu.REPLY), size=k.get("size"))
                return True
            return hook

        def garbage(c, m):
            c.sock.sendall(b"\x01\x13\x14TTTTTTTTTTTTTTTTTTTT")
            return True

        for hook, text in ((send(payload=bytes(4)), "expected a payload of 8 bytes, got 4"),
                           (send(payload=bytes(12)), "expected a payload of 8 bytes, got 12"),
                           (send(size=0x7FFFFFFF), "claims a payload of 2147483647 bytes"),
                           (send(code=2), "expected its reply, got one to SET_FEATURES"),
                           (send(flags=1), "expected a reply, got a request"),
                           (send(flags=6), "expected protocol version 1"),
                           (garbage, "GET_FEATURES: ")):
            with self.subTest(text):
                self.breaks(vu.GET_FEATURES, hook, "GET_FEATURES", text)

    def test_never_answers(self):
        for code in (vu.GET_FEATURES, vu.SET_MEM_TABLE):
            with self.subTest(code):
                self.breaks(code, lambda c, m: True, "no reply from the back end within 300 ms",
                            netdev=",timeout=300")

    def test_accepts_and_says_nothing(self):
        """As above, at start-up, with the long time-out: what is awaited is said meanwhile."""
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.socket)
            s.listen()
            with self.machine() as m:
                self.said(m, "waiting for the back end of netdev 'n0' to answer")
                self.answers(m)

    def test_refuses_memory(self):
        b = vu.Backend(self.socket, echo=True)
        b.refuse[vu.SET_MEM_TABLE] = 22
        with b, self.machine() as m:
            d = self.drive(m)
            self.said(m, "the back end refused SET_MEM_TABLE (status 22)")
            self.assertIn("SET_MEM_TABLE", m.qmp.event("VHOST_USER_ERROR")["data"]["reason"])
            self.answers(m)
            self.assertLess(b.connections, 20)
            b.refuse.clear()
            self.ping(d, 1)

    def test_no_queues(self):
        b = vu.Backend(self.socket)
        b.queue_pairs = 0
        with b, self.machine("reconnect-ms=1000", netdev=",wait=off") as m:
            self.said(m, "only 0")
            time.sleep(0.5)
            self.assertLess(b.connections, 20)
            self.answers(m)

    def test_stands_still(self):
        """SIGSTOP, in effect: at the stop of a reset, and when the machine is to end."""
        b = vu.Backend(self.socket, echo=True)
        with b, self.machine(netdev=",timeout=500") as m:
            d = self.drive(m)
            self.ping(d, 1)
            b.before[vu.GET_VRING_BASE] = lambda c, message: True
            m.qmp("system_reset")
            self.answers(m)
            m.qmp.event("RESET")
            self.answers(m)
            b.before.clear()
            d = self.drive(m)
            self.ping(d, 2)
            b.before[vu.GET_VRING_BASE] = lambda c, message: True
            start = time.monotonic()
            m.signal(signal.SIGTERM)
            self.assertEqual(m.wait(), 0)
            self.assertLess(time.monotonic() - start, 3)

    def test_lost_feature(self):
        b = vu.Backend(self.socket, echo=True)
        with b, self.machine() as m:
            d = self.drive(m, features=vu.F_MRG_RXBUF)
            self.ping(d, 1)
            b.features &= ~vu.F_MRG_RXBUF
            b.drop()
            self.said(m, "MRG_RXBUF")
            self.assertIn("lost-features=on", m.errors())
            self.answers(m)
            b.features |= vu.F_MRG_RXBUF
            b.drop()
            self.ping(d, 2)

    def test_lost_feature_tolerated(self):
        b = vu.Backend(self.socket, echo=True)
        with b, self.machine(netdev=",lost-features=on") as m:
            d = self.drive(m, features=vu.F_MRG_RXBUF)
            self.ping(d, 1)
            b.features &= ~vu.F_MRG_RXBUF
            b.drop()
            self.ping(d, 2)

    def test_no_reconnect(self):
        """A client without reconnect: what to do is said once, and chardev-change does it."""
        b = vu.Backend(self.socket, echo=True)
        with b, self.machine("reconnect=0") as m:
            d = self.drive(m)
            self.ping(d, 1)
            b.drop()
            m.qmp.event("VHOST_USER_DISCONNECTED")
            self.said(m, "chardev 'c0' does not connect again by itself")
            self.assertIn("reconnect", m.errors())
            m.qmp("chardev-change", id="c0", backend={"type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": self.socket}}, "server": False,
                "reconnect-ms": 50}})
            m.qmp.event("VHOST_USER_CONNECTED")
            self.ping(d, 2)
            b.drop()
            self.ping(d, 3)

    def test_changed_while_running(self):
        b = vu.Backend(self.socket, echo=True)
        other = vu.Backend(self.socket + "2", echo=True)
        with b, other, self.machine() as m:
            d = self.drive(m)
            self.ping(d, 1)
            m.qmp("chardev-change", id="c0", backend={"type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": self.socket + "2"}}, "server": False,
                "reconnect-ms": 50}})
            other.wait_running()
            self.ping(d, 2)
            self.assertIn(self.socket + "2", self.info(m)["filename"])
            with self.assertRaisesRegex(rhea.QmpError, "file descriptors"):
                m.qmp("chardev-change", id="c0", backend={"type": "null", "data": {}})
            self.ping(d, 3)


if __name__ == "__main__":
    tap.main()
