"""The PC's own devices, by what a guest can see of them."""

import pathlib
import struct
import subprocess
import tempfile
import unittest

import rhea
import tap

BARE = ("-nodefaults", "-display", "none", "-qtest-log", "none")
BOARDS = ("pc", "q35")


def board(machine, *args, **options):
    return rhea.Rhea("-machine", machine, *BARE, *args, qtest=True, **options)


def pci_read(q, devfn, register):
    q.outl(0xCF8, 0x80000000 | devfn << 8 | register)
    return q.inl(0xCFC)


def pci_write(q, devfn, register, value):
    q.outl(0xCF8, 0x80000000 | devfn << 8 | register)
    q.outl(0xCFC, value)


class Timers(unittest.TestCase):
    def test_pit_counts_and_interrupts(self):
        with board("pc") as r:
            q = r.qtest
            q("irq_intercept_in", "ioapic")
            q.outb(0x43, 0x34)  # counter 0, both bytes, rate generator
            q.outb(0x40, 1193 & 0xFF)
            q.outb(0x40, 1193 >> 8)  # 1 ms
            q.clock_step(500_000)
            q.outb(0x43, 0x00)  # latch
            count = q.inb(0x40) | q.inb(0x40) << 8
            self.assertAlmostEqual(count, 1193 / 2, delta=3)
            q.clock_step(499_500)
            self.assertFalse(q.irqs.get(2, True), "low for the last tick")
            q.clock_step(2_000)
            self.assertTrue(q.irqs[2])
            q.outb(0x43, 0xE2)  # read back the status
            self.assertEqual(q.inb(0x40) & 0x3F, 0x34)

    def test_speaker_port_gates_counter_2(self):
        with board("pc") as r:
            q = r.qtest
            q.outb(0x61, 0)
            q.outb(0x43, 0xB0)  # counter 2, interrupt on terminal count
            q.outb(0x42, 100)
            q.outb(0x42, 0)
            q.outb(0x61, 1)
            self.assertEqual(q.inb(0x61) & 0x21, 0x01)
            q.clock_step(100_000)
            self.assertEqual(q.inb(0x61) & 0x21, 0x21)

    def test_hpet_periodic_comparator(self):
        with board("q35") as r:
            q = r.qtest
            base = 0xFED00000
            self.assertEqual(q.readl(base + 4), 10_000_000)  # fs a tick
            q("irq_intercept_in", "ioapic")
            q.writeq(base + 0x100, 2 << 9 | 1 << 6 | 1 << 3 | 1 << 2)  # to 2, periodic, enabled
            q.writeq(base + 0x108, 100_000)  # 1 ms
            q.writel(base + 0x10, 1)
            q.clock_step(1_500_000)
            self.assertEqual(q.readq(base + 0x108), 200_000)
            self.assertEqual(q.readq(base + 0xF0), 150_000)
            self.assertIn(2, q.irqs)

    def test_rtc_with_the_guests_clock(self):
        with board("pc", "-rtc", "base=2006-06-17T16:01:21,clock=vm") as r:
            q = r.qtest

            def cmos(index):
                q.outb(0x70, index)
                return q.inb(0x71)

            self.assertEqual([cmos(i) for i in (0x32, 9, 8, 7, 4, 2, 0)],
                             [0x20, 0x06, 0x06, 0x17, 0x16, 0x01, 0x21])
            q.clock_step(40 * 10**9)
            self.assertEqual((cmos(2), cmos(0)), (0x02, 0x01))
            self.assertEqual(cmos(0x0D), 0x80)
            # Alarm at 16:02:05: flag and interrupt 8.
            q("irq_intercept_in", "ioapic")
            for index, value in ((1, 0x05), (3, 0x02), (5, 0x16), (0x0B, 0x22)):
                q.outb(0x70, index)
                q.outb(0x71, value)
            cmos(0x0C)
            q.clock_step(3 * 10**9)
            self.assertNotIn(8, q.irqs)
            q.clock_step(2 * 10**9)
            self.assertTrue(q.irqs.get(8))
            self.assertEqual(cmos(0x0C) & 0xA0, 0xA0)

    def test_cmos_tells_memory_and_cpus(self):
        with board("pc", "-m", "64", "-smp", "3") as r:
            q = r.qtest

            def cmos(index):
                q.outb(0x70, index)
                return q.inb(0x71)

            self.assertEqual(cmos(0x15) | cmos(0x16) << 8, 640)
            self.assertEqual(cmos(0x34) | cmos(0x35) << 8, 48 * 16)
            self.assertEqual(cmos(0x5F), 2)


