"""KVM: how fast the guest's first instruction comes, and what an exit for a device costs."""

import os
import signal
import struct
import tempfile
import time

import bench

EXITS = 4000
SECONDS = 30
BIOS_BYTES = 0x10000
BIOS_BASE = 0x100000000 - BIOS_BYTES
CONSOLE = 0xe9


def say(letter):
    return bytes([0xb0, ord(letter), 0xe6, CONSOLE])  # mov al, letter; out console, al


def bios():
    """Firmware that says A at once, then B, C, D round EXITS reads of the keyboard controller's port
    and EXITS reads of an HPET register, in 32-bit mode."""
    gdt = struct.pack("<3Q", 0, 0x00cf9b000000ffff, 0x00cf93000000ffff)
    gdt_at, pointer_at, code_at = 0x100, 0x140, 0x200
    real = say("A")
    real += bytes([0x2e, 0x66, 0x0f, 0x01, 0x16]) + struct.pack("<H", pointer_at)  # lgdt
    real += bytes([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0])  # CR0.PE = 1
    real += bytes([0x66, 0xea]) + struct.pack("<IH", BIOS_BASE + code_at, 8)
    code = bytes([0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8])  # ds = data
    code += say("B") + b"\xb9" + struct.pack("<I", EXITS)
    code += bytes([0xe4, 0x64, 0x49, 0x75, 0xfb])  # in al, 64h; dec ecx; jnz
    code += say("C") + b"\xb9" + struct.pack("<I", EXITS)
    code += bytes([0xa1]) + struct.pack("<I", 0xfed00000) + bytes([0x49, 0x75, 0xf8])
    code += say("D") + bytes([0xf4, 0xeb, 0xfd])
    image = bytearray(BIOS_BYTES)
    image[:len(real)] = real
    image[gdt_at:gdt_at + len(gdt)] = gdt
    image[pointer_at:pointer_at + 6] = struct.pack("<HI", len(gdt) - 1, BIOS_BASE + gdt_at)
    image[code_at:code_at + len(code)] = code
    image[0xfff0:0xfff3] = bytes([0xe9, 0x0d, 0x00])  # jmp 0
    return bytes(image)


def processor_time(pid):
    """Seconds that the threads of a process have run, other processes' turns not counted."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
            total += int(f.read().split()[0])
    return total / 1e9


def measure(program, folder):
    path = os.path.join(folder, "bios")
    with open(path, "wb") as f:
        f.write(bios())
    words = [program.path, "-accel", "kvm", "-machine", "q35", "-cpu", "qemu64", "-m", "64",
             "-nodefaults", "-display", "none", "-bios", path, "-chardev", "stdio,id=out,signal=off",
             "-device", "isa-debugcon,chardev=out,iobase=0x%x" % CONSOLE]
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, write, 1),
               (os.POSIX_SPAWN_DUP2, null, 2)]
    start = time.perf_counter()
    pid = os.posix_spawn(program.path, words, os.environ, file_actions=actions)
    os.close(write)
    os.close(null)
    times = {}
    used = {}
    try:
        while "D" not in times:
            data = os.read(read, 16)
            now = time.perf_counter()
            cpu = processor_time(pid)
            if not data or now - start > SECONDS:
                raise bench.Skip("%s ends before its firmware does" % program.name)
            for letter in data.decode(errors="replace"):
                times.setdefault(letter, now - start)
                used.setdefault(letter, cpu)
    finally:
        os.close(read)
        try:
            os.kill(pid, signal.SIGKILL)
        finally:
            os.waitpid(pid, 0)
    return times["A"], used


@bench.benchmark(
    "kvm",
    bench.Measure("exec to first guest instruction", "ms"),
    bench.Measure("port read", "us"),
    bench.Measure("memory-mapped read", "us"),
    rounds=20,
)
def kvm(program):
    """`-accel kvm -machine q35` with firmware of our own: from exec to what its first instructions write
    to a port; then one read of the keyboard controller's status port and one of an HPET register, each
    with the two instructions of the loop round it: processor time, kernel's included, of four thousand."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise bench.Skip("no /dev/kvm here, or no permission")
    with tempfile.TemporaryDirectory() as folder:
        first, used = measure(program, folder)
    return {
        "exec to first guest instruction": first * 1e3,
        "port read": (used["C"] - used["B"]) * 1e6 / EXITS,
        "memory-mapped read": (used["D"] - used["C"]) * 1e6 / EXITS,
    }
