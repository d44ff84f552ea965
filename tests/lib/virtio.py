"""A virtio driver over PCI for tests from outside: legacy and modern registers, split and packed rings,
messages and the pin. It knows qtest and the specification, and nothing of the program under test."""

import struct
import time

import rhea

INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER, NOTIFICATION_DATA, RING_RESET = \
    28, 29, 32, 34, 35, 38, 40
NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 1 << 7, 1 << 15
NEEDS_RESET = 0x40

# Where a slot's registers are put: room for every slot of a bus.
LEGACY_AT, MSIX_AT, MODERN_AT = 0xC000, 0xE1000000, 0xE1000000
BAR4 = MODERN_AT  # of slot 0
# Messages are written to memory of the guest, so that they can be read back: a line for each vector.
MESSAGES_AT, MESSAGE = 0x8000, 0x5A00


class Pci:
    """Configuration mechanism #1."""

    def __init__(self, qtest, slot, bus=0):
        self.qtest, self.where = qtest, bus << 16 | slot << 11

    def _select(self, reg):
        self.qtest.outl(0xCF8, 0x80000000 | self.where | reg & 0xFC)

    def read32(self, reg):
        self._select(reg)
        return self.qtest.inl(0xCFC)

    def write32(self, reg, value):
        self._select(reg)
        self.qtest.outl(0xCFC, value)

    def read(self, reg, size):
        value = self.read32(reg) >> (8 * (reg & 3))
        return value & (1 << 8 * size) - 1

    def write(self, reg, value, size):
        self._select(reg)
        port = 0xCFC + (reg & 3)
        {1: self.qtest.outb, 2: self.qtest.outw, 4: self.qtest.outl}[size](port, value)

    def find(self, capability):
        """Where it lies, or 0."""
        return next((at for at, kind in self.capabilities() if kind == capability), 0)

    def capabilities(self):
        at = self.read(0x34, 1)
        while at:
            yield at, self.read(at, 1)
            at = self.read(at + 1, 1)


class Queue:
    """base: three pages for a modern queue; legacy ones take what follows from their size."""

    def __init__(self, device, index, base, size=16, vector=None):
        self.d, self.q, self.index = device, device.qtest, index
        self.size = device.queue_open(self, index, base, size, vector)
        self.avail = self.used = self.free = 0
        self.avail_wrap = self.used_wrap = True

    def add(self, segments, indirect=None):
        """segments: (address, length, device writes); indirect: where a table can be put."""
        if indirect is not None:
            rows = b""
            for i, (address, length, write) in enumerate(segments):
                flags = WRITE if write else 0
                if not self.d.packed and i + 1 < len(segments):
                    flags |= NEXT
                tail = (0, flags) if self.d.packed else (flags, i + 1)
                rows += struct.pack("<QIHH", address, length, *tail)
            self.q.write(indirect, rows)
            segments = [(indirect, len(rows), None)]
        if self.d.packed:
            self._add_packed(segments)
            return
        head = self.free
        for i, (address, length, write) in enumerate(segments):
            at, self.free = self.free, (self.free + 1) % self.size
            flags = self._flags(write) | (NEXT if i + 1 < len(segments) else 0)
            self.q.write(self.desc + 16 * at, struct.pack("<QIHH", address, length, flags, self.free))
        self.q.write(self.driver + 4 + 2 * (self.avail % self.size), struct.pack("<H", head))
        self.avail = (self.avail + 1) & 0xFFFF
        self.q.write(self.driver + 2, struct.pack("<H", self.avail))

    @staticmethod
    def _flags(write):
        return INDIRECT if write is None else WRITE if write else 0

    def _add_packed(self, segments):
        rows = []
        for i, (address, length, write) in enumerate(segments):
            flags = self._flags(write) | (NEXT if i + 1 < len(segments) else 0)
            flags |= AVAIL if self.avail_wrap else USED
            rows.append((self.avail, struct.pack("<QIHH", address, length, 1, flags)))
            self.avail += 1
            if self.avail == self.size:
                self.avail, self.avail_wrap = 0, not self.avail_wrap
        for slot, row in reversed(rows):  # the first one shows the rest
            self.q.write(self.desc + 16 * slot, row)

    def kick(self):
        self.d.queue_kick(self)

    def take(self, slots):
        """Length of the next used buffer, or None."""
        if self.d.packed:
            length, _, flags = struct.unpack("<IHH", self.q.read(self.desc + 16 * self.used + 8, 8))
            if bool(flags & USED) != self.used_wrap or bool(flags & AVAIL) != self.used_wrap:
                return None
            self.used += slots
            if self.used >= self.size:
                self.used, self.used_wrap = self.used - self.size, not self.used_wrap
            return length if flags & WRITE else 0
        if struct.unpack("<H", self.q.read(self.device + 2, 2))[0] == self.used:
            return None
        at = self.device + 4 + 8 * (self.used % self.size)
        self.used = (self.used + 1) & 0xFFFF
        return struct.unpack("<II", self.q.read(at, 8))[1]

    def wait(self, slots=1):
        end = time.monotonic() + rhea.PATIENCE
        while time.monotonic() < end:
            length = self.take(slots)
            if length is not None:
                return length
        raise rhea.Timeout("no used buffer in queue %u" % self.index)