class Interrupts(unittest.TestCase):
    def test_pic_priorities_and_poll(self):
        with board("pc") as r:
            q = r.qtest
            for port, words in ((0x20, (0x11, 0x20, 4, 1)), (0xA0, (0x11, 0x28, 2, 1))):
                q.outb(port, words[0])
                for word in words[1:]:
                    q.outb(port + 1, word)
                q.outb(port + 1, 0)
            for line in (5, 3):
                q("set_irq_in", "/machine/pic", "unnamed-gpio-in", line, 1)
            self.assertEqual(q.inb(0x20), 0x28, "both requested")
            q.outb(0x20, 0x0C)  # poll: acknowledges the higher one
            self.assertEqual(q.inb(0x20), 0x83)
            q.outb(0x20, 0x0B)
            self.assertEqual(q.inb(0x20), 0x08, "3 is in service")
            q.outb(0x20, 0x0C)
            self.assertEqual(q.inb(0x20), 0, "5 has to wait")
            q.outb(0x20, 0x20)
            q.outb(0x20, 0x0C)
            self.assertEqual(q.inb(0x20), 0x85)

    def test_ioapic_registers(self):
        with board("q35") as r:
            q = r.qtest

            def register(index, value=None):
                q.writel(0xFEC00000, index)
                if value is not None:
                    q.writel(0xFEC00010, value)
                return q.readl(0xFEC00010)

            self.assertEqual(register(1), 0x00170020)
            self.assertEqual(register(0x10), 0x10000, "masked")
            self.assertEqual(register(0x13, 0xFFFFFFFF), 0xFF000000)
            self.assertEqual(register(0x12, 0xFFFFFFFF), 0x0001AFFF, "status is read-only")


class Input(unittest.TestCase):
    def test_i8042_and_keyboard(self):
        with board("q35") as r:
            q = r.qtest
            q.outb(0x64, 0xAA)
            self.assertEqual(q.inb(0x60), 0x55)
            q.outb(0x60, 0xF2)  # who is it
            answer = []
            while q.inb(0x64) & 1:
                answer.append(q.inb(0x60))
            self.assertEqual(answer, [0xFA, 0xAB, 0x83])
            q.outb(0x64, 0xD4)
            q.outb(0x60, 0xFF)  # reset the mouse
            answer = []
            while q.inb(0x64) & 1:
                self.assertTrue(q.inb(0x64) & 0x20)
                answer.append(q.inb(0x60))
            self.assertEqual(answer, [0xFA, 0xAA, 0x00])

    def test_switched_off(self):
        with board("q35,i8042=off,hpet=off") as r:
            self.assertEqual(r.qtest.inb(0x64), 0xFF)
            self.assertEqual(r.qtest.readl(0xFED00000), 0xFFFFFFFF)


class Serial(unittest.TestCase):
    def test_bytes_go_through(self):
        with board("pc", "-chardev", "ringbuf,id=c", "-device", "isa-serial,chardev=c,index=1") as r:
            q = r.qtest
            for byte in b"Rhea":
                q.outb(0x2F8, byte)
            self.assertEqual(r.qmp("ringbuf-read", device="c", size=16), "Rhea")
            self.assertEqual(q.inb(0x2FD), 0x60)

    def test_loopback_fifo_and_interrupts(self):
        with board("pc", "-serial", "null") as r:
            q = r.qtest
            q.outb(0x3FA, 0xC7)  # FIFOs, trigger at 14
            q.outb(0x3FC, 0x10)  # loop
            q.outb(0x3F9, 0x01)
            for byte in range(13):
                q.outb(0x3F8, byte)
            self.assertEqual(q.inb(0x3FA), 0xC1, "below the trigger")
            q.clock_step(10**9)
            self.assertEqual(q.inb(0x3FA), 0xCC, "timed out")
            self.assertEqual(q.inb(0x3F8), 0)
            q.outb(0x3F8, 13)
            q.outb(0x3F8, 14)
            self.assertEqual(q.inb(0x3FA), 0xC4)
            self.assertEqual([q.inb(0x3F8) for _ in range(14)], list(range(1, 15)))
            self.assertEqual(q.inb(0x3FD) & 1, 0)

    def test_two_ports_can_t_be_one(self):
        status, _, said = rhea.run("-machine", "pc", *BARE, "-accel", "qtest", "-device",
                                   "isa-serial,index=7")
        self.assertEqual(status, 1)
        self.assertIn("index 7 is too high", said)


