"""Debian's kernel: how fast it boots, and how fast guests compute, without hardware virtualization."""

import os
import subprocess
import tempfile
import time
import unittest

import bench
import guest
import rhea

# Each is one line of shell that runs in the guest and on the host, with the same busybox.
WORKLOADS = {
    "shell loop": "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done",
    "sha256 of 64 MiB": "dd if=/dev/zero bs=1M count=64 2>/dev/null | sha256sum",
    "gzip of 16 MiB": "dd if=/dev/zero bs=1M count=16 2>/dev/null | tr '\\0' 'ab' | gzip -9 | wc -c",
    "1000 processes": "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done",
    "copy 256 MiB": "dd if=/dev/zero of=/dev/null bs=4k count=65536 2>/dev/null",
}
ACCELERATORS = {"rhea": "jit", "qemu": "tcg"}


class Computing(guest.GuestTest):
    script = 'echo "bench: up"\n' + "".join(
        'echo "bench: begin %d"; (%s) > /dev/null; echo "bench: end %d"\n' % (number, line, number)
        for number, line in enumerate(WORKLOADS.values())
    )
    append = "quiet"


def on_host(busybox):
    values = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([busybox, "--install", "-s", folder], check=True)
        for name, line in WORKLOADS.items():
            line = line.replace("/bin/true", folder + "/true")
            start = time.perf_counter()
            subprocess.run([busybox, "sh", "-c", line], check=True, stdout=subprocess.DEVNULL,
                           env={"PATH": folder})
            values[name] = (time.perf_counter() - start) * 1e3
    return values


@bench.benchmark(
    "guest",
    bench.Measure("boot to userspace", "ms"),
    *[bench.Measure(name, "ms") for name in WORKLOADS],
    rounds=3,
    host=True,
)
def compute(program):
    """Debian's cloud kernel with busybox, 512 MiB, one CPU, software acceleration on both sides
    (`-accel jit` and `-accel tcg`), timed from outside by marks on the serial console; `host` runs
    the same busybox natively."""
    if program.name == "host":
        return on_host(str(Computing.images.busybox()))
    rhea.PROGRAM = program.path
    guest.PROGRAM = program.path
    guest.ACCEL = ACCELERATORS[program.name]
    try:
        Computing.setUpClass()
    except unittest.SkipTest as reason:
        raise bench.Skip("%s: %s" % (program.name, reason)) from reason
    values = {}
    with Computing().boot() as g:
        g.expect("bench: up", timeout=300)
        values["boot to userspace"] = g.seconds() * 1e3
        for number, name in enumerate(WORKLOADS):
            g.expect("bench: begin %d" % number, timeout=300)
            start = time.perf_counter()
            g.expect("bench: end %d" % number, timeout=600)
            values[name] = (time.perf_counter() - start) * 1e3
        g.expect_power_off()
    return values


# The images are the test run's, where there are some.
os.environ.setdefault("RHEA_GUEST_CACHE", str(rhea.SOURCE / "build/guest-cache"))