class Device:
    """A device in a slot of a bus: mapped, reset, negotiated up to FEATURES_OK. interrupts: "msix",
    "pin" or None."""

    def __init__(self, qtest, slot, features=0, packed=False, bus=0, legacy=False, interrupts=None):
        self.qtest, self.packed, self.legacy = qtest, packed, legacy
        self.pci = pci = Pci(qtest, slot, bus)
        assert pci.read(0, 2) == 0x1AF4, "no virtio device in slot %u" % slot
        self.port = LEGACY_AT + slot * 0x100
        self.bar4 = MODERN_AT + slot * 0x800000
        self.msix_table = MSIX_AT - slot * 0x10000 - 0x10000
        pci.write32(0x10, self.port)
        pci.write32(0x14, self.msix_table)
        pci.write32(0x20, self.bar4)
        pci.write32(0x24, 0)
        pci.write32(4, 7)
        self.capability = {}
        for at, kind in pci.capabilities():
            if kind == 0x11:
                self.msix = at
            elif kind == 9 and not (pci.read(at + 3, 1) == 2 and pci.read(at + 4, 1) != 4):
                self.capability[pci.read(at + 3, 1)] = at
        if not legacy:
            place = {k: self.bar4 + pci.read32(at + 8) for k, at in self.capability.items()}
            self.common, self.notify, self.isr, self.config = (place[k] for k in (1, 2, 3, 4))
            self.notify_step = pci.read32(self.capability[2] + 16)
        self.with_msix = interrupts == "msix"
        if self.with_msix:
            self._msix_on()
        self.set_status(0)
        end = time.monotonic() + rhea.PATIENCE
        while self.status():  # 2.4.2: then the reset is over
            assert time.monotonic() < end, "the reset does not end"
        self.set_status(1)
        self.set_status(3)
        self.negotiate(features)
        if self.with_msix:
            self.set_config_vector(0)

    def _msix_on(self):
        for i in range((self.pci.read(self.msix + 2, 2) & 0x7FF) + 1):
            row = struct.pack("<QII", MESSAGES_AT + 4 * i, MESSAGE + i, 0)
            for k in range(0, 16, 4):
                self.qtest.writel(self.msix_table + 16 * i + k, struct.unpack_from("<I", row, k)[0])
        self.pci.write(self.msix + 2, 0x8000, 2)

    # --- features and status ---

    def offered(self):
        if self.legacy:
            return self.qtest.inl(self.port)
        value = 0
        for half in (0, 1):
            self.common_w(0, half, 4)
            value |= self.common_r(4, 4) << 32 * half
        return value

    def accept(self, features):
        if self.legacy:
            self.qtest.outl(self.port + 4, features)
            return
        for half in (0, 1):
            self.common_w(8, half, 4)
            self.common_w(12, features >> 32 * half & 0xFFFFFFFF, 4)

    def negotiate(self, features):
        if not self.legacy:
            features |= 1 << VERSION_1 | (1 << RING_PACKED if self.packed else 0)
        offered = self.offered()
        assert not features & ~offered, "0x%x is not offered (0x%x)" % (features, offered)
        self.features = features
        self.accept(features)
        if not self.legacy:
            self.set_status(11)
            assert self.status() == 11, "FEATURES_OK did not stick"

    def has(self, bit):
        return self.features >> bit & 1

    def set_status(self, value):
        if self.legacy:
            self.qtest.outb(self.port + 18, value)
        else:
            self.common_w(20, value, 1)

    def status(self):
        return self.qtest.inb(self.port + 18) if self.legacy else self.common_r(20, 1)

    def ready(self):
        self.set_status(7 if self.legacy else 15)

    # --- registers ---

    def common_r(self, offset, size):
        read = {1: self.qtest.readb, 2: self.qtest.readw, 4: self.qtest.readl}[size]
        return read(self.common + offset)

    def common_w(self, offset, value, size):
        write = {1: self.qtest.writeb, 2: self.qtest.writew, 4: self.qtest.writel}[size]
        write(self.common + offset, value)

    def take_isr(self):
        return self.qtest.inb(self.port + 19) if self.legacy else self.qtest.readb(self.isr)

    def config_r(self, offset, size):
        if self.legacy:
            at = self.port + (24 if self.with_msix else 20) + offset
            return {1: self.qtest.inb, 2: self.qtest.inw, 4: self.qtest.inl}[size](at)
        read = {1: self.qtest.readb, 2: self.qtest.readw, 4: self.qtest.readl}[size]
        return read(self.config + offset)

    def config_w(self, offset, value, size):
        if self.legacy:
            at = self.port + (24 if self.with_msix else 20) + offset
            {1: self.qtest.outb, 2: self.qtest.outw, 4: self.qtest.outl}[size](at, value)
            return
        write = {1: self.qtest.writeb, 2: self.qtest.writew, 4: self.qtest.writel}[size]
        write(self.config + offset, value)

    def set_config_vector(self, vector):
        if self.legacy:
            self.qtest.outw(self.port + 20, vector)
        else:
            self.common_w(16, vector, 2)

    # --- queues ---

    def queue_open(self, queue, index, base, size, vector):
        if self.legacy:
            return self._queue_open_legacy(queue, index, base, vector)
        self.common_w(22, index, 2)
        size = min(size, self.common_r(24, 2))
        self.common_w(24, size, 2)
        queue.desc, queue.driver, queue.device = base, base + 0x1000, base + 0x2000
        self.qtest.write(base, bytes(0x3000))
        for offset, area in ((32, queue.desc), (40, queue.driver), (48, queue.device)):
            self.common_w(offset, area, 4)
            self.common_w(offset + 4, 0, 4)
        if vector is not None:
            self.common_w(26, vector, 2)
            assert self.common_r(26, 2) == vector, "vector %u is refused" % vector
        queue.doorbell = self.notify + self.common_r(30, 2) * self.notify_step
        self.common_w(28, 1, 2)
        return size

    def _queue_open_legacy(self, queue, index, base, vector):
        self.qtest.outw(self.port + 14, index)
        size = self.qtest.inw(self.port + 12)
        queue.desc, queue.driver = base, base + 16 * size
        queue.device = queue.driver + 4 + 2 * (size + 1) + 4095 & ~4095
        self.qtest.write(base, bytes(queue.device + 4 + 8 * size + 2 - base))
        if vector is not None:
            self.qtest.outw(self.port + 22, vector)
            assert self.qtest.inw(self.port + 22) == vector, "vector %u is refused" % vector
        self.qtest.outl(self.port + 8, base >> 12)
        return size

    def queue_kick(self, queue):
        if self.legacy:
            self.qtest.outw(self.port + 16, queue.index)
        elif self.has(NOTIFICATION_DATA):
            position = queue.avail | queue.avail_wrap << 15 if self.packed else queue.avail
            self.qtest.writel(queue.doorbell, queue.index | position << 16)
        else:
            self.qtest.writew(queue.doorbell, queue.index)

    # --- interrupts ---

    def message(self, vector):
        """Whether the vector's message came since the last look."""
        at = MESSAGES_AT + 4 * vector
        came = self.qtest.readl(at) == MESSAGE + vector
        if came:  # otherwise one that is just coming would be lost
            self.qtest.writel(at, 0)
        return came

    def wait_interrupt(self, vector, bit=1):
        """By message or, with the pin, by the bit of the ISR register."""
        end = time.monotonic() + rhea.PATIENCE
        while time.monotonic() < end:
            if self.message(vector) if self.with_msix else self.take_isr() & bit:
                return
        raise rhea.Timeout("no interrupt")
