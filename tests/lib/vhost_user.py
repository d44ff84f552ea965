"""A vhost-user back end for tests, written from the specification: it negotiates, works rings of
frames, and misbehaves on command.

    with vhost_user.Backend(path) as b:            # or connect=True: it is the client
        b.before[SET_MEM_TABLE] = lambda conn, message: conn.close()
"""

import array
import mmap
import os
import select
import socket
import struct
import threading
import time

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 6, 7, 8, 9, 10
GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 11, 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD = 19, 20, 21
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40
RESET_DEVICE = 34

VERSION, REPLY, NEED_REPLY = 1, 4, 8
F_PROTOCOL, F_VERSION_1, F_LOG_ALL, F_MRG_RXBUF = 1 << 30, 1 << 32, 1 << 26, 1 << 15
PF_MQ, PF_LOG_SHMFD, PF_RARP, PF_REPLY_ACK, PF_MTU = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
PF_BACKEND_REQ, PF_SEND_FD, PF_HOST_NOTIFIER = 1 << 5, 1 << 10, 1 << 11
PF_MEM_SLOTS, PF_STATUS, PF_RESET_DEVICE = 1 << 15, 1 << 16, 1 << 13
NET_HEADER = 12  # struct virtio_net_hdr of a version 1 device


class Message:
    def __init__(self, code, flags, payload, fds):
        self.code, self.flags, self.payload, self.fds = code, flags, payload, fds

    def u64(self):
        return struct.unpack("<Q", self.payload)[0]

    def state(self):
        return struct.unpack("<II", self.payload)


class Ring:
    """One split ring, worked in place."""

    def __init__(self):
        self.size = self.base = 0
        self.addr = None
        self.kick = self.call = None
        self.enabled = False
        self.used = 0

    def started(self):
        return self.kick is not None and self.addr is not None and self.enabled

    def close(self):
        for fd in (self.kick, self.call):
            if fd is not None:
                os.close(fd)
        self.kick = self.call = None


