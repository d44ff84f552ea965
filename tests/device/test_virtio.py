"""virtio devices driven from outside, through qtest, with real blocks and real packets."""

import os
import socket
import struct
import tempfile
import unittest

import rhea
import tap
import virtio

DATA = 0x200000
RINGS = 0x100000


class Virtio(unittest.TestCase):
    def machine(self, name, *args, **options):
        return rhea.Rhea("-M", name, "-nodefaults", "-m", "64M", "-display", "none", *args,
                         qtest=True, **options)

    def block(self, queue, kind, sector, data=b"", room=0):
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
        queue.add(segments)
        queue.kick()
        queue.wait(len(segments))
        return q.read(DATA + 0x100, 1)[0], q.read(DATA + 0x1000, room) if room else b""

    def test_blocks(self):
        for name in ("pc", "q35"):
            for packed in (False, True):
                with tempfile.NamedTemporaryFile() as image:
                    image.write(bytes(i // 512 & 0xFF for i in range(1 << 20)))
                    image.flush()
                    drive = "file=%s,if=none,id=d0,format=raw" % image.name
                    device = "virtio-blk-pci,drive=d0,addr=5,packed=%s" % ("on" if packed else "off")
                    with self.machine(name, "-drive", drive, "-device", device) as m:
                        d = virtio.Device(m.qtest, 5, packed=packed)
                        queue = virtio.Queue(d, 0, RINGS)
                        d.ready()
                        for sector in range(0, 60, 7):
                            status, data = self.block(queue, 0, sector, room=1024)
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

    def test_packets(self):
        for packed in (False, True):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            fd = theirs.fileno()
            os.set_inheritable(fd, True)
            netdev = "dgram,id=n0,local.type=fd,local.str=%d" % fd
            device = "virtio-net-pci,netdev=n0,addr=6,packed=%s" % ("on" if packed else "off")
            with self.machine("q35", "-netdev", netdev, "-device", device, pass_fds=(fd,)) as m:
                ours.settimeout(rhea.PATIENCE)
                d = virtio.Device(m.qtest, 6, packed=packed)
                rx, tx = virtio.Queue(d, 0, RINGS), virtio.Queue(d, 1, RINGS + 0x4000)
                d.ready()
                for i in range(20):
                    frame = bytes([i]) * (60 + 50 * i)
                    m.qtest.write(DATA, bytes(12) + frame)
                    tx.add([(DATA, 12, False), (DATA + 12, len(frame), False)])
                    tx.kick()
                    tx.wait(2)
                    self.assertEqual(ours.recv(2000), frame)
                    rx.add([(DATA + 0x4000, 2048, True)])
                    rx.kick()
                    ours.send(frame)
                    self.assertEqual(rx.wait(1), 12 + len(frame))
                    self.assertEqual(m.qtest.read(DATA + 0x400C, len(frame)), frame)
            ours.close()
            theirs.close()

    def test_broken_ring(self):
        """A ring that breaks the rules stops the device, not the machine."""
        with self.machine("q35", "-device", "virtio-rng-pci,addr=7") as m:
            d = virtio.Device(m.qtest, 7)
            queue = virtio.Queue(d, 0, RINGS)
            d.ready()
            queue.add([(0xFFFFFFFFFFFFF000, 4096, True)])
            queue.kick()
            for _ in range(1000):
                if d.status() & 0x40:
                    break
            self.assertEqual(d.status() & 0x40, 0x40)
            self.assertEqual(m.qmp("query-status")["status"], "running")
            d = virtio.Device(m.qtest, 7)
            queue = virtio.Queue(d, 0, RINGS)
            d.ready()
            queue.add([(DATA, 64, True)])
            queue.kick()
            self.assertEqual(queue.wait(1), 64)


if __name__ == "__main__":
    tap.main()
