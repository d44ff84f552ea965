"""rhea-vhost-net: frames of rhea's machines through it, and front ends that behave badly."""

import array
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import rhea
import tap
import virtio

PROGRAM = rhea.BUILD / "rhea-vhost-net"
DATA, RINGS = 0x200000, 0x100000
MAC = bytes.fromhex("525400123456")
GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL = 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
REPLY, NEED_REPLY = 4, 8
REPLY_ACK = 1 << 3
PROTOCOL_FEATURES = 1 << 30
VERSION_1 = 1 << 32


class BackEnd:
    """The program, listening on .path; .lines() is what it has said."""

    def __init__(self, *args, mode="--listen", uplink="none"):
        self.folder = tempfile.TemporaryDirectory(prefix="rhea-vhost-net-")
        self.path = os.path.join(self.folder.name, "v.sock")
        self.log = os.path.join(self.folder.name, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), mode, self.path, "--uplink", uplink, *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if mode == "--listen":
            self.wait_for(lambda: os.path.exists(self.path), "it does not listen")

    def wait_for(self, true, what):
        end = time.monotonic() + rhea.PATIENCE
        while not true():
            if time.monotonic() > end:
                raise AssertionError(what + ":\n" + self.text())
            time.sleep(0.01)

    def wait_line(self, pattern):
        self.wait_for(lambda: re.search(pattern, self.text()), "no line like %r" % pattern)

    def text(self):
        with open(self.log) as f:
            return f.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(rhea.PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            print("# " + self.text().replace("\n", "\n# "))
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


class Front:
    """A front end that says what it is told to."""

    def __init__(self, back_end):
        self.socket = socket.socket(socket.AF_UNIX)
        back_end.wait_for(lambda: not self.socket.connect_ex(back_end.path), "it does not listen")
        self.socket.settimeout(rhea.PATIENCE)

    def send(self, request, payload=b"", fds=(), flags=1, size=None):
        header = struct.pack("<III", request, flags, len(payload) if size is None else size)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([header + payload], ancillary)

    def receive(self):
        header = self.read(12)
        request, flags, size = struct.unpack("<III", header)
        return request, flags, self.read(size)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def ask(self, request, payload=b""):
        self.send(request, payload)
        got, flags, reply = self.receive()
        assert got == request and flags == 1 | REPLY, (got, flags)
        return struct.unpack("<Q", reply)[0] if len(reply) == 8 else reply

    def is_closed(self):
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()


class Guest:
    """Memory and one ring (queue 1, from the driver) as a front end shares them."""

    SIZE = 0x10000
    USER = 0x7F0000000000

    def __init__(self, front):
        self.front = front
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, self.SIZE)
        self.kick, self.call = os.eventfd(0), os.eventfd(0)

    def start(self, size=16, desc=0, avail=0x1000, used=0x2000, features=VERSION_1):
        front = self.front
        front.send(SET_OWNER)
        front.send(SET_FEATURES, struct.pack("<Q", features))
        front.send(SET_MEM_TABLE,
                   struct.pack("<IIQQQQ", 1, 0, 0, self.SIZE, self.USER, 0), [self.fd])
        front.send(SET_VRING_NUM, struct.pack("<II", 1, size))
        front.send(SET_VRING_BASE, struct.pack("<II", 1, 0))
        front.send(SET_VRING_ADDR, struct.pack("<IIQQQQ", 1, 0, self.USER + desc, self.USER + used,
                                               self.USER + avail, 0))
        front.send(SET_VRING_CALL, struct.pack("<Q", 1), [self.call])
        front.send(SET_VRING_KICK, struct.pack("<Q", 1), [self.kick])

    def write(self, at, data):
        os.pwrite(self.fd, data, at)

    def describe(self, index, address, length, flags=0, following=0):
        self.write(16 * index, struct.pack("<QIHH", address, length, flags, following))

    def offer(self, heads, index=None):
        self.write(0x1004, struct.pack("<%dH" % len(heads), *heads))
        self.write(0x1002, struct.pack("<H", len(heads) if index is None else index))
        os.eventfd_write(self.kick, 1)

    def used(self):
        return struct.unpack("<H", os.pread(self.fd, 2, 0x2002))[0]

    def close(self):
        for fd in (self.fd, self.kick, self.call):
            os.close(fd)


def arp_request(target):
    return (b"\xff" * 6 + MAC + b"\x08\x06" + struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + MAC +
            bytes([10, 0, 2, 15]) + bytes(6) + target).ljust(60, b"\0")


