"""How fast devices move blocks and packets: a driver outside shares the machine's memory and polls
the rings, so that only the devices, the back ends and the host's kernel are measured."""

import os
import pathlib
import subprocess
import tempfile
import time

import bench

BUILD = pathlib.Path(os.environ.get("RHEA_BUILD") or "build-bench")
DRIVER = BUILD / "tests/bench/bench-virtio-driver"
SECONDS = 2  # of one measurement
IMAGE_BYTES = 256 << 20
START_SECONDS = 20
# Where files are memory, so that no disk's mood is measured.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def accel(program, folder):
    """No guest code runs. Distributions' QEMU has no qtest accelerator: its CPU halts at once."""
    if program.name != "qemu":
        return ["-accel", "qtest"]
    rom = bytearray(1 << 16)
    rom[0xFFF0:0xFFF4] = b"\xfa\xf4\xeb\xfd"  # cli; hlt; and again
    path = os.path.join(folder, "halt.rom")
    pathlib.Path(path).write_bytes(rom)
    return ["-accel", "tcg", "-bios", path]


def measured(program, mode, *devices):
    """What the driver says of a machine with these devices."""
    if not DRIVER.exists():
        raise bench.Skip("%s is not built" % DRIVER.name)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        qtest, memory, image = (os.path.join(folder, n) for n in ("qtest", "memory", "image"))
        if mode == "blk":
            with open(image, "wb") as out:
                for _ in range(IMAGE_BYTES >> 20):
                    out.write(os.urandom(1 << 20))
        command = [
            program.path, "-nodefaults", "-display", "none", "-machine", "q35,memory-backend=mem",
            "-m", "64M", *accel(program, folder),
            "-object", "memory-backend-file,id=mem,size=64M,share=on,mem-path=" + memory,
            "-qtest", "unix:%s,server=on,wait=off" % qtest, "-qtest-log", "/dev/null",
        ] + [d.replace("IMAGE", image) for d in devices]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + START_SECONDS
            while not (os.path.exists(qtest) and os.path.exists(memory)):
                if process.poll() is not None or time.monotonic() > end:
                    raise bench.Skip("%s does not start: %s" % (program.name,
                                                                process.stderr.read()[-300:]))
                time.sleep(0.01)
            return float(subprocess.run([str(DRIVER), qtest, memory, mode, str(SECONDS)],
                                        stdout=subprocess.PIPE, text=True, check=True).stdout)
        finally:
            process.terminate()
            process.wait(START_SECONDS)
            process.stderr.close()


@bench.benchmark("virtio-registers", bench.Measure("qtest register read", "µs"), rounds=6)
def registers(program):
    """A register of a device read through the qtest socket, there and back."""
    return {"qtest register read": 1e6 / measured(program, "registers",
                                                  "-device", "virtio-rng-pci,addr=4")}


@bench.benchmark("virtio-blk", bench.Measure("virtio-blk 4 KiB random reads, iothread, µs each", "µs"),
                 bench.Measure("virtio-blk 4 KiB random reads, main loop, µs each", "µs"), rounds=6)
def blk(program):
    """4 KiB random reads from a raw file in memory through io_uring, 64 in flight; the inverse of
    IOPS."""
    drive = ("-blockdev", "driver=file,node-name=f,filename=IMAGE,aio=io_uring",
             "-blockdev", "driver=raw,node-name=d,file=f")
    thread = ("-object", "iothread,id=t")
    device = "virtio-blk-pci,drive=d,addr=4,num-queues=1"
    return {
        "virtio-blk 4 KiB random reads, main loop, µs each":
            1e6 / measured(program, "blk", *drive, "-device", device),
        "virtio-blk 4 KiB random reads, iothread, µs each":
            1e6 / measured(program, "blk", *drive, *thread, "-device", device + ",iothread=t"),
    }


@bench.benchmark("virtio-net", bench.Measure("virtio-net packet from NIC to NIC, µs each", "µs"),
                 rounds=6)
def net(program):
    """64-byte packets from one NIC over a hub to another in the same machine; the inverse of packets a
    second."""
    return {"virtio-net packet from NIC to NIC, µs each": 1e6 / measured(
        program, "net",
        "-netdev", "hubport,id=h0,hubid=0", "-netdev", "hubport,id=h1,hubid=0",
        "-device", "virtio-net-pci,netdev=h0,addr=4", "-device", "virtio-net-pci,netdev=h1,addr=5")}
