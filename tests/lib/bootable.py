"""Disks and CDs that firmware boots: a few instructions that say a text on a port."""

import struct

SERIAL_PORT = 0x3F8
DEBUG_PORT = 0xE9
EXIT_PORT = 0xF4  # where -device isa-debug-exit is expected


def sector(text, port):
    """16-bit code: each byte to the port, then 16 to the exit port, then stand still."""
    code = bytearray(b"\x31\xc0\x8e\xd8\xbe\0\0\xba" + struct.pack("<H", port) +  # ds = 0, si, dx
                     b"\xac\x84\xc0\x74\x03\xee\xeb\xf8" +  # lodsb; out dx, al; until 0
                     b"\xba" + struct.pack("<H", EXIT_PORT) + b"\xb0\x10\xee\xf4\xeb\xfd")
    struct.pack_into("<H", code, 5, 0x7C00 + len(code))
    code += text.encode() + b"\0"
    return bytes(code.ljust(510, b"\0")) + b"\x55\xaa"


def disk(text, port):
    return sector(text, port).ljust(1 << 20, b"\0")


def cd(text, port):
    """ISO 9660 with an El Torito catalogue: one image without emulation."""
    sectors = {16: b"\1CD001\1", 17: b"\0CD001\1EL TORITO SPECIFICATION".ljust(0x47, b"\0") +
               struct.pack("<I", 19), 18: b"\xffCD001\1"}
    validation = bytearray(b"\1\0\0\0".ljust(30, b"\0") + b"\x55\xaa")
    struct.pack_into("<H", validation, 0x1C, -sum(struct.unpack("<16H", validation)) & 0xFFFF)
    entry = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 20)
    sectors[19] = bytes(validation) + entry
    sectors[20] = sector(text, port)
    return b"".join(sectors.get(i, b"").ljust(2048, b"\0") for i in range(64))