class Machines(unittest.TestCase):
    """rhea at the other end, driven through qtest."""

    def machine(self, path, packed=False, option=""):
        return rhea.Rhea(
            "-M", "q35,memory-backend=m0", "-nodefaults", "-m", "64M", "-display", "none",
            "-object", "memory-backend-memfd,id=m0,share=on,size=64M",
            "-chardev", "socket,id=c0,path=%s%s" % (path, option),
            "-netdev", "vhost-user,id=n0,chardev=c0",
            "-device", "virtio-net-pci,netdev=n0,addr=6,packed=%s" % ("on" if packed else "off"),
            qtest=True)

    def card(self, machine, packed=False, features=0):
        d = virtio.Device(machine.qtest, 6, features, packed)
        rx, tx = virtio.Queue(d, 0, RINGS), virtio.Queue(d, 1, RINGS + 0x4000)
        d.ready()
        # Until a queue is enabled, what the driver sends is thrown away, as the protocol demands.
        end = time.monotonic() + rhea.PATIENCE
        while not all(q["enabled"] for q in machine.qmp("query-vhost-user")[0]["queues"][:2]):
            self.assertLess(time.monotonic(), end)
        return rx, tx

    def offer(self, rx, count=8, room=2048):
        for i in range(count):
            rx.add([(DATA + 0x10000 + i * room, room, True)])
        rx.kick()

    def send(self, tx, frame):
        tx.q.write(DATA, bytes(12) + frame)
        tx.add([(DATA, 12, False), (DATA + 12, len(frame), False)])
        tx.kick()
        tx.wait(2)

    def test_gateway_answers(self):
        for packed in (False, True):
            with BackEnd(uplink="user") as back, self.machine(back.path, packed) as m:
                rx, tx = self.card(m, packed)
                self.offer(rx)
                for _ in range(40):  # more than the ring has entries
                    self.send(tx, arp_request(bytes([10, 0, 2, 2])))
                    length = rx.wait(1)
                    reply = m.qtest.read(DATA + 0x10000, length)[12:]
                    self.assertEqual(reply[:6], MAC)
                    self.assertEqual(reply[20:22], b"\0\2")
                    self.assertEqual(reply[28:32], bytes([10, 0, 2, 2]))
                    break
                back.wait_line("a front end has connected")
                self.assertNotIn("error", back.text())

    def test_switch_learns(self):
        a_mac, b_mac = bytes.fromhex("52540000000a"), bytes.fromhex("52540000000b")
        with BackEnd() as back, self.machine(back.path) as a, self.machine(back.path) as b, \
                self.machine(back.path) as c:
            cards = [self.card(m) for m in (a, b, c)]
            for rx, _ in cards:
                self.offer(rx)
            (rx_a, tx_a), (rx_b, tx_b), (rx_c, _) = cards
            self.send(tx_a, b"\xff" * 6 + a_mac + b"\x88\xb5" + b"1" * 46)
            self.assertEqual(rx_b.wait(1), 72)
            self.assertEqual(rx_c.wait(1), 72)
            self.send(tx_b, a_mac + b_mac + b"\x88\xb5" + b"2" * 1400)
            self.assertEqual(rx_a.wait(1), 12 + 1414)
            self.assertEqual(a.qtest.read(DATA + 0x10000 + 12 + 14, 1400), b"2" * 1400)
            self.assertIsNone(rx_c.take(1))

    def test_long_frames_are_spread_over_buffers(self):
        mergeable = 1 << 15
        for packed in (False, True):
            with BackEnd() as back, self.machine(back.path, packed) as a, \
                    self.machine(back.path, packed) as b:
                _, tx = self.card(a, packed)
                rx, _ = self.card(b, packed, mergeable)
                self.offer(rx, count=8, room=256)
                frame = b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(range(200)) * 4
                self.send(tx, frame)
                lengths = [rx.wait(1) for _ in range(4)]
                self.assertEqual(lengths, [256, 256, 256, 12 + len(frame) - 768])
                got = b"".join(b.qtest.read(DATA + 0x10000 + 256 * i, n)
                               for i, n in enumerate(lengths))
                self.assertEqual(got[10:12], struct.pack("<H", 4))
                self.assertEqual(got[12:], frame)

    def test_it_connects_and_comes_back(self):
        with BackEnd(mode="--connect") as back:
            back.wait_line("it is tried again")
            for _ in range(2):
                with self.machine(back.path, option=",server=on") as m:
                    _, tx = self.card(m)
                    self.send(tx, arp_request(bytes(4)))
            back.wait_line("(?s)ended.*ended")


