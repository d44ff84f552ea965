"""NICs with real packets through the host: taps of the kernel, the user-mode network, captures, hot plug."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import rhea
import tap as tap_report
import virtio

DATA, RINGS = 0x200000, 0x100000
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 2, 0x1000, 0x4000
ETH_P_ALL = 3
# Feature bits of the NIC
CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, STATUS, CTRL_VQ, MQ = 0, 1, 7, 11, 15, 16, 17, 22
HASH_REPORT, RSS = 57, 60

HELPER = """#!%s
import array, fcntl, os, socket, struct, sys
words = dict(w[2:].split("=", 1) for w in sys.argv[1:] if "=" in w)
if words["br"] != "br7":
    sys.exit("this bridge is not allowed: " + words["br"])
fd = os.open("/dev/net/tun", os.O_RDWR)
flags = 0x5002 if "--use-vnet" in sys.argv else 0x1002
fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"helped", flags))
sock = socket.socket(fileno=int(words["fd"]))
socket.send_fds(sock, [b"x"], [fd])
""" % sys.executable


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def ip_checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol, source, target, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", ip_checksum(head)) + head[12:] + payload


def udp(source, target, sport, dport, payload):
    return ipv4(17, source, target, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload)


class Nic:
    """A driver of one NIC: queues of all pairs, frames in and out."""

    def __init__(self, machine, slot=6, features=0, pairs=1, **options):
        self.m = machine
        self.d = virtio.Device(machine.qtest, slot, features=features, **options)
        self.rx = [virtio.Queue(self.d, 2 * i, RINGS + 0x8000 * i) for i in range(pairs)]
        self.tx = [virtio.Queue(self.d, 2 * i + 1, RINGS + 0x8000 * i + 0x4000) for i in range(pairs)]
        # Behind all pairs there are where the driver knows of several.
        if features >> CTRL_VQ & 1:
            count = self.d.config_r(8, 2) if features >> MQ & 1 or features >> RSS & 1 else 1
            self.control = virtio.Queue(self.d, 2 * count, RINGS + 0x40000)
        self.d.ready()

    def send(self, frame, header=bytes(12), pair=0):
        self.m.qtest.write(DATA, header + frame)
        self.tx[pair].add([(DATA, len(header) + len(frame), False)])
        self.tx[pair].kick()
        self.tx[pair].wait()

    def offer(self, pair=0, size=4096):
        self.rx[pair].add([(DATA + 0x20000 + 0x10000 * pair, size, True)])
        self.rx[pair].kick()

    def take(self, pair=0):
        length = self.rx[pair].wait()
        return self.m.qtest.read(DATA + 0x20000 + 0x10000 * pair, length)

    def receive(self, pair=0):
        self.offer(pair)
        return self.take(pair)

    def command(self, klass, command, data):
        self.m.qtest.write(DATA + 0x10000, bytes([klass, command]) + data)
        self.control.add([(DATA + 0x10000, 2 + len(data), False), (DATA + 0x11000, 1, True)])
        self.control.kick()
        self.control.wait(2)
        return self.m.qtest.readb(DATA + 0x11000)


def machine(*args, **options):
    return rhea.Rhea("-M", "q35", "-nodefaults", "-m", "64M", "-display", "none", *args, qtest=True,
                     **options)


class Tap(unittest.TestCase):
    """In a network of our own, so that nothing of the host's is touched."""

    @classmethod
    def setUpClass(cls):
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise unittest.SkipTest("no right to make a network namespace")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise unittest.SkipTest("/dev/net/tun can't be opened")
        run("ip", "link", "set", "lo", "up")  # the tests behind these have this network too

    def open(self, name):
        run("ip", "link", "set", name, "up", "address", "52:54:00:00:00:99")
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind((name, 0))
        sock.settimeout(rhea.PATIENCE)
        return sock

    @staticmethod
    def next(sock, kind):
        while True:
            frame = sock.recv(1 << 17)
            if frame[12:14] == kind:
                return frame

    def test_frames_both_ways(self):
        for header in ("on", "off"):
            with machine("-netdev", "tap,id=t,ifname=t0,script=no,downscript=no,vnet_hdr=" + header,
                         "-device", "virtio-net-pci,netdev=t,addr=6") as m:
                with self.open("t0") as sock:
                    nic = Nic(m)
                    frame = b"\xff" * 6 + b"\x52\x54\0\0\0\1" + b"\x88\xb5" + bytes(range(100))
                    nic.send(frame)
                    self.assertEqual(self.next(sock, b"\x88\xb5"), frame)
                    answer = b"\x52\x54\0\0\0\1" + b"\x52\x54\0\0\0\x99" + b"\x88\xb6" + bytes(64)
                    sock.send(answer)
                    while nic.receive()[24:26] != b"\x88\xb6":
                        pass
                self.assertIn("type=tap,ifname=t0", m.qmp.hmp("info network"))

    def test_offloads(self):
        """A long segment goes through whole; what the host leaves undone reaches the guest."""
        with machine("-netdev", "tap,id=t,ifname=t1,script=no,downscript=no", "-device",
                     "virtio-net-pci,netdev=t,addr=6,mac=52:54:00:00:00:01") as m:
            with self.open("t1") as sock:
                run("ip", "addr", "add", "10.9.0.1/24", "dev", "t1")
                run("ip", "neigh", "add", "10.9.0.2", "lladdr", "52:54:00:00:00:01", "dev", "t1")
                nic = Nic(m, features=sum(1 << b for b in (CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4)))
                payload = bytes(i & 0xFF for i in range(20000))
                segment = struct.pack("!HHIIBBHHH", 5000, 6000, 1, 1, 0x50, 0x10, 1000, 0, 0) + payload
                frame = b"\x52\x54\0\0\0\x99" + b"\x52\x54\0\0\0\1" + b"\x08\0" + \
                    ipv4(6, "10.9.0.2", "10.9.0.1", segment)
                # needs checksum, TCPv4, header 54 bytes, 1448 each, sum from 34 on at +16
                nic.send(frame, struct.pack("<BBHHHHH", 1, 1, 54, 1448, 34, 16, 0))
                got = self.next(sock, b"\x08\0")
                self.assertEqual((len(got), got[54:]), (len(frame), payload))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                    nic.offer()
                    out.sendto(b"to the guest", ("10.9.0.2", 7))
                    while True:
                        data = nic.take()
                        if data[12 + 12:12 + 14] == b"\x08\0" and data.endswith(b"to the guest"):
                            break
                        nic.offer()
                    flags, _, _, _, start, offset = struct.unpack_from("<BBHHHH", data)
                    self.assertEqual((flags & 1, start, offset), (1, 34, 6))

    def test_queues_and_hashes(self):
        """Several pairs, and frames spread over them by their addresses."""
        with machine("-netdev", "tap,id=t,ifname=t2,script=no,downscript=no,queues=2", "-device",
                     "virtio-net-pci,netdev=t,addr=6,mq=on,rss=on,hash=on,mac=52:54:00:00:00:01") as m:
            with self.open("t2") as sock:
                nic = Nic(m, pairs=2, features=sum(1 << b for b in (CTRL_VQ, MQ, RSS, HASH_REPORT)))
                self.assertEqual(nic.d.config_r(8, 2), 2)
                self.assertEqual(nic.command(4, 0, struct.pack("<H", 2)), 0)
                self.assertEqual(nic.command(4, 0, struct.pack("<H", 3)), 1)
                key = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c"
                                    "6a42b73bbeac01fa")
                table = struct.pack("<IHH2HHB", 1 << 2, 1, 0, 0, 1, 2, 40) + key
                self.assertEqual(nic.command(4, 1, table), 0)
                # The example of the hash's definition: 66.9.149.187:2794 to 161.142.100.80:1766.
                want = 0x51CCC178
                frame = b"\x52\x54\0\0\0\1" + b"\x52\x54\0\0\0\x99" + b"\x08\0" + \
                    udp("66.9.149.187", "161.142.100.80", 2794, 1766, b"hash me")
                pair = want & 1
                for i in (0, 1):
                    nic.offer(i)
                for _ in range(40):
                    sock.send(frame)
                    length = nic.rx[pair].wait()
                    data = m.qtest.read(DATA + 0x20000 + 0x10000 * pair, length)
                    if data.endswith(b"hash me"):
                        break
                    nic.offer(pair)
                value, report = struct.unpack_from("<IH", data, 12)
                self.assertEqual((hex(value), report), (hex(want), 3))

    def test_helper_and_descriptor(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "helper")
            with open(path, "w") as out:
                out.write(HELPER)
            os.chmod(path, 0o755)
            for netdev in ("tap,id=t,br=br7,helper=" + path, "bridge,id=t,br=br7,helper=" + path):
                with machine("-netdev", netdev, "-device", "virtio-net-pci,netdev=t,addr=6") as m:
                    self.assertIn("ifname=helped", m.qmp.hmp("info network"))
                    with self.open("helped") as sock:
                        frame = b"\xff" * 6 + bytes(6) + b"\x88\xb5" + bytes(60)
                        Nic(m).send(frame)
                        self.assertEqual(self.next(sock, b"\x88\xb5"), frame)
            status, _, said = rhea.run("-M", "none", "-netdev", "bridge,id=t,br=br8,helper=" + path)
            self.assertEqual(status, 1)
            self.assertIn("this bridge is not allowed: br8", said)
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"given", IFF_TAP | IFF_NO_PI))
        with machine("-netdev", "tap,id=t,fd=%d" % fd, "-device", "virtio-net-pci,netdev=t,addr=6",
                     pass_fds=(fd,)) as m:
            os.close(fd)
            self.assertIn("ifname=given", m.qmp.hmp("info network"))


