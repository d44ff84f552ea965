"""vhost-user: how long a back end waits for its front end, and how fast packets pass through DPDK's
testpmd. The driver is outside of the machine (qtest), so that no guest is measured."""

import os
import sys
import shutil
import subprocess
import tempfile
import time

import bench
import rhea
import vhost_user as vu
import virtio
import virtio_bench

RINGS, DATA, FRAME = 0x100000, 0x200000, b"\xff" * 60
TESTPMD = shutil.which("dpdk-testpmd")
OUTAGE = 0.5  # seconds that the back end is away
LISTEN_SECONDS = 20


class Machine:
    """A machine with one vhost-user NIC and a driver that has set its queues up."""

    def __init__(self, program, folder, path, server):
        rhea.PROGRAM = program.path
        chardev = "server=on" if server else "reconnect=1"
        if server and program.name == "rhea":
            chardev += ",wait=off"
        sockets = os.path.join(folder, "qtest")
        self.run = rhea.Rhea(
            "-nodefaults", "-display", "none", "-machine", "pc,memory-backend=mem", "-m", "64M",
            *virtio_bench.accel(program, folder), "-object",
            "memory-backend-memfd,id=mem,size=64M,share=on", "-qtest",
            "unix:%s,server=on,wait=off" % sockets, "-qtest-log", "/dev/null", "-chardev",
            "socket,id=c0,path=%s,%s" % (path, chardev), "-netdev", "vhost-user,id=n0,chardev=c0",
            "-device", "virtio-net-pci,netdev=n0,addr=5,vectors=0", qmp=False)
        alive = lambda: self.run.process.poll() is None
        self.qtest = rhea.Qtest(rhea.connect(sockets, alive=alive))

    def drive(self):
        end = time.monotonic() + rhea.PATIENCE
        while virtio.Pci(self.qtest, 5).read(0, 2) != 0x1AF4:
            if time.monotonic() > end:
                raise bench.Skip("no device")
            time.sleep(0.005)
        self.device = virtio.Device(self.qtest, 5)
        self.rx = virtio.Queue(self.device, 0, RINGS)
        self.tx = virtio.Queue(self.device, 1, RINGS + 0x4000)
        self.in_flight = 0

    def send(self):
        while self.tx.take(1) is not None:
            self.in_flight -= 1
        if self.in_flight >= self.tx.size // 2:
            return  # nobody takes them
        self.in_flight += 1
        self.qtest.write(DATA, bytes(vu.NET_HEADER) + FRAME)
        self.tx.add([(DATA, vu.NET_HEADER + len(FRAME), False)])
        self.tx.kick()

    def close(self):
        self.qtest.close()
        self.run.close(quiet=True)


# The back end's threads must not wait for one that polls.
sys.setswitchinterval(0.0001)


def first_frame(backend, machine):
    """When the back end gets one, polling; QEMU drops what is sent while nobody is there."""
    end = time.monotonic() + 20
    again = time.monotonic()
    while time.monotonic() < end:
        connection = backend.connection
        if time.monotonic() >= again:
            machine.send()
            again = time.monotonic() + 0.005
        try:
            if connection and connection.take_frame():
                return time.monotonic()
        except (OSError, ValueError, KeyError):
            pass
    raise bench.Skip("no frame came")


def handshake_time(backend):
    """From the first message to the last one before the driver is there."""
    backend.wait_for(vu.SET_VRING_CALL)
    while time.monotonic() - backend.messages[-1][0] < 0.2:
        time.sleep(0.02)
    return backend.messages[-1][0] - backend.messages[0][0]


def measured(program, server):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "v")
        backend = vu.Backend(path, connect=server)
        machine = Machine(program, folder, path, server)
        try:
            values = {"handshake": handshake_time(backend)}
            machine.drive()
            start = time.monotonic()
            machine.device.ready()
            values["driver"] = first_frame(backend, machine) - start
            backend.stop()
            time.sleep(OUTAGE)
            start = time.monotonic()
            backend.start()
            values["outage"] = first_frame(backend, machine) - start
            return {name: value * 1e3 for name, value in values.items()}
        finally:
            machine.close()
            backend.stop()


@bench.benchmark(
    "vhost-user",
    bench.Measure("vhost-user handshake", "ms"),
    bench.Measure("DRIVER_OK to first packet", "ms"),
    bench.Measure("back end there again to first packet, as client", "ms"),
    bench.Measure("back end there again to first packet, as server", "ms"),
    rounds=5,
)
def vhost_user(program):
    """A back end in Python on the same machine for both: first to last message of the negotiation; the
    driver's DRIVER_OK to the first frame at the back end; a back end that was away for half a second
    listens (or connects) again, to the first frame (reconnect=1 in both programs)."""
    client, server = measured(program, False), measured(program, True)
    return {
        "vhost-user handshake": client["handshake"],
        "DRIVER_OK to first packet": client["driver"],
        "back end there again to first packet, as client": client["outage"],
        "back end there again to first packet, as server": server["outage"],
    }


class Testpmd:
    """Two vhost-user ports, what comes in at one goes out of the other."""

    def __init__(self, folder):
        if not TESTPMD:
            raise bench.Skip("dpdk-testpmd is not installed (package dpdk-dev)")
        self.paths = [os.path.join(folder, "p%d" % i) for i in range(2)]
        vdevs = []
        for i, path in enumerate(self.paths):
            vdevs += ["--vdev", "net_vhost%d,iface=%s,queues=1,client=0" % (i, path)]
        self.process = subprocess.Popen(
            [TESTPMD, "-l", "0,1", "--no-pci", "--file-prefix", "bench%d" % os.getpid(), "--no-huge",
             "-m", "512", *vdevs, "--", "--nb-cores", "1", "--forward-mode", "io", "--auto-start",
             "--total-num-mbufs", "16384", "--no-rmv-interrupt", "--stats-period", "60"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + LISTEN_SECONDS
        while not all(os.path.exists(path) for path in self.paths):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise bench.Skip("testpmd does not start")
            time.sleep(0.05)

    def stop(self):
        self.process.kill()
        self.process.wait()


@bench.benchmark("vhost-user-testpmd",
                 bench.Measure("packet through testpmd and back, µs each", "µs"), rounds=5)
def through_testpmd(program):
    """64-byte packets from one NIC through testpmd to another NIC of the same machine, driven by a
    polling driver in shared memory; the inverse of packets a second. No program copies: both should be
    alike."""
    with tempfile.TemporaryDirectory() as folder:
        pmd = Testpmd(folder)
        try:
            devices = []
            for i, path in enumerate(pmd.paths):
                devices += ["-chardev", "socket,id=c%d,path=%s" % (i, path), "-netdev",
                            "vhost-user,id=n%d,chardev=c%d" % (i, i), "-device",
                            "virtio-net-pci,netdev=n%d,addr=%d,vectors=0" % (i, 4 + i)]
            return {"packet through testpmd and back, µs each":
                    1e6 / virtio_bench.measured(program, "net", *devices)}
        finally:
            pmd.stop()