class Protocol(unittest.TestCase):
    def front(self, back):
        front = Front(back)
        self.addCleanup(front.close)
        return front

    def guest(self, back, **options):
        guest = Guest(self.front(back))
        self.addCleanup(guest.close)
        guest.start(**options)
        return guest

    def test_negotiation(self):
        with BackEnd("--queues", "3") as back:
            f = self.front(back)
            features = f.ask(GET_FEATURES)
            self.assertTrue(features & PROTOCOL_FEATURES and features & VERSION_1)
            offered = f.ask(GET_PROTOCOL_FEATURES)
            self.assertTrue(offered & REPLY_ACK)
            f.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", REPLY_ACK | 1))
            self.assertEqual(f.ask(GET_QUEUE_NUM), 3)
            # What can't be obeyed is refused where that can be said, and the connection stays.
            f.send(SET_VRING_ENABLE, struct.pack("<II", 6, 1), flags=1 | NEED_REPLY)
            self.assertEqual(f.receive()[2], struct.pack("<Q", 1))
            f.send(SET_VRING_ENABLE, struct.pack("<II", 5, 1), flags=1 | NEED_REPLY)
            self.assertEqual(f.receive()[2], struct.pack("<Q", 0))

    def test_bad_messages_end_the_connection(self):
        bad = [
            dict(request=0), dict(request=99), dict(request=GET_FEATURES, flags=2),
            dict(request=GET_FEATURES, flags=1 | REPLY), dict(request=GET_FEATURES, payload=b"x"),
            dict(request=SET_FEATURES, payload=bytes(7)), dict(request=SET_FEATURES, payload=bytes(9)),
            dict(request=SET_FEATURES, payload=b"\xff" * 8), dict(request=SET_FEATURES, size=1 << 31),
            dict(request=SET_MEM_TABLE, payload=struct.pack("<II", 1, 0)),
            dict(request=SET_MEM_TABLE, payload=struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)),
            dict(request=SET_VRING_NUM, payload=struct.pack("<II", 1000, 16)),
            dict(request=SET_VRING_KICK, payload=struct.pack("<Q", 0x1FF)),
            dict(request=SET_VRING_CALL, payload=struct.pack("<Q", 0)),
            dict(request=SET_FEATURES, payload=bytes(8), fds=[0]),
        ]
        with BackEnd() as back:
            for message in bad:
                with self.subTest(message):
                    f = Front(back)
                    f.send(**message)
                    self.assertTrue(f.is_closed(), message)
                    f.close()
            self.assertEqual(back.text().count("the connection is closed"), len(bad))
            for cut in range(1, 12 + 8):  # and one that breaks off, anywhere
                f = Front(back)
                f.socket.send((struct.pack("<III", SET_FEATURES, 1, 8) + bytes(8))[:cut])
                f.close()
            self.assertTrue(self.front(back).ask(GET_FEATURES))

    def test_bad_memory_is_refused(self):
        with BackEnd() as back, tempfile.TemporaryFile() as short:
            for size, offset in ((0, 0), (1 << 63, 1 << 63), (1 << 40, 0)):
                f = Front(back)
                f.send(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, size, 0, offset),
                       [short.fileno()])
                self.assertTrue(f.is_closed())
                f.close()
            self.assertTrue(self.front(back).ask(GET_FEATURES))

    def test_a_frame_is_taken(self):
        with BackEnd() as back:
            guest = self.guest(back)
            guest.describe(0, 0x3000, 72)
            guest.offer([0])
            back.wait_for(lambda: guest.used() == 1, "the frame stays")
            self.assertEqual(os.eventfd_read(guest.call), 1)
            guest.front.send(GET_VRING_BASE, struct.pack("<II", 1, 0))
            self.assertEqual(guest.front.receive()[2], struct.pack("<II", 1, 1))

    def test_bad_rings_end_the_connection(self):
        def loop(g):
            g.describe(0, 0x3000, 72, flags=1, following=0)
            g.offer([0])

        def nowhere(g):
            g.describe(0, 1 << 40, 72)
            g.offer([0])

        def over_the_end(g):
            g.describe(0, Guest.SIZE - 10, 72)
            g.offer([0])

        def no_such_descriptor(g):
            g.offer([500])

        def no_such_link(g):
            g.describe(0, 0x3000, 72, flags=1, following=77)
            g.offer([0])

        def too_many(g):
            g.offer([0], index=1000)

        def writable(g):
            g.describe(0, 0x3000, 72, flags=2)
            g.offer([0])

        def no_header(g):
            g.describe(0, 0x3000, 5)
            g.offer([0])

        def indirect_in_indirect(g):
            g.write(0x4000, struct.pack("<QIHH", 0x4000, 16, 4, 0))
            g.describe(0, 0x4000, 16, flags=4)
            g.offer([0])

        def odd_table(g):
            g.describe(0, 0x4000, 17, flags=4)
            g.offer([0])

        with BackEnd() as back:
            for bad in (loop, nowhere, over_the_end, no_such_descriptor, no_such_link, too_many,
                        writable, no_header, indirect_in_indirect, odd_table):
                with self.subTest(bad.__name__):
                    guest = self.guest(back)
                    bad(guest)
                    self.assertTrue(guest.front.is_closed())
            for areas in (dict(desc=8), dict(avail=1), dict(used=Guest.SIZE), dict(size=3),
                          dict(size=0), dict(desc=1 << 40)):
                with self.subTest(areas):
                    self.assertTrue(self.guest(back, **areas).front.is_closed())
            self.assertTrue(self.front(back).ask(GET_FEATURES))

    def test_faults(self):
        for kind in ("close", "short", "long", "huge", "wrong-code", "not-a-reply", "version", "half",
                     "twice", "silent", "die"):
            with self.subTest(kind), BackEnd("--fault", kind + ":GET_FEATURES:2") as back:
                f = self.front(back)
                first = f.ask(GET_FEATURES)
                f.send(GET_FEATURES)
                f.socket.settimeout(0.3)
                data = b""
                try:
                    while True:
                        part = f.socket.recv(1000)
                        if not part:
                            break
                        data += part
                except TimeoutError:
                    pass
                right = struct.pack("<IIIQ", GET_FEATURES, 5, 8, first)
                self.assertEqual(data, {
                    "close": b"", "silent": b"", "die": b"", "half": right[:6],
                    "twice": right + right,
                    "short": struct.pack("<III", GET_FEATURES, 5, 7) + right[12:19],
                    "long": struct.pack("<III", GET_FEATURES, 5, 9) + right[12:] + b"\0",
                    "huge": data, "wrong-code": struct.pack("<I", 2) + right[4:],
                    "not-a-reply": struct.pack("<II", 1, 1) + right[8:],
                    "version": struct.pack("<II", 1, 6) + right[8:],
                }[kind])
                if kind == "die":
                    self.assertEqual(back.process.wait(rhea.PATIENCE), 9)

    def test_features_can_be_lost(self):
        with BackEnd("--lose", "0x8000", "--lose-after", "2") as back:
            kept = [Front(back).ask(GET_FEATURES) >> 15 & 1 for _ in range(3)]
            self.assertEqual(kept, [1, 1, 0])
            back.wait_line("from now on without MRG_RXBUF")

    def test_bad_options(self):
        for args, why in (
                ([], "--listen"), (["--listen", "/nonexistent/x"], "/nonexistent/x"),
                (["--listen", "x", "more"], "more"), (["--connect", "x", "--queues", "0"], "1 to 64"),
                (["--listen", "x", "--fault", "die"], "KIND:MESSAGE"),
                (["--listen", "x", "--fault", "die:NOTHING"], "NOTHING"),
                (["--listen", "x", "--fault", "die:SET_OWNER:0"], "'0'"),
                (["--listen", "x", "--features", "0x2"], "0x2"),
                (["--listen", "x", "--uplink", "nothing"], "nothing"), (["--wrong"], "--wrong")):
            r = subprocess.run([str(PROGRAM), *args], stdin=subprocess.DEVNULL, timeout=rhea.PATIENCE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", text=True)
            self.assertEqual(r.returncode, 1, args)
            self.assertEqual(r.stdout.count("\n"), 1, r.stdout)
            self.assertIn(why, r.stdout)

    def test_end(self):
        with BackEnd() as back:
            self.front(back).ask(GET_FEATURES)
            self.assertEqual(back.stop(), 0)
            self.assertFalse(os.path.exists(back.path))
        with BackEnd("--once") as back:
            f = Front(back)
            f.ask(GET_FEATURES)
            f.close()
            self.assertEqual(back.process.wait(rhea.PATIENCE), 0)


if __name__ == "__main__":
    tap.main()
