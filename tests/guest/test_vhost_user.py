"""A real back end: DPDK's testpmd moves frames between two NICs of one guest, dies and comes back."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import guest
import tap

TESTPMD = shutil.which("dpdk-testpmd")


class Testpmd:
    """testpmd with two net_vhost ports that forward to each other."""

    def __init__(self, folder, client=False):
        self.folder, self.client = folder, client
        self.start()

    def start(self):
        vdevs = []
        for i in range(2):
            path = os.path.join(self.folder, "v%d.sock" % i)
            if not self.client and os.path.exists(path):
                os.unlink(path)
            vdevs += ["--vdev", "net_vhost%d,iface=%s,queues=1,client=%d" % (i, path, self.client)]
        self.log = open(os.path.join(self.folder, "testpmd.log"), "ab")
        self.process = subprocess.Popen(
            [TESTPMD, "-l", "0,1", "--no-pci", "--file-prefix", "rhea%d" % os.getpid(), "--no-huge",
             "-m", "512", *vdevs, "--", "--nb-cores", "1", "--forward-mode", "io", "--auto-start",
             "--total-num-mbufs", "16384", "--no-rmv-interrupt", "--stats-period", "60"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait_listening(self, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if all(os.path.exists(os.path.join(self.folder, "v%d.sock" % i)) for i in range(2)):
                return
            time.sleep(0.05)
        raise AssertionError("testpmd does not listen")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


SCRIPT = """
ip link set eth0 up; ip link set eth1 up
sleep 1
i=0
while [ $i -lt 200 ]; do
  arping -q -c 1 -w 1 -I eth0 -b 10.0.0.9 >/dev/null 2>&1 &
  i=$((i+1))
  sleep 0.1
  echo "rx $(cat /sys/class/net/eth1/statistics/rx_packets) carrier $(cat /sys/class/net/eth1/carrier)"
done
"""


@unittest.skipUnless(TESTPMD, "dpdk-testpmd is not installed (package dpdk-dev)")
class Loop(guest.GuestTest):
    modules = ("virtio_pci", "virtio_net")
    script = SCRIPT
    append = "quiet"
    memory = "256M"

    def nics(self, folder, extra):
        args = []
        for i in range(2):
            args += ["-chardev", "socket,id=c%d,path=%s/v%d.sock,%s" % (i, folder, i, extra),
                     "-netdev", "vhost-user,id=n%d,chardev=c%d" % (i, i),
                     "-device", "virtio-net-pci,netdev=n%d,mac=52:54:00:00:00:0%d" % (i, i)]
        return args

    def check(self, client):
        folder = tempfile.mkdtemp(prefix="rhea-testpmd-")
        pmd = Testpmd(folder, client)
        try:
            extra = "server=on,wait=off" if client else "reconnect-ms=100"
            if not client:
                pmd.wait_listening()
            with self.boot(*self.nics(folder, extra)) as g:
                g.expect(r"rx [1-9]\d* carrier 1\n", unless=None)
                pmd.kill()
                g.expect(r"carrier 0\n", timeout=20)
                pmd.start()
                g.expect(r"carrier 1\n", timeout=20)
                before = int(g.expect(r"rx (\d+) carrier 1\n")[1])
                g.expect(r"rx (?!%d )\d+ carrier 1\n" % before, timeout=20)
        finally:
            pmd.kill()
            shutil.rmtree(folder)

    def test_back_end_listens(self):
        self.check(False)

    def test_back_end_connects(self):
        self.check(True)


if __name__ == "__main__":
    tap.main()