class User(unittest.TestCase):
    GUEST = b"\x52\x54\0\x12\x34\x56"

    def arp_reply(self, nic, ask):
        """ask: a request for our address."""
        nic.send(ask[6:12] + self.GUEST + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) +
                 self.GUEST + ask[38:42] + ask[22:32] + bytes(18))

    def answer(self, nic, wanted):
        """The next frame that wanted() takes; requests for our address are answered."""
        while True:
            frame = nic.receive()[12:]
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and \
                    frame[38:42] == socket.inet_aton("10.0.2.15"):
                self.arp_reply(nic, frame)
            elif wanted(frame):
                return frame

    def test_services(self):
        """DHCP with the boot file, TFTP, a forward from the host, and the captured frames."""
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "hello"), "w") as out:
                out.write("hello")
            capture = os.path.join(folder, "pcap")
            with machine("-netdev", "user,id=u,tftp=%s,bootfile=boot.0,hostname=me,dnssearch=a.test,"
                         "hostfwd=tcp:127.0.0.1:0-:22" % folder,
                         "-object", "filter-dump,id=f,netdev=u,file=" + capture,
                         "-device", "virtio-net-pci,netdev=u,addr=6") as m:
                nic = Nic(m)
                dhcp = struct.pack("!BBBBIHH4s4s4s4s16s64s128sI", 1, 1, 6, 0, 77, 0, 0, bytes(4),
                                   bytes(4), bytes(4), bytes(4), self.GUEST, b"", b"", 0x63825363)
                dhcp += b"\x35\1\1\xff"
                nic.send(b"\xff" * 6 + self.GUEST + b"\x08\0" +
                         udp("0.0.0.0", "255.255.255.255", 68, 67, dhcp))
                offer = self.answer(nic, lambda f: f[23:24] == b"\x11" and f[36:38] == b"\0\x44")
                self.assertEqual(socket.inet_ntoa(offer[42 + 16:42 + 20]), "10.0.2.15")
                self.assertIn(b"boot.0", offer)
                gateway = offer[6:12]
                nic.send(gateway + self.GUEST + b"\x08\0" +
                         udp("10.0.2.15", "10.0.2.2", 3000, 69, b"\0\1hello\0octet\0"))
                data = self.answer(nic, lambda f: f[23:24] == b"\x11" and f[36:38] == b"\x0b\xb8")
                self.assertEqual(data[42:51], b"\0\3\0\1hello")
                text = m.qmp.hmp("info usernet")
                port = int([line for line in text.splitlines() if "HOST_FORWARD" in line][0].split()[3])
                with socket.socket() as out:
                    out.setblocking(False)
                    out.connect_ex(("127.0.0.1", port))
                    syn = self.answer(nic, lambda f: f[23:24] == b"\6")
                    self.assertEqual((syn[36:38], syn[47] & 2), (b"\0\x16", 2))
                self.assertEqual(m.qmp.hmp("hostfwd_remove u tcp:127.0.0.1:%d" % port).strip(), "")
                self.assertNotIn("HOST_FORWARD", m.qmp.hmp("info usernet"))
            with open(capture, "rb") as f:
                self.assertEqual(struct.unpack("<I", f.read(4))[0], 0xA1B2C3D4)
                self.assertIn(b"hello", f.read())


