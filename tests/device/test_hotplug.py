"""Devices that come and go while the machine runs: by ACPI on pc, natively on Express ports."""

import unittest

import rhea
import tap
from test_pc import BARE, board, pci_read, pci_write

UP, DOWN, EJECT, CAN_GO, BUS, INDEX = (0xAE00 + 4 * i for i in range(6))
GPE_STATUS, GPE_ENABLE = 0xAFE0, 0xAFE2
DEVICES = ("virtio-net-pci", "virtio-rng-pci", "edu")


class Acpi(unittest.TestCase):
    def test_plug_and_unplug(self):
        for driver in DEVICES:
            with self.subTest(driver), board("pc") as r:
                q = r.qtest
                pci_write(q, 0x0B, 0x40, 0x601)
                pci_write(q, 0x0B, 0x80, 1)
                q.outb(0xB2, 0xF1)
                q.outw(GPE_ENABLE, 1 << 1)
                q("irq_intercept_in", "ioapic")
                r.qmp("device_add", driver=driver, id="hot", addr="5", **{"acpi-index": 9})
                self.assertEqual(q.inw(GPE_STATUS), 2)
                self.assertTrue(q.irqs.get(9), "SCI")
                self.assertEqual(q.inl(UP), 1 << 5)
                self.assertEqual(q.inl(UP), 0, "read once")
                q.outl(INDEX, 5)
                self.assertEqual(q.inl(INDEX), 9)
                q.outw(GPE_STATUS, 2)
                self.assertFalse(q.irqs[9])
                self.assertNotEqual(pci_read(q, 5 << 3, 0), 0xFFFFFFFF)
                self.assertTrue(q.inl(CAN_GO) & 1 << 5)
                self.assertFalse(q.inl(CAN_GO) & 3, "the chipset stays")
                r.qmp("device_del", id="hot")
                self.assertEqual(q.inl(DOWN), 1 << 5)
                self.assertTrue(q.irqs[9])
                self.assertNotEqual(pci_read(q, 5 << 3, 0), 0xFFFFFFFF, "still there")
                q.outl(EJECT, 1 << 5)
                event = r.qmp.event("DEVICE_DELETED")
                while event["data"].get("device") != "hot":
                    event = r.qmp.event("DEVICE_DELETED")
                self.assertEqual(pci_read(q, 5 << 3, 0), 0xFFFFFFFF)
                self.assertEqual(q.inl(DOWN), 0)
                r.qmp("device_add", driver=driver, id="hot", addr="5")

    def test_guest_can_t_eject_what_stays(self):
        with board("pc") as r:
            q = r.qtest
            q.outl(EJECT, 0xFFFFFFFF)
            q.outl(BUS, 77)
            q.outl(EJECT, 0xFFFFFFFF)
            self.assertEqual(q.inl(CAN_GO), 0)
            q.outl(INDEX, 0xFFFFFFFF)
            q.outl(BUS, 0)
            self.assertEqual(q.inl(INDEX), 0)
            self.assertEqual(pci_read(q, 0x08, 0), 0x70008086)

    def test_reset_completes_a_removal(self):
        with board("pc") as r:
            r.qmp("device_add", driver="edu", id="hot", addr="6")
            r.qmp("device_del", id="hot")
            r.qmp("system_reset")
            self.assertEqual(r.qmp.event("DEVICE_DELETED")["data"]["device"], "hot")
            self.assertEqual(pci_read(r.qtest, 6 << 3, 0), 0xFFFFFFFF)

    def test_root_bus_of_q35_takes_none(self):
        with board("q35") as r:
            with self.assertRaisesRegex(Exception, "does not support hotplugging"):
                r.qmp("device_add", driver="edu", id="hot", bus="pcie.0")


class Native(unittest.TestCase):
    """PCIe 5.0, 6.7: the slot registers of a root port at 04.0, its bus being number 1."""

    PORT = 4 << 3

    def slot(self, q):
        """Offset of Slot Control in the port's configuration."""
        at = pci_read(q, self.PORT, 0x34) & 0xFF
        while at:
            head = pci_read(q, self.PORT, at)
            if head & 0xFF == 0x10:
                return at + 0x18
            at = head >> 8 & 0xFF
        raise AssertionError("no Express capability")

    def behind(self, q):
        q.outl(0xCF8, 0x80000000 | 1 << 16)
        return q.inl(0xCFC)

    def test_plug_and_unplug(self):
        for driver in ("virtio-net-pci", "virtio-rng-pci"):
            with self.subTest(driver), board("q35", "-device",
                                             "pcie-root-port,id=port,addr=4,chassis=1") as r:
                q = r.qtest
                pci_write(q, self.PORT, 0x18, 0x00010100)  # buses 0, 1, 1
                slot = self.slot(q)
                self.assertEqual(self.behind(q), 0xFFFFFFFF)
                r.qmp("device_add", driver=driver, id="hot", bus="port")
                status = pci_read(q, self.PORT, slot) >> 16
                self.assertTrue(status & 0x40, "presence")
                self.assertTrue(status & 0x08, "presence changed")
                self.assertTrue(status & 0x01, "attention button")
                pci_write(q, self.PORT, slot, status << 16 | 0x0100)  # power and indicator on
                self.assertEqual(self.behind(q) & 0xFFFF, 0x1AF4)
                r.qmp("device_del", id="hot")
                self.assertTrue(pci_read(q, self.PORT, slot) >> 16 & 0x01, "attention button")
                pci_write(q, self.PORT, slot, 0x00010000 | 0x0200)  # blinking
                self.assertNotEqual(self.behind(q), 0xFFFFFFFF, "still there")
                pci_write(q, self.PORT, slot, 0x0700)  # both off
                event = r.qmp.event("DEVICE_DELETED")
                while event["data"].get("device") != "hot":
                    event = r.qmp.event("DEVICE_DELETED")
                self.assertEqual(self.behind(q), 0xFFFFFFFF)
                self.assertFalse(pci_read(q, self.PORT, slot) >> 16 & 0x40)
                r.qmp("device_add", driver=driver, id="again", bus="port")

    def test_functions_are_reset_by_their_guest(self):
        with board("q35", "-device", "pcie-root-port,id=port,addr=4,chassis=1", "-device",
                   "virtio-net-pci,bus=port") as r:
            q = r.qtest
            pci_write(q, self.PORT, 0x18, 0x00010100)

            def config(register, value=None):
                q.outl(0xCF8, 0x80000000 | 1 << 16 | register)
                if value is not None:
                    q.outl(0xCFC, value)
                return q.inl(0xCFC)

            caps, at = {}, config(0x34) & 0xFF
            while at:
                caps.setdefault(config(at) & 0xFF, at)
                at = config(at) >> 8 & 0xFF
            config(0x04, 0x06)
            config(0x3C, 0x55)
            config(caps[1] + 4, 3)  # D3hot
            config(caps[1] + 4, 0)
            self.assertEqual(config(0x04) & 0x07, 0, "reset on the way to D0")
            config(0x04, 0x06)
            config(caps[0x10] + 8, 1 << 15)  # function level reset
            self.assertEqual(config(0x04) & 0x07, 0)
            self.assertEqual(config(0) & 0xFFFF, 0x1AF4)

    def test_one_slot_only(self):
        with board("q35", "-device", "pcie-root-port,id=port,chassis=1") as r:
            r.qmp("device_add", driver="virtio-rng-pci", id="a", bus="port")
            with self.assertRaisesRegex(Exception, "no slot is free"):
                r.qmp("device_add", driver="virtio-rng-pci", id="b", bus="port")


if __name__ == "__main__":
    tap.main()