class Connection:
    def __init__(self, backend, sock):
        self.backend, self.sock = backend, sock
        self.log = []  # codes, in order
        self.messages = []
        self.rings = {}
        self.memory = []  # (guest address, size, user address, map)
        self.fds = []
        self.features = self.protocol_features = 0
        self.status = 0
        self.request_sock = None
        self.dirty_log = None
        self.closed = False
        self.lock = threading.RLock()

    def ring(self, index):
        return self.rings.setdefault(index, Ring())

    # --- messages ---

    def receive(self):
        header, fds, done = b"", [], False
        while len(header) < 12 and not done:
            part, ancillary, _, _ = self.sock.recvmsg(12 - len(header), 1024)
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    numbers = array.array("i")
                    numbers.frombytes(data[:len(data) - len(data) % numbers.itemsize])
                    fds += numbers
            done = not part
            header += part
        if done:
            return None
        code, flags, size = struct.unpack("<III", header)
        payload = b""
        while len(payload) < size:
            part = self.sock.recv(size - len(payload))
            if not part:
                return None
            payload += part
        return Message(code, flags, payload, fds)

    def send(self, code, payload, flags=VERSION | REPLY, fds=(), size=None):
        data = struct.pack("<III", code, flags, len(payload) if size is None else size) + payload
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.sendall(data)

    def serve(self):
        try:
            while True:
                message = self.receive()
                if message is None:
                    return
                self.backend.heard(self, message)
                hook = self.backend.before.get(message.code)
                if hook and hook(self, message):
                    continue
                self.handle(message)
        except (OSError, ValueError):
            pass
        finally:
            self.close()

    def handle(self, m):
        b = self.backend
        answers = {GET_FEATURES: b.features, GET_PROTOCOL_FEATURES: b.protocol_features,
                   GET_QUEUE_NUM: b.queue_pairs, GET_MAX_MEM_SLOTS: b.mem_slots,
                   GET_STATUS: self.status}
        with self.lock:
            if m.code in answers:
                self.send(m.code, struct.pack("<Q", answers[m.code]))
                return
            if m.code == GET_VRING_BASE:
                index, _ = m.state()
                ring = self.ring(index)
                if ring.kick is not None:
                    os.close(ring.kick)
                    ring.kick = None
                self.send(m.code, struct.pack("<II", index, ring.base))
                return
            if m.code == SET_LOG_BASE:
                size, offset = struct.unpack("<QQ", m.payload)
                self.dirty_log = mmap.mmap(m.fds.pop(0), size, offset=offset)
                self.send(m.code, b"")
                return
            self.take(m)
        for fd in m.fds:
            os.close(fd)
        if m.flags & NEED_REPLY:
            self.send(m.code, struct.pack("<Q", b.refuse.get(m.code, 0)))

    def take(self, m):
        if m.code == SET_FEATURES:
            self.features = m.u64()
        elif m.code == SET_STATUS:
            self.status = m.u64()
        elif m.code == SET_PROTOCOL_FEATURES:
            self.protocol_features = m.u64()
        elif m.code == SET_MEM_TABLE:
            self.drop_memory()
            count = struct.unpack_from("<I", m.payload)[0]
            for i in range(count):
                self.add_memory(struct.unpack_from("<QQQQ", m.payload, 8 + 32 * i), m.fds.pop(0))
        elif m.code == ADD_MEM_REG:
            self.add_memory(struct.unpack_from("<QQQQ", m.payload, 8), m.fds.pop(0))
        elif m.code == SET_VRING_NUM:
            index, number = m.state()
            self.ring(index).size = number
        elif m.code == SET_VRING_BASE:
            index, number = m.state()
            ring = self.ring(index)
            ring.base = ring.used = number
        elif m.code == SET_VRING_ADDR:
            index, flags, desc, used, avail, log = struct.unpack("<IIQQQQ", m.payload)
            self.ring(index).addr = (desc, avail, used, log if flags & 1 else None)
        elif m.code == SET_VRING_ENABLE:
            index, number = m.state()
            self.ring(index).enabled = bool(number)
        elif m.code in (SET_VRING_KICK, SET_VRING_CALL):
            ring = self.ring(m.u64() & 0xFF)
            name = "kick" if m.code == SET_VRING_KICK else "call"
            if getattr(ring, name) is not None:
                os.close(getattr(ring, name))
            setattr(ring, name, m.fds.pop(0) if m.fds else None)
        elif m.code == SET_BACKEND_REQ_FD:
            self.request_sock = socket.socket(fileno=m.fds.pop(0))

    # --- memory ---

    def add_memory(self, region, fd):
        guest, size, user, offset = region
        self.memory.append((guest, size, user, mmap.mmap(fd, size + offset), offset))
        os.close(fd)

    def drop_memory(self):
        for region in self.memory:
            region[3].close()
        self.memory = []

    def find(self, address, length, by_user):
        for guest, size, user, pages, offset in self.memory:
            start = user if by_user else guest
            if start <= address and address + length <= start + size:
                return pages, address - start + offset
        raise ValueError("no memory at 0x%x" % address)

    def read(self, address, length, by_user=False):
        pages, at = self.find(address, length, by_user)
        return pages[at:at + length]

    def write(self, address, data, by_user=False):
        pages, at = self.find(address, len(data), by_user)
        pages[at:at + len(data)] = data
        if not by_user and self.dirty_log is not None and self.features & F_LOG_ALL:
            self.log_dirty(address, len(data))

    def log_dirty(self, address, length):
        for page in range(address >> 12, (address + length - 1 >> 12) + 1):
            self.dirty_log[page >> 3] |= 1 << (page & 7)

    # --- rings ---

    def pop(self, index):
        """(head, [(address, length, writable)]), or None."""
        ring = self.rings.get(index)
        if not ring or not ring.started():
            return None
        desc, avail, _, _ = ring.addr
        there = struct.unpack("<H", self.read(avail + 2, 2, True))[0]
        if there == ring.base:
            return None
        head = struct.unpack("<H", self.read(avail + 4 + 2 * (ring.base % ring.size), 2, True))[0]
        ring.base = ring.base + 1 & 0xFFFF
        segments, at = [], head
        while True:
            address, length, flags, following = struct.unpack(
                "<QIHH", self.read(desc + 16 * at, 16, True))
            segments.append((address, length, bool(flags & 2)))
            if not flags & 1:
                return head, segments
            at = following

    def push(self, index, head, length):
        ring = self.rings[index]
        _, _, used, log = ring.addr
        self.write(used + 4 + 8 * (ring.used % ring.size), struct.pack("<II", head, length), True)
        ring.used = ring.used + 1 & 0xFFFF
        self.write(used + 2, struct.pack("<H", ring.used), True)
        if log is not None and self.dirty_log is not None:
            self.log_dirty(log, 4 + 8 * ring.size)
        if ring.call is not None:
            os.eventfd_write(ring.call, 1)

    def take_frame(self, index=1):
        """What the guest sent: one frame, or None."""
        with self.lock:
            popped = self.pop(index)
            if popped is None:
                return None
            head, segments = popped
            data = b"".join(self.read(a, n) for a, n, _ in segments)
            self.push(index, head, 0)
            return data[NET_HEADER:]

    def give_frame(self, frame, index=0):
        with self.lock:
            popped = self.pop(index)
            if popped is None:
                return False
            head, segments = popped
            data = bytes(10) + struct.pack("<H", 1) + frame
            length = len(data)
            for address, room, _ in segments:
                self.write(address, data[:room])
                data = data[room:]
            self.push(index, head, length)
            return True

    def request(self, code, payload=b"", flags=VERSION, fds=(), size=None):
        """A request of the back end's own."""
        data = struct.pack("<III", code, flags, len(payload) if size is None else size) + payload
        if fds:
            socket.send_fds(self.request_sock, [data], list(fds))
        else:
            self.request_sock.sendall(data)

    def close(self):
        with self.lock:
            if self.closed:
                return
            self.closed = True
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.sock.close()
            self.drop_memory()
            for ring in self.rings.values():
                ring.close()
            if self.request_sock:
                self.request_sock.close()
            self.backend.gone(self)