class Plug(unittest.TestCase):
    def test_plug_and_unplug(self):
        """A NIC comes behind a root port, is used, and goes when the guest lets it go."""
        with machine("-device", "pcie-root-port,id=r1,chassis=1,addr=3") as m:
            pci = virtio.Pci(m.qtest, 3)
            pci.write32(0x18, 0x00010100)  # secondary bus 1
            pci.write(4, 7, 2)
            slot = next(at for at, kind in pci.capabilities() if kind == 0x10)
            for _ in range(2):
                m.qmp("netdev_add", type="hubport", id="h", hubid=0)
                m.qmp("device_add", driver="virtio-net-pci", id="n", bus="r1", netdev="h")
                self.assertTrue(pci.read(slot + 0x1A, 2) & 0x40)  # presence
                pci.write(slot + 0x18, 0x0100, 2)  # the guest turns power and its indicator on
                self.assertEqual(virtio.Pci(m.qtest, 0, bus=1).read(2, 2), 0x1041)
                with self.assertRaises(rhea.QmpError):
                    m.qmp("device_add", driver="virtio-rng-pci", bus="r1")
                m.qmp("device_del", id="n")
                self.assertTrue(pci.read(slot + 0x1A, 2) & 1)  # attention button
                pci.write(slot + 0x1A, 0x1F, 2)
                # The guest turns power and its indicator off.
                pci.write(slot + 0x18, 0x0700, 2)
                m.qmp.event("DEVICE_DELETED")
                self.assertEqual(virtio.Pci(m.qtest, 0, bus=1).read32(0), 0xFFFFFFFF)
                m.qmp("netdev_del", id="h")
                with self.assertRaises(rhea.QmpError):
                    m.qmp("netdev_del", id="h")


if __name__ == "__main__":
    tap_report.main()
