"""vhost-user-blk against a back end that is written for this: what it is told, what happens to the
requests in its hands when it dies, and every way in which it can answer wrongly."""

import os
import random
import shutil
import struct
import tempfile
import time
import unittest

import rhea
import tap
import vhost_user as vu
import virtio

GET_CONFIG, SET_CONFIG, GET_INFLIGHT_FD, SET_INFLIGHT_FD = 24, 25, 31, 32
PF_CONFIG, PF_INFLIGHT = 1 << 9, 1 << 12
F_RO, F_BLK_SIZE, F_FLUSH, F_CONFIG_WCE, F_MQ = 1 << 5, 1 << 6, 1 << 9, 1 << 11, 1 << 12
PF_DISK = vu.PF_MQ | vu.PF_REPLY_ACK | PF_CONFIG | vu.PF_BACKEND_REQ
CONFIG_CHANGE = 2
WCE, SECTORS = 32, 2048
DATA, RINGS = 0x200000, 0x100000


class Disk(vu.Backend):
    """A disk that only counts what it is asked to do; requests are done when the test says so."""

    def __init__(self, path, **options):
        super().__init__(path, listen=False)
        self.features = vu.F_PROTOCOL | vu.F_VERSION_1 | F_FLUSH | F_CONFIG_WCE | F_MQ | F_BLK_SIZE
        self.protocol_features = PF_DISK
        self.queue_pairs = 1  # queues, for a disk
        self.config = bytearray(struct.pack("<Q", SECTORS) + bytes(52))
        struct.pack_into("<I", self.config, 20, 512)
        struct.pack_into("<H", self.config, 34, 4)
        self.config[WCE] = 1
        self.written_config = []  # (offset, bytes)
        self.done = {}  # sector -> how often
        self.before = {GET_CONFIG: self.get_config, SET_CONFIG: self.set_config,
                       GET_INFLIGHT_FD: self.get_inflight, SET_INFLIGHT_FD: self.set_inflight}
        self.area = None  # of the present connection
        self.given_back = 0
        self.__dict__.update(options)
        self.start()

    def get_config(self, conn, m):
        offset, size, flags = struct.unpack_from("<III", m.payload)
        data = bytes(self.config[offset:offset + size])
        conn.send(m.code, struct.pack("<III", offset, len(data), flags) + data)
        return True

    def set_config(self, conn, m):
        offset, size, _ = struct.unpack_from("<III", m.payload)
        self.config[offset:offset + size] = m.payload[12:12 + size]
        self.written_config.append((offset, m.payload[12:12 + size]))
        return False

    # --- the in-flight area: one byte a descriptor is all that this back end needs ---

    def get_inflight(self, conn, m):
        _, _, queues, size = struct.unpack_from("<QQHH", m.payload)
        fd = os.memfd_create("inflight")
        length = queues * (16 + 16 * size)
        os.truncate(fd, length)
        conn.send(m.code, struct.pack("<QQHHI", length, 0, queues, size, 0), fds=[fd])
        os.close(fd)
        return True

    def set_inflight(self, conn, m):
        length, offset, _, _ = struct.unpack_from("<QQHH", m.payload)
        self.area = vu.mmap.mmap(m.fds[0], length, offset=offset)
        self.given_back += 1
        return False

    def in_flight(self):
        return [i for i in range((len(self.area) - 16) // 16) if self.area[16 + 16 * i]]

    # --- requests ---

    def take(self, conn, room=1000):
        """Those available now: [(head, segments)]."""
        taken = []
        with conn.lock:
            while len(taken) < room:
                popped = conn.pop(0)
                if popped is None:
                    return taken
                if self.area:
                    self.area[16 + 16 * popped[0]] = 1
                taken.append(popped)
        return taken

    def complete(self, conn, request):
        head, segments = request
        with conn.lock:
            kind, _, sector = struct.unpack("<IIQ", conn.read(segments[0][0], 16))
            self.done[sector] = self.done.get(sector, 0) + 1
            conn.write(segments[-1][0], b"\0")
            conn.push(0, head, 1)
            if self.area:
                self.area[16 + 16 * head] = 0

    def resume(self, conn):
        """What the area says is in flight, as requests; the available ring goes on behind them."""
        with conn.lock:
            ring = conn.rings[0]
            desc = ring.addr[0]
            ring.used = struct.unpack("<H", conn.read(ring.addr[2] + 2, 2, True))[0]
            taken = []
            for head in self.in_flight():
                segments, at = [], head
                while True:
                    address, length, flags, following = struct.unpack(
                        "<QIHH", conn.read(desc + 16 * at, 16, True))
                    segments.append((address, length, bool(flags & 2)))
                    if not flags & 1:
                        break
                    at = following
                taken.append((head, segments))
            ring.base = ring.used + len(taken) & 0xFFFF
            return taken


class Blk(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-blk-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "disk.sock")

    def machine(self, *options, args=()):
        return rhea.Rhea(
            "-M", "q35", "-nodefaults", "-m", "64M", "-display", "none", "-qtest-log", "none",
            "-chardev", "socket,id=c0,reconnect-ms=20,path=" + self.path, "-device",
            ",".join(("vhost-user-blk-pci,id=d0,chardev=c0,addr=5",) + options), *args, qtest=True)

    def wait_running(self, m):
        end = time.monotonic() + rhea.PATIENCE
        while m.qmp("query-status")["status"] != "running":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def driver(self, m, features=F_FLUSH, size=16):
        d = virtio.Device(m.qtest, 5, features=features)
        d.queue = virtio.Queue(d, 0, RINGS, size)
        d.ready()
        return d

    def send(self, d, sector, slot=None):
        """One write of nothing: a header and a status, which is all that is looked at."""
        at = DATA + 0x100 * (sector if slot is None else slot)
        d.qtest.write(at, struct.pack("<IIQ", 1, 0, sector) + b"\xee")
        d.queue.add([(at, 16, False), (at + 16, 1, True)])
        d.queue.kick()

    def wait_used(self, d, count):
        for _ in range(count):
            d.queue.wait(2)
        self.assertIsNone(d.queue.take(2))

    def take(self, disk, conn, count, room=1000):
        """count requests, or as many as there is room for; the rest stays in the queue."""
        taken = []
        end = time.monotonic() + rhea.PATIENCE
        while len(taken) < min(count, room):
            taken += disk.take(conn, room - len(taken))
            self.assertLess(time.monotonic(), end, "only %d requests came" % len(taken))
        return taken

    def one_request(self, disk, d, conn, sector=77):
        before = disk.done.get(sector, 0)
        self.send(d, sector)
        for request in self.take(disk, conn, 1):
            disk.complete(conn, request)
        d.queue.wait(2)
        self.assertEqual(disk.done[sector], before + 1)

    # --- what is in flight when it dies ---

    def test_in_flight_area(self):
        with Disk(self.path, protocol_features=PF_DISK | PF_INFLIGHT) as disk, \
                self.machine() as m:
            self.wait_running(m)
            d = self.driver(m)
            conn = disk.wait_running(1)
            for turn in range(4):
                for i in range(8):
                    self.send(d, 8 * turn + i)
                taken = self.take(disk, conn, 8, room=6 if turn else 8)
                for i in (3, 5):
                    disk.complete(conn, taken[i])
                self.assertEqual(len(disk.in_flight()), len(taken) - 2)
                disk.drop()
                conn = disk.wait_running(1)
                self.assertGreaterEqual(disk.given_back, 2 + turn)
                again = disk.resume(conn)
                self.assertEqual(len(again), len(taken) - 2)
                again += disk.take(conn)
                for request in again:
                    disk.complete(conn, request)
                self.wait_used(d, 8)
                for i in range(2):  # so that the next turn begins at another place
                    self.one_request(disk, d, conn, 1000 + i)
                disk.drop()
                conn = disk.wait_running(1)
                self.assertEqual(disk.resume(conn), [])
                disk.given_back -= 1
            self.assertEqual({s: n for s, n in disk.done.items() if s < 32 and n != 1}, {})

    def test_no_area(self):
        """Without it the rings tell which requests are out, in whatever order the rest was done."""
        rng = random.Random(5)
        with Disk(self.path) as disk, self.machine() as m:
            self.wait_running(m)
            d = self.driver(m)
            conn = disk.wait_running(1)
            sector = 0
            free = list(range(8))  # buffers; a request is two descriptors
            for turn in range(60):
                disk.done.clear()
                sent = []
                for _ in range(rng.randrange(1, 9)):
                    self.send(d, sector, free[len(sent)])
                    sent.append(sector)
                    sector = (sector + 1) % 5000
                taken = self.take(disk, conn, len(sent))
                for request in rng.sample(taken, rng.randrange(len(taken) + 1)):
                    disk.complete(conn, request)
                disk.drop()
                m.qmp.event("VHOST_USER_CONNECTED")
                conn = disk.wait_running(1)
                left = len(sent) - len(disk.done)
                for request in self.take(disk, conn, left):
                    disk.complete(conn, request)
                self.wait_used(d, len(sent))
                self.assertEqual(disk.done, dict.fromkeys(sent, 1), "turn %d" % turn)
            self.assertNotIn("without a record", m.errors())

    # --- configuration ---

    def test_configuration(self):
        with Disk(self.path) as disk, self.machine() as m:
            self.wait_running(m)
            d = self.driver(m, F_FLUSH | F_CONFIG_WCE)
            conn = disk.wait_running(1)
            read = m.qtest.readq
            self.assertEqual(read(d.config), SECTORS)
            # It grows.
            generation = d.common_r(21, 1)
            struct.pack_into("<Q", disk.config, 0, 2 * SECTORS)
            conn.request(CONFIG_CHANGE)
            end = time.monotonic() + rhea.PATIENCE
            while not m.qtest.readb(d.isr) & 2:
                self.assertLess(time.monotonic(), end)
            self.assertEqual(read(d.config), 2 * SECTORS)
            self.assertNotEqual(d.common_r(21, 1), generation)
            # The write cache is the driver's to switch, and it stays switched.
            m.qtest.writeb(d.config + WCE, 0)
            disk.wait_for(SET_CONFIG)
            self.assertEqual(disk.written_config, [(WCE, b"\0")])
            self.assertEqual(m.qtest.readb(d.config + WCE), 0)
            disk.config[WCE] = 1
            disk.drop()
            m.qmp.event("VHOST_USER_DISCONNECTED")
            self.assertEqual(read(d.config), 2 * SECTORS)
            disk.wait_for(SET_CONFIG)
            self.assertEqual(disk.config[WCE], 0)
            # Whatever else the driver writes is the device's.
            m.qtest.writel(d.config, 1)
            self.assertEqual(read(d.config), 2 * SECTORS)
            # Another back end with another disk.
            m.qtest.readb(d.isr)
            struct.pack_into("<Q", disk.config, 0, 3 * SECTORS)
            disk.drop()
            conn = disk.wait_running(1)
            self.assertEqual(read(d.config), 3 * SECTORS)
            self.assertTrue(m.qtest.readb(d.isr) & 2)
            self.one_request(disk, d, conn)

    def test_config_changes_flood(self):
        with Disk(self.path) as disk, self.machine() as m:
            self.wait_running(m)
            d = self.driver(m)
            conn = disk.wait_running(1)
            for i in range(300):
                struct.pack_into("<Q", disk.config, 0, SECTORS + i)
                conn.request(CONFIG_CHANGE)
            end = time.monotonic() + rhea.PATIENCE
            while m.qtest.readq(d.config) != SECTORS + 299:
                self.assertLess(time.monotonic(), end)
            self.one_request(disk, d, conn)

    # --- fewer features ---

    def test_lost_feature(self):
        for tolerated in (False, True):
            option = ("lost-features=on",) if tolerated else ()
            with Disk(self.path) as disk, self.machine(*option) as m:
                self.wait_running(m)
                d = self.driver(m, F_FLUSH | F_BLK_SIZE)
                self.one_request(disk, d, disk.wait_running(1))
                disk.features &= ~F_BLK_SIZE
                disk.drop()
                m.qmp.event("VHOST_USER_CONNECTED")
                self.send(d, 5)
                if tolerated:
                    conn = disk.wait_running(1)
                    self.take(disk, conn, 1)
                    continue
                reason = ""
                while "BLK_SIZE" not in reason:
                    reason = m.qmp.event("VHOST_USER_ERROR")["data"]["reason"]
                self.assertIn("lost-features=on", reason)
                self.assertIsNone(d.queue.take(2))
                self.assertEqual(m.qmp("query-status")["status"], "running")
                # A driver that begins anew is offered what there is.
                d = self.driver(m, F_FLUSH)
                self.one_request(disk, d, disk.wait_running(1))

    def test_unfit(self):
        """A back end that can't do what the device needs is named at the start."""
        cases = (
            ({"protocol_features": vu.PF_MQ | vu.PF_REPLY_ACK}, "protocol feature CONFIG"),
            ({"features": vu.F_VERSION_1}, "no protocol features"),
            ({"queue_pairs": 0}, "only 0"),
            ({"config": bytearray(20)}, "asked for 60 bytes of configuration, got 20"),
            ({"config": bytearray(0)}, "could not read its configuration"),
        )
        for options, message in cases:
            with Disk(self.path, **options):
                status, _, err = rhea.run(
                    "-M", "q35", "-nodefaults", "-accel", "qtest", "-chardev",
                    "socket,id=c0,reconnect-ms=20,path=" + self.path, "-device",
                    "vhost-user-blk-pci,id=d0,chardev=c0")
                self.assertEqual(status, 1)
                self.assertIn("device 'd0'", err)
                self.assertIn(message, err)

    # --- everything it can answer wrongly ---

    REPLIES = (vu.GET_FEATURES, vu.GET_PROTOCOL_FEATURES, vu.GET_QUEUE_NUM, GET_CONFIG,
               GET_INFLIGHT_FD)
    ACKNOWLEDGED = (vu.SET_BACKEND_REQ_FD, vu.SET_FEATURES, SET_INFLIGHT_FD, vu.SET_MEM_TABLE,
                    vu.SET_VRING_ENABLE)
    PLAIN = (vu.SET_PROTOCOL_FEATURES, vu.SET_OWNER, vu.SET_VRING_NUM, vu.SET_VRING_BASE,
             vu.SET_VRING_ADDR, vu.SET_VRING_KICK, vu.SET_VRING_CALL)

    @staticmethod
    def answer(code):
        size = {GET_CONFIG: 72, GET_INFLIGHT_FD: 24}.get(code, 8)
        return bytes(size)

    def faults(self, code):
        """name -> hook"""
        body = self.answer(code)

        def close(conn, m):
            conn.close()
            return True

        yield "close", close
        if code in self.PLAIN:
            yield "garbage", lambda c, m: c.sock.sendall(b"\xa5" * 40) or True
            return
        right = vu.VERSION | vu.REPLY
        yield "silence", lambda c, m: True
        yield "short", lambda c, m: c.send(code, body[:-1]) or True
        yield "long", lambda c, m: c.send(code, body + b"\0") or True
        yield "huge", lambda c, m: c.send(code, b"", size=0x7FFFFFFF) or True
        yield "another code", lambda c, m: c.send(code + 1, body) or True
        yield "no reply flag", lambda c, m: c.send(code, body, flags=vu.VERSION) or True
        yield "version", lambda c, m: c.send(code, body, flags=right ^ 3) or True
        yield "descriptors", lambda c, m: c.send(code, body, fds=[0] * 3) or True
        yield "half", lambda c, m: c.sock.sendall(struct.pack("<II", code, right)) or close(c, m)
        if code in self.ACKNOWLEDGED:
            yield "no", lambda c, m: c.send(code, struct.pack("<Q", 1)) or True
        if code == GET_CONFIG:
            yield "other size", lambda c, m: c.send(
                code, struct.pack("<III", 0, 200, 0) + bytes(60)) or True

    def test_faults(self):
        with Disk(self.path, protocol_features=PF_DISK | PF_INFLIGHT) as disk, \
                self.machine("timeout=150") as m:
            self.wait_running(m)
            d = self.driver(m)
            disk.wait_running(1)
            for code in self.REPLIES + self.ACKNOWLEDGED + self.PLAIN:
                for name, hook in self.faults(code):
                    what = "%s of %d" % (name, code)
                    former, hits = disk.before.get(code), []

                    def once(conn, message, hook=hook, hits=hits, former=former):
                        if hits:
                            return former(conn, message) if former else False
                        hits.append(True)
                        return hook(conn, message)

                    disk.before[code] = once
                    if code == GET_INFLIGHT_FD:
                        # Asked for once only; a ring of another size wants another area.
                        d = self.driver(m, size=8 if d.queue.size == 16 else 16)
                    else:
                        disk.drop()
                    end = time.monotonic() + rhea.PATIENCE
                    while not hits:
                        self.assertLess(time.monotonic(), end, what)
                        time.sleep(0.002)
                    m.qmp("query-vhost-user")
                    conn = None
                    while conn is None or conn.closed or not hits:
                        self.assertLess(time.monotonic(), end, what)
                        time.sleep(0.02)
                        try:
                            conn = disk.wait_running(1)
                        except AssertionError as error:
                            raise AssertionError(what) from error
                    if former:
                        disk.before[code] = former
                    else:
                        del disk.before[code]
                    self.settle(disk, d, what)
                    self.assertEqual(m.qmp("query-status")["status"], "running")

    def settle(self, disk, d, what):
        """A request is done, whichever connection it takes."""
        self.send(d, 77)
        end = time.monotonic() + rhea.PATIENCE
        while d.queue.take(2) is None:
            self.assertLess(time.monotonic(), end, what)
            conn = disk.connection
            try:
                if conn and not conn.closed:
                    if disk.area:
                        for request in disk.resume(conn):
                            disk.complete(conn, request)
                    for request in disk.take(conn):
                        disk.complete(conn, request)
            except (OSError, ValueError, KeyError, TypeError):
                pass
            time.sleep(0.002)

    def test_dies_at_every_message(self):
        """The nth message of a handshake and start is the last one, for every n."""
        with Disk(self.path) as disk, self.machine() as m:
            self.wait_running(m)
            d = self.driver(m)
            self.one_request(disk, d, disk.wait_running(1))
            for n in range(1, 22):
                count = [0]

                def heard(conn, message, count=count, n=n):
                    vu.Backend.heard(disk, conn, message)
                    count[0] += 1
                    if count[0] == n:
                        conn.close()

                disk.heard = heard
                disk.drop()
                end = time.monotonic() + rhea.PATIENCE
                while count[0] < n and not (disk.connection and d.status() == 15 and
                                            count[0] >= 15):
                    self.assertLess(time.monotonic(), end, "message %d" % n)
                    time.sleep(0.002)
                del disk.heard
                self.settle(disk, d, "message %d" % n)


if __name__ == "__main__":
    tap.main()