class Memory(unittest.TestCase):
    def test_nodes_of_backends_are_one_behind_the_other(self):
        for machine in BOARDS:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "second"
                with board(machine, "-m", "96",
                           "-object", "memory-backend-ram,id=a,size=32M",
                           "-object", "memory-backend-file,id=b,size=64M,share=on,mem-path=%s" % path,
                           "-numa", "node,memdev=a", "-numa", "node,memdev=b") as r:
                    q = r.qtest
                    q.write(0x1FFFFFC, b"end.next")
                    self.assertEqual(q.read(0x1FFFFFC, 8), b"end.next")
                    self.assertEqual(path.read_bytes()[:4], b"next")
                    q.write(0x5FFFFFF, b"!")
                    self.assertEqual(path.read_bytes()[-1:], b"!")
                    self.assertEqual(q.readb(0x6000000), 0xFF)

    def test_options_of_the_default_memory(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "ram"
            with board("pc,dump-guest-core=off,mem-merge=off", "-m", "32", "-mem-path", path,
                       "-mem-prealloc") as r:
                r.qtest.write(0x1000, b"Rhea")
                self.assertEqual(path.read_bytes()[0x1000:0x1004], b"Rhea")
                self.assertEqual(path.stat().st_blocks * 512, 32 << 20)
                memory = r.qmp("query-memdev")[0]
                self.assertEqual((memory["id"], memory["size"], memory["merge"], memory["dump"],
                                  memory["prealloc"]), ("pc.ram", 32 << 20, False, False, True))

    def test_contradictions(self):
        ram = ("-object", "memory-backend-ram,id=a,size=64M")
        for args, why in (
                (("-m", "64", *ram, "-numa", "node,memdev=a", "-numa", "node"), "for all nodes"),
                (("-m", "128", *ram, "-numa", "node,memdev=a"), "total memory of the nodes"),
                (("-m", "128", *ram, "-numa", "node,memdev=a", "-numa", "node,memdev=a"),
                 "already"),
                (("-m", "64", "-mem-prealloc", *ram, "-numa", "node,memdev=a"), "exclude"),
                (("-m", "64", "-mem-path", "/tmp", *ram, "-machine", "memory-backend=a"), "exclude"),
                (("-m", "64", *ram, "-machine", "memory-backend=a", "-numa", "node,memdev=a"),
                 "exclude"),
                (("-m", "64", "-mem-path", "/nonexistent/x"), "/nonexistent"),
                (("-m", "32", *ram, "-machine", "memory-backend=a"), "but -m asks for"),
                (("-machine", "none", "-mem-prealloc"), "has no memory")):
            status, _, said = rhea.run("-machine", "pc", *BARE, "-accel", "qtest", *args)
            with self.subTest(why, said=said):
                self.assertEqual(status, 1)
                self.assertIn(why, said)


class Chipset(unittest.TestCase):
    def test_identity(self):
        expected = {"pc": {0x00: 0x12378086, 0x08: 0x70008086, 0x0B: 0x71138086},
                    "q35": {0x00: 0x29C08086, 0xF8: 0x29188086}}
        for machine, devices in expected.items():
            with board(machine) as r:
                for devfn, value in devices.items():
                    self.assertEqual(pci_read(r.qtest, devfn, 0), value)

    def test_pam_switches_between_rom_and_memory(self):
        for machine, register in (("pc", 0x58), ("q35", 0x90)):
            shift = 8 if machine == "pc" else 0
            with board(machine) as r:
                q = r.qtest
                first = q.readb(0xFFFF0)
                q.writeb(0xFFFF0, first ^ 0xFF)
                self.assertEqual(q.readb(0xFFFF0), first, "ROM")
                pci_write(q, 0, register, 0x30 << shift)
                q.writeb(0xFFFF0, 0x5A)
                self.assertEqual(q.readb(0xFFFF0), 0x5A, "memory")
                pci_write(q, 0, register, 0x10 << shift)
                q.writeb(0xFFFF0, 0xA5)
                self.assertEqual(q.readb(0xFFFF0), 0x5A, "write-protected")

    def test_ecam(self):
        with board("q35") as r:
            q = r.qtest
            pci_write(q, 0, 0x60, 0xB0000001)
            self.assertEqual(q.readl(0xB0000000), 0x29C08086)
            self.assertEqual(q.readl(0xB0000000 + (0xF8 << 12)), 0x29188086)

    def test_power_off_and_reset(self):
        for machine, devfn in (("pc", 0x0B), ("q35", 0xF8)):
            with board(machine) as r:
                q = r.qtest
                pci_write(q, devfn, 0x40, 0x601)
                if machine == "pc":
                    pci_write(q, devfn, 0x80, 1)
                else:
                    pci_write(q, devfn, 0x44, 0x80)
                start = q.inl(0x608)
                q.clock_step(1_000_000)
                self.assertAlmostEqual(q.inl(0x608) - start, 3579, delta=2)
                q.outb(0xCF9, 0x06)
                self.assertTrue(r.qmp.event("RESET")["data"]["guest"])
                self.assertEqual(q.inw(0x604), 0xFFFF, "gone with the reset")
                pci_write(q, devfn, 0x40, 0x601)
                pci_write(q, devfn, 0x80 if machine == "pc" else 0x44,
                          1 if machine == "pc" else 0x80)
                q.outw(0x604, 0x2000)
                self.assertEqual(r.qmp.event("SHUTDOWN")["data"]["reason"], "guest-shutdown")
                self.assertEqual(r.wait(), 0)

    def test_power_button_raises_the_sci(self):
        with board("q35") as r:
            q = r.qtest
            pci_write(q, 0xF8, 0x40, 0x601)
            pci_write(q, 0xF8, 0x44, 0x80)
            q("irq_intercept_in", "ioapic")
            q.outb(0xB2, 0x02)
            self.assertEqual(q.inw(0x604) & 1, 1, "ACPI is on")
            q.outw(0x602, 0x0100)
            r.qmp("system_powerdown")
            r.qmp.event("POWERDOWN")
            self.assertEqual(q.inw(0x600), 0x0100)
            self.assertTrue(q.irqs[9])
            q.outw(0x600, 0x0100)
            self.assertEqual(q.inw(0x600), 0)
            self.assertFalse(q.irqs[9])

    def test_debug_exit(self):
        with board("pc", "-device", "isa-debug-exit,iobase=0xf4") as r:
            r.qtest.outb(0xF4, 3)
            self.assertEqual(r.wait(), 7)


class Errors(unittest.TestCase):
    def test_injected_by_the_monitor(self):
        """Advanced error reporting: the device's status, and the root port's."""
        with board("q35", "-device", "pcie-root-port,id=rp,chassis=1,addr=4", "-device",
                   "virtio-rng-pci,id=d,bus=rp,aer=on", "-device", "edu,id=e") as r:
            q = r.qtest
            pci_write(q, 0x20, 0x18, 0x00010100)
            pci_write(q, 0, 0x60, 0xB0000001)
            base = 0xB0000000 + (1 << 20)
            aer = base + 0x100
            while q.readl(aer) & 0xFFFF != 1:
                aer = base + (q.readl(aer) >> 20)

            def inject(text):
                return r.qmp("human-monitor-command",
                             **{"command-line": "pcie_aer_inject_error " + text}).strip()

            self.assertIn("OK id: d", inject("d POISON_TLP 1 2 3 4"))
            self.assertEqual(q.readl(aer + 4), 1 << 12)
            # The header's first byte is the log's highest (PCIe 5.0, 7.8.4.8).
            self.assertEqual([q.readl(aer + 0x1C + 4 * i) for i in range(4)],
                             [i << 24 for i in (1, 2, 3, 4)])
            self.assertIn("uncorrectable error 0x1000", inject("d 0x1000"))
            self.assertIn(" correctable error 0x40", inject("-c d 0x40"))
            self.assertTrue(q.readl(aer + 0x10) & 0x40)
            for text, why in (("d nonsense", "neither the name"), ("x DLP", "not found"),
                              ("d 3", "not one uncorrectable"), ("e DLP", "not a PCI Express")):
                self.assertIn(why, inject(text))


class FwCfg(unittest.TestCase):
    def test_files_by_port_and_by_dma(self):
        with board("pc", "-fw_cfg", "opt/test/a,string=hello") as r:
            q = r.qtest
            q.outw(0x510, 0)
            self.assertEqual(bytes(q.inb(0x511) for _ in range(4)), b"QEMU")
            q.outw(0x510, 0x19)
            data = bytes(q.inb(0x511) for _ in range(4))
            count = struct.unpack(">I", data)[0]
            files = {}
            for _ in range(count):
                entry = bytes(q.inb(0x511) for _ in range(64))
                size, key = struct.unpack(">IH", entry[:6])
                files[entry[8:].rstrip(b"\0").decode()] = (size, key)
            self.assertEqual(list(files), sorted(files))
            self.assertIn("etc/acpi/tables", files)
            size, key = files["opt/test/a"]
            self.assertEqual(size, 5)
            # Seven bytes: zeroes behind the end.
            q.write(0x1000, struct.pack(">IIQ", key << 16 | 0x0A, 7, 0x2000))
            q.write(0x2000, b"\xff" * 8)
            q.outl(0x514, 0)
            q.outl(0x518, int.from_bytes(struct.pack(">I", 0x1000), "little"))
            self.assertEqual(q.read(0x2000, 8), b"hello\0\0\xff")
            self.assertEqual(q.read(0x1000, 4), b"\0\0\0\0")

    def test_names_are_checked(self):
        status, _, said = rhea.run("-machine", "pc", *BARE, "-accel", "qtest", "-fw_cfg",
                                   "opt/a,string=x", "-fw_cfg", "opt/a,string=y")
        self.assertEqual(status, 1)
        self.assertIn("exists already", said)


def bzimage(code=b"\xf4" * 4096, version=0x20F, init_size=0x4000):
    """A kernel of the smallest kind that the boot protocol allows."""
    head = bytearray(2 * 512)
    head[0x1F1] = 1
    struct.pack_into("<I", head, 0x1F4, (len(code) + 15) // 16)
    struct.pack_into("<H", head, 0x1FE, 0xAA55)
    head[0x201] = 0x6A
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    head[0x211] = 1
    struct.pack_into("<I", head, 0x22C, 0x7FFFFFFF)
    struct.pack_into("<I", head, 0x230, 0x200000)
    head[0x234] = 1
    struct.pack_into("<H", head, 0x236, 1)
    struct.pack_into("<I", head, 0x238, 2047)
    struct.pack_into("<Q", head, 0x258, 0x1000000)
    struct.pack_into("<I", head, 0x260, init_size)
    return bytes(head) + code


class DirectBoot(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, data):
        path = pathlib.Path(self.folder.name) / name
        path.write_bytes(data)
        return str(path)

    def test_linux_finds_its_parameters(self):
        kernel = self.file("kernel", bzimage(b"code" * 1024))
        initrd = self.file("initrd", b"ramdisk" * 1000)
        with board("q35", "-m", "64", "-kernel", kernel, "-initrd", initrd, "-append",
                   "a=b,c d") as r:
            q = r.qtest
            zp = q.read(0x7000, 4096)
            self.assertEqual(zp[0x202:0x206], b"HdrS")
            address, size = struct.unpack_from("<II", zp, 0x218)
            self.assertEqual(q.read(address, size), b"ramdisk" * 1000)
            cmdline = struct.unpack_from("<I", zp, 0x228)[0]
            self.assertEqual(q.read(cmdline, 8), b"a=b,c d\0")
            self.assertEqual(q.read(0x1000000, 4096), b"code" * 1024)
            count = zp[0x1E8]
            ram = sum(length for start, length, kind in
                      struct.iter_unpack("<QQI", zp[0x2D0:0x2D0 + 20 * count]) if kind == 1)
            self.assertGreater(ram, 63 << 20)
            # And again after a reset, though the guest has overwritten it.
            q.write(0x1000000, b"\0" * 4096)
            r.qmp("system_reset")
            r.qmp.event("RESET")
            self.assertEqual(q.read(0x1000000, 4096), b"code" * 1024)

    def refused(self, *args):
        status, _, said = rhea.run("-machine", "q35", *BARE, "-accel", "qtest", *args)
        self.assertEqual(status, 1)
        self.assertEqual(len(said.strip().splitlines()), 1, said)
        return said

    def test_images_that_are_none(self):
        self.assertIn("is not a kernel", self.refused("-kernel", self.file("k", b"nothing" * 99)))
        self.assertIn("is not a kernel", self.refused("-kernel", self.file("k", b"")))
        self.assertIn("truncated", self.refused("-kernel", self.file("k", bzimage()[:-100])))
        self.assertIn("too big", self.refused(
            "-m", "16", "-kernel", self.file("k", bzimage(init_size=0x8000000))))
        self.assertIn("initrd", self.refused(
            "-m", "32", "-kernel", self.file("k", bzimage()), "-initrd",
            self.file("i", b"\0" * (20 << 20))))
        self.assertIn("characters", self.refused(
            "-kernel", self.file("k", bzimage()), "-append", "x" * 3000))
        elf = bytearray(64)
        elf[:16] = b"\x7fELF\x02\x01\x01" + b"\0" * 9
        struct.pack_into("<HHIQQQIHHHH", elf, 16, 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0)
        note = struct.pack("<IIQQQQQQ", 4, 4, 0, 0, 0, 0, 0, 4)
        self.assertIn("PVH", self.refused("-kernel", self.file("k", bytes(elf) + note)))
        self.assertIn("truncated", self.refused("-kernel", self.file("k", bytes(elf))))

    def test_multiboot_with_a_module(self):
        header = struct.pack("<IIIIIIII", 0x1BADB002, 0x10001, -(0x1BADB002 + 0x10001) & 0xFFFFFFFF,
                             0x100000, 0x100000, 0, 0, 0x100020)
        kernel = self.file("k", header + b"\xf4" * 100)
        module = self.file("m", b"module!")
        with board("pc", "-kernel", kernel, "-initrd", module + " arg", "-append", "x") as r:
            q = r.qtest
            info = q.read(0x7000, 96)
            self.assertEqual(struct.unpack_from("<I", info)[0] & 0x4D, 0x4D)
            count, table = struct.unpack_from("<II", info, 20)
            self.assertEqual(count, 1)
            start, end, text = struct.unpack("<III", q.read(table, 12))
            self.assertEqual(q.read(start, end - start), b"module!")
            self.assertTrue(q.read(text, 200).startswith(module.encode() + b" arg\0"))

    def tables(self, q):
        found = {}

        def table(address):
            return q.read(address, struct.unpack("<I", q.read(address + 4, 4))[0])

        rsdp = q.read(0xF0000, 36)
        self.assertEqual(rsdp[:8], b"RSD PTR ")
        self.assertEqual((sum(rsdp[:20]) & 0xFF, sum(rsdp) & 0xFF), (0, 0))
        xsdt = table(struct.unpack_from("<Q", rsdp, 24)[0])
        for at in range(36, len(xsdt), 8):
            data = table(struct.unpack_from("<Q", xsdt, at)[0])
            found[data[:4].decode()] = data
        found["DSDT"] = table(struct.unpack_from("<Q", found["FACP"], 140)[0])
        for name, data in found.items():
            self.assertEqual(sum(data) & 0xFF, 0, name)
        return found

    def test_iasl_likes_the_tables(self):
        for machine in BOARDS:
            with board(machine, "-m", "128", "-smp", "4,sockets=2", "-numa", "node", "-serial",
                       "null", "-kernel", self.file("k", bzimage())) as r:
                found = self.tables(r.qtest)
            wanted = {"FACP", "APIC", "HPET", "SRAT", "DSDT"} | ({"MCFG"} if machine == "q35" else set())
            self.assertEqual(set(found), wanted)
            for name, data in found.items():
                path = self.file("%s-%s.dat" % (machine, name), data)
                done = subprocess.run(["iasl", "-d", path], capture_output=True, text=True,
                                      cwd=self.folder.name)
                said = done.stdout + done.stderr
                self.assertEqual(done.returncode, 0, said)
                self.assertNotRegex(said, "(?i)warning|error")
            done = subprocess.run(["iasl", "%s-DSDT.dsl" % machine], capture_output=True, text=True,
                                  cwd=self.folder.name)
            self.assertIn("0 Errors, 0 Warnings", done.stdout, done.stdout + done.stderr)


if __name__ == "__main__":
    tap.main()
