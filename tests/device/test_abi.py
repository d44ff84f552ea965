"""What a guest sees of each machine version, against golden text: a change shows up in review.

RHEA_GOLDEN=write makes the files anew.
"""

import os
import struct
import unittest

import rhea
import tap

GOLDEN = rhea.SOURCE / "tests" / "golden"
BARE = ("-nodefaults", "-display", "none", "-qtest-log", "none")
VERSIONS = ("pc-i440fx-7.2", "pc-q35-7.2")


def config(q, devfn):
    words = []
    for register in range(0, 256, 4):
        q.outl(0xCF8, 0x80000000 | devfn << 8 | register)
        words.append(q.inl(0xCFC))
    return struct.pack("<64I", *words)


def pci_lines(q):
    for devfn in range(256):
        space = config(q, devfn)
        vendor, device = struct.unpack_from("<HH", space)
        if vendor == 0xFFFF:
            continue
        prog, klass = struct.unpack_from("<BH", space, 9)
        sub = struct.unpack_from("<HH", space, 0x2C)
        yield "%02x.%x %04x:%04x rev %02x class %04x%02x header %02x subsystem %04x:%04x pin %d" % (
            devfn >> 3, devfn & 7, vendor, device, space[8], klass, prog, space[14], *sub,
            space[0x3D])
        at = space[0x34] if space[6] & 0x10 else 0
        while at:
            yield "     capability %02x at %02x" % (space[at], at)
            at = space[at + 1]


def fw_cfg_lines(q):
    q.outw(0x510, 0x19)
    count = struct.unpack(">I", bytes(q.inb(0x511) for _ in range(4)))[0]
    for _ in range(count):
        entry = bytes(q.inb(0x511) for _ in range(64))
        size, key = struct.unpack(">IH", entry[:6])
        name = entry[8:].rstrip(b"\0").decode()
        # The program's own version is in these: their sizes are no promise.
        yield "fw_cfg %02x %s%s" % (key, name, "" if "smbios" in name else " %d" % size)


def port_lines(q):
    """Which ports of the ISA space answer."""
    for port in (0x20, 0x40, 0x60, 0x61, 0x64, 0x71, 0x92, 0xA0, 0xB2, 0x3F8, 0x4D0, 0x510,
                 0xCF9):
        yield "port %03x %s" % (port, "yes" if q.inb(port) != 0xFF else "no")


class Abi(unittest.TestCase):
    maxDiff = None

    def test_versions(self):
        for version in VERSIONS:
            with rhea.Rhea("-machine", version, *BARE, "-m", "256", "-smp", "2", qtest=True) as r:
                q = r.qtest
                text = "\n".join([*pci_lines(q), *fw_cfg_lines(q), *port_lines(q)]) + "\n"
            path = GOLDEN / (version + ".txt")
            if os.environ.get("RHEA_GOLDEN") == "write":
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            with self.subTest(version):
                self.assertEqual(text, path.read_text())


if __name__ == "__main__":
    tap.main()
