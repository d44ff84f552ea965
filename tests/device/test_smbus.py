"""The SMBus controllers of both boards and the memory modules' EEPROMs behind them."""

import unittest

import rhea
import tap
from test_pc import board, pci_read, pci_write

BASE = 0x700
STATUS, CONTROL, COMMAND, ADDRESS, DATA0, DATA1, BLOCK = (BASE + i for i in (0, 2, 3, 4, 5, 6, 7))
START = 0x40
QUICK, BYTE, BYTE_DATA, WORD_DATA, BLOCK_DATA = (i << 2 for i in (0, 1, 2, 3, 5))
DONE, DEVICE_ERROR = 2, 4


def enable(machine, q):
    if machine == "pc":
        pci_write(q, 0x0B, 0x90, BASE | 1)
        q.outl(0xCF8, 0x80000000 | 0x0B << 8 | 0xD0)
        q.outb(0xCFE, 1)
    else:
        pci_write(q, 0xFB, 0x20, BASE)
        pci_write(q, 0xFB, 0x04, 1)
        pci_write(q, 0xFB, 0x40, 1)


def run(q, address, protocol, command=0):
    q.outb(STATUS, 0x1E)
    q.outb(ADDRESS, address)
    q.outb(COMMAND, command)
    q.outb(CONTROL, START | protocol)
    return q.inb(STATUS)


class Smbus(unittest.TestCase):
    def test_presence_detect(self):
        for machine in ("pc", "q35"):
            with self.subTest(machine), board(machine, "-m", "512") as r:
                q = r.qtest
                self.assertEqual(q.inb(STATUS), 0xFF, "off")
                enable(machine, q)
                self.assertEqual(q.inb(STATUS), 0)
                spd = []
                for i in range(64):
                    self.assertEqual(run(q, 0xA1, BYTE_DATA, i), DONE)
                    spd.append(q.inb(DATA0))
                self.assertEqual(spd[:3], [128, 8, 8], "DDR2")
                self.assertEqual(spd[31], 0x80, "512 MiB")
                self.assertEqual(sum(spd[:63]) & 0xFF, spd[63])
                self.assertEqual(run(q, 0xA1, WORD_DATA, 1), DONE)
                self.assertEqual((q.inb(DATA0), q.inb(DATA1)), (8, 8))

    def test_write_and_who_answers(self):
        for machine in ("pc", "q35"):
            with self.subTest(machine), board(machine) as r:
                q = r.qtest
                enable(machine, q)
                answers = [a for a in range(0x08, 0x78) if run(q, a << 1, QUICK) == DONE]
                self.assertEqual(answers, list(range(0x50, 0x58)))
                q.outb(DATA0, 0x5A)
                self.assertEqual(run(q, 0xA2, BYTE_DATA, 7), DONE)
                self.assertEqual(run(q, 0xA3, BYTE_DATA, 7), DONE)
                self.assertEqual(q.inb(DATA0), 0x5A)
                self.assertEqual(run(q, 0xA3, 6 << 2), DEVICE_ERROR, "no such protocol")
                q.outb(DATA0, 200)
                self.assertEqual(run(q, 0xA2, BLOCK_DATA), DEVICE_ERROR, "a block too long")
                r.qmp("system_reset")
                r.qmp.event("RESET")
                enable(machine, q)
                self.assertEqual(run(q, 0xA3, BYTE_DATA, 7), DONE)
                self.assertEqual(q.inb(DATA0), 0)

    def test_addresses_are_unique(self):
        for args, why in (("smbus-eeprom,address=80", "0x50 of bus 'i2c' is taken"),
                          ("smbus-eeprom", "address is missing")):
            status, _, said = rhea.run("-machine", "pc", "-nodefaults", "-display", "none",
                                       "-accel", "qtest", "-device", args)
            self.assertEqual(status, 1)
            self.assertIn(why, said)


if __name__ == "__main__":
    tap.main()
