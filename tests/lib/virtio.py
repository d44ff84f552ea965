"""A virtio driver over PCI for tests from outside: modern registers, split and packed rings. It knows
qtest and the specification, and nothing of the program under test."""

import struct
import time

import rhea

VERSION_1, RING_PACKED = 32, 34
NEXT, WRITE = 1, 2
AVAIL, USED = 1 << 7, 1 << 15
BAR4 = 0xE1000000


class Pci:
    """Configuration mechanism #1."""

    def __init__(self, qtest, slot, bus=0):
        self.qtest, self.address = qtest, bus << 16 | slot << 11

    def _select(self, reg):
        self.qtest.outl(0xCF8, 0x80000000 | self.address | reg & 0xFC)

    def read32(self, reg):
        self._select(reg)
        return self.qtest.inl(0xCFC)

    def write32(self, reg, value):
        self._select(reg)
        self.qtest.outl(0xCFC, value)

    def read(self, reg, size):
        value = self.read32(reg) >> (8 * (reg & 3))
        return value & (1 << 8 * size) - 1

    def find(self, capability):
        """Where it lies, or 0."""
        at = self.read(0x34, 1)
        while at and self.read(at, 1) != capability:
            at = self.read(at + 1, 1)
        return at


class Queue:
    def __init__(self, device, index, base, size=16):
        self.d, self.q, self.index = device, device.qtest, index
        d = device
        d.common_w(22, index, 2)
        self.size = min(size, d.common_r(24, 2))
        d.common_w(24, self.size, 2)
        self.desc, self.driver, self.device = base, base + 0x1000, base + 0x2000
        self.q.write(base, bytes(0x3000))
        for offset, area in ((32, self.desc), (40, self.driver), (48, self.device)):
            d.common_w(offset, area, 4)
            d.common_w(offset + 4, 0, 4)
        self.doorbell = d.notify + d.common_r(30, 2) * d.notify_step
        d.common_w(28, 1, 2)
        self.avail = self.used = self.free = 0
        self.avail_wrap = self.used_wrap = True

    def add(self, segments):
        """segments: (address, length, device writes)"""
        if self.d.packed:
            self._add_packed(segments)
            return
        head = self.free
        for i, (address, length, write) in enumerate(segments):
            at, self.free = self.free, (self.free + 1) % self.size
            flags = (WRITE if write else 0) | (NEXT if i + 1 < len(segments) else 0)
            self.q.write(self.desc + 16 * at, struct.pack("<QIHH", address, length, flags, self.free))
        self.q.write(self.driver + 4 + 2 * (self.avail % self.size), struct.pack("<H", head))
        self.avail = (self.avail + 1) & 0xFFFF
        self.q.write(self.driver + 2, struct.pack("<H", self.avail))

    def _add_packed(self, segments):
        rows = []
        for i, (address, length, write) in enumerate(segments):
            flags = (WRITE if write else 0) | (NEXT if i + 1 < len(segments) else 0)
            flags |= AVAIL if self.avail_wrap else USED
            rows.append((self.avail, struct.pack("<QIHH", address, length, 1, flags)))
            self.avail += 1
            if self.avail == self.size:
                self.avail, self.avail_wrap = 0, not self.avail_wrap
        for slot, row in reversed(rows):  # the first one shows the rest
            self.q.write(self.desc + 16 * slot, row)

    def kick(self):
        self.q.writew(self.doorbell, self.index)

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

    def wait(self, slots):
        end = time.monotonic() + rhea.PATIENCE
        while time.monotonic() < end:
            length = self.take(slots)
            if length is not None:
                return length
        raise rhea.Timeout("no used buffer in queue %u" % self.index)


class Device:
    """A device in a slot of a bus: mapped, reset, negotiated up to FEATURES_OK."""

    def __init__(self, qtest, slot, features=0, packed=False, bus=0):
        self.qtest, self.packed = qtest, packed
        pci = Pci(qtest, slot, bus)
        assert pci.read(0, 2) == 0x1AF4, "no virtio device in slot %u" % slot
        pci.write32(0x20, BAR4)
        pci.write32(0x24, 0)
        pci.write32(4, 7)
        at = pci.read(0x34, 1)
        while at:
            if pci.read(at, 1) == 9 and pci.read(at + 4, 1) == 4:
                where, kind = BAR4 + pci.read32(at + 8), pci.read(at + 3, 1)
                if kind == 1:
                    self.common = where
                elif kind == 2:
                    self.notify, self.notify_step = where, pci.read32(at + 16)
                elif kind == 3:
                    self.isr = where
                elif kind == 4:
                    self.config = where
            at = pci.read(at + 1, 1)
        self.common_w(20, 0, 1)
        end = time.monotonic() + rhea.PATIENCE
        while self.status():  # 2.4.2: then the reset is over
            assert time.monotonic() < end, "the reset does not end"
        for status in (1, 3):
            self.common_w(20, status, 1)
        features |= 1 << VERSION_1 | (1 << RING_PACKED if packed else 0)
        for half in (0, 1):
            self.common_w(0, half, 4)
            offered = self.common_r(4, 4)
            wanted = features >> 32 * half & 0xFFFFFFFF
            assert not wanted & ~offered, "0x%x is not offered (0x%x)" % (wanted, offered)
            self.common_w(8, half, 4)
            self.common_w(12, wanted, 4)
        self.common_w(20, 11, 1)
        assert self.common_r(20, 1) == 11, "FEATURES_OK did not stick"

    def common_r(self, offset, size):
        read = {1: self.qtest.readb, 2: self.qtest.readw, 4: self.qtest.readl}[size]
        return read(self.common + offset)

    def common_w(self, offset, value, size):
        write = {1: self.qtest.writeb, 2: self.qtest.writew, 4: self.qtest.writel}[size]
        write(self.common + offset, value)

    def ready(self):
        self.common_w(20, 15, 1)

    def status(self):
        return self.common_r(20, 1)