class Backend:
    """One back end on a socket. echo: frames the guest sends come back to it."""

    def __init__(self, path, connect=False, echo=False, listen=True):
        self.path, self.connects, self.echo = str(path), connect, echo
        self.features = F_PROTOCOL | F_VERSION_1 | F_MRG_RXBUF | F_LOG_ALL | 1 << 22
        self.protocol_features = PF_MQ | PF_REPLY_ACK | PF_LOG_SHMFD | PF_RARP | PF_STATUS
        self.queue_pairs, self.mem_slots = 4, 32
        self.before = {}  # code -> hook(connection, message): True: it has been dealt with
        self.refuse = {}  # code -> what acknowledgements say
        self.connection = None
        self.connections = 0
        self.messages = []  # (time, code) of all connections
        self.condition = threading.Condition()
        self.stopping = False
        self.listener = None
        self.threads = []
        if listen:
            self.start()

    def start(self):
        self.stopping = False
        if not self.connects:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
            self.listener.listen(16)
        self.run(self.accept)
        if self.echo:
            self.run(self.work)

    def run(self, function):
        thread = threading.Thread(target=function, daemon=True)
        thread.start()
        self.threads.append(thread)

    def accept(self):
        listener = self.listener
        while not self.stopping:
            try:
                if self.connects:
                    sock = socket.socket(socket.AF_UNIX)
                    sock.connect(self.path)
                elif select.select([listener], [], [], 0.05)[0]:
                    sock, _ = listener.accept()
                else:
                    continue
            except OSError:
                if self.connects:
                    sock.close()
                    time.sleep(0.01)
                continue
            connection = Connection(self, sock)
            with self.condition:
                self.connection = connection
                self.connections += 1
                self.condition.notify_all()
            connection.serve()

    def work(self):
        while not self.stopping:
            connection = self.connection
            try:
                frame = connection.take_frame() if connection else None
                if frame is None:
                    time.sleep(0.0005)
                    continue
                while not connection.give_frame(frame) and not connection.closed:
                    time.sleep(0.0005)
            except (OSError, ValueError, KeyError):
                time.sleep(0.001)

    def heard(self, connection, message):
        with self.condition:
            connection.log.append(message.code)
            connection.messages.append(message)
            self.messages.append((time.monotonic(), message.code))
            self.condition.notify_all()

    def gone(self, connection):
        with self.condition:
            if self.connection is connection:
                self.connection = None
            self.condition.notify_all()

    def wait(self, what, timeout=6):
        """Until what(connection) of the present connection holds; returns its connection."""
        with self.condition:
            end = time.monotonic() + timeout
            while True:
                connection = self.connection
                if connection is not None and what(connection):
                    return connection
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("the back end waited in vain; heard %s" %
                                         [code for _, code in self.messages][-30:])
                self.condition.wait(min(left, 0.02))

    def wait_for(self, code, timeout=6):
        return self.wait(lambda c: code in c.log, timeout)

    def wait_running(self, rings=2, timeout=6):
        return self.wait(
            lambda c: sum(ring.started() for ring in c.rings.values()) >= rings, timeout)

    def wait_gone(self, timeout=6):
        with self.condition:
            if not self.condition.wait_for(lambda: self.connection is None, timeout):
                raise AssertionError("the connection stays")

    def drop(self):
        """End the connection as a process that dies does."""
        connection = self.connection
        if connection:
            connection.close()

    def stop(self):
        self.stopping = True
        if self.listener:
            self.listener.close()
            self.listener = None
            if os.path.exists(self.path):
                os.unlink(self.path)
        self.drop()
        for thread in self.threads:
            thread.join(5)
        self.threads = []
        self.drop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
