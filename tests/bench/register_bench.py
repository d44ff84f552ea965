"""How long a device's register takes through the test protocol, there and back."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

import bench

CALLS = 3000
# Distributions build QEMU without the accelerator of that name; the protocol is the same.
ACCEL = {"rhea": ("-accel", "qtest"), "qemu": ("-accel", "tcg", "-S")}
SECONDS = 20
# An I/O port; memory-mapped registers, read and written; configuration space takes two accesses.
KINDS = {
    "port read": ["inb 0x71"],
    "memory read": ["readl 0xfed00000"],
    "memory write": ["writel 0xfed00010 0x0"],
    "configuration read": ["outl 0xcf8 0x80000000", "inl 0xcfc"],
}


class Driven:
    def __init__(self, program):
        self.folder = tempfile.mkdtemp()
        path = os.path.join(self.folder, "qtest")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(SECONDS)
            self.process = subprocess.Popen(
                [program.path, "-machine", "q35", *ACCEL[program.name], "-nodefaults", "-display",
                 "none", "-qtest", "unix:" + path, "-qtest-log", "/dev/null"],
                stderr=subprocess.DEVNULL)
            self.socket = listener.accept()[0]

    def microseconds(self, lines, calls):
        """A line; each is sent when the one before was answered."""
        data = [line.encode() + b"\n" for line in lines] * (calls // len(lines))
        start = time.perf_counter()
        for line in data:
            self.socket.sendall(line)
            answer = self.socket.recv(256)
            while not answer.endswith(b"\n"):
                answer += self.socket.recv(256)
        return (time.perf_counter() - start) / len(data) * 1e6

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@bench.benchmark("register", *(bench.Measure("qtest " + kind, "us") for kind in KINDS), rounds=7)
def register(program):
    """One access of a device's register by a test (`-qtest`), from the line sent to the answer
    received: `q35` without vCPUs running."""
    machine = Driven(program)
    try:
        results = {}
        for kind, lines in KINDS.items():
            machine.microseconds(lines, 100)
            results["qtest " + kind] = machine.microseconds(lines, CALLS)
        return results
    finally:
        machine.close()
