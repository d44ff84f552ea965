"""Open vSwitch with DPDK, in user space and without huge pages, as the back end of two NICs: it
connects as a client, switches frames, is killed and comes back."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

import rhea
import tap
import virtio
from test_testpmd import Frames, Nic

DAEMON = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
SECONDS = 60  # DPDK's pools take their time


class Switch:
    def __init__(self, folder):
        self.folder = folder
        self.env = dict(os.environ, OVS_RUNDIR=folder, OVS_LOGDIR=folder, OVS_DBDIR=folder)
        self.database = "unix:%s/db.sock" % folder
        self.sockets = [os.path.join(folder, "v%d" % i) for i in range(2)]
        self.daemon = None
        self.run("ovsdb-tool", "create", folder + "/conf.db", SCHEMA)
        self.server = self.spawn("ovsdb-server", folder + "/conf.db", "--remote=p" + self.database)
        end = time.monotonic() + SECONDS
        while not os.path.exists(folder + "/db.sock"):
            if time.monotonic() > end:
                raise rhea.Timeout("ovsdb-server does not listen")
            time.sleep(0.05)
        self.set("--no-wait", "init")
        for key, value in (("dpdk-init", "true"), ("dpdk-lcore-mask", "0x1"),
                           ("pmd-cpu-mask", "0x2"), ("dpdk-alloc-mem", "2048"),
                           ("dpdk-extra", '"--no-huge --legacy-mem --no-pci"')):
            self.set("--no-wait", "set", "Open_vSwitch", ".", "other_config:%s=%s" % (key, value))
        self.start()
        self.set("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for i, path in enumerate(self.sockets):
            port = "vc%d" % i
            self.set("add-port", "br0", port, "--", "set", "Interface", port,
                     "type=dpdkvhostuserclient", "options:vhost-server-path=" + path)

    def run(self, *words):
        subprocess.run(words, env=self.env, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)

    def set(self, *words):
        self.run("ovs-vsctl", "--db=" + self.database, "--timeout=%d" % SECONDS, *words)

    def spawn(self, *words):
        log = "--log-file=%s/%s.log" % (self.folder, os.path.basename(words[0]))
        return subprocess.Popen([*words, "-vconsole:off", log], env=self.env,
                                stdin=subprocess.DEVNULL)

    def start(self):
        self.daemon = self.spawn(DAEMON, self.database)

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def stop(self):
        for process in (self.daemon, self.server):
            if process:
                process.kill()
                process.wait()
        for link in ("br0", "ovs-netdev"):
            subprocess.run(["ip", "link", "del", link], stderr=subprocess.DEVNULL)


@unittest.skipUnless(os.access(DAEMON, os.X_OK) and shutil.which("ovsdb-server") and
                     os.getuid() == 0, "openvswitch-switch-dpdk is not installed, or not root")
class OpenVSwitch(Frames):
    def test_frames_and_restart(self):
        with tempfile.TemporaryDirectory(prefix="rhea-ovs-") as folder:
            switch = Switch(folder)
            try:
                args = ["-M", "pc", "-m", "64M", "-nodefaults", "-display", "none",
                        "-qtest-log", "none"]
                for i, path in enumerate(switch.sockets):
                    args += ["-chardev", "socket,id=c%d,path=%s,server=on,wait=off" % (i, path),
                             "-netdev", "vhost-user,id=n%d,chardev=c%d" % (i, i),
                             "-device", "virtio-net-pci,netdev=n%d,addr=%d" % (i, 5 + i)]
                with rhea.Rhea(*args, qtest=True) as m:
                    end = time.monotonic() + SECONDS
                    while virtio.Pci(m.qtest, 6).read(0, 2) != 0x1AF4:
                        self.assertLess(time.monotonic(), end, m.errors())
                        time.sleep(0.05)
                    a, b = Nic(m, 5, 1, 0), Nic(m, 6, 1, 1)
                    for number in range(5):
                        self.pass_frame(a, b, number)
                    switch.kill()
                    m.qmp.event("VHOST_USER_DISCONNECTED")
                    switch.start()
                    self.pass_frame(a, b, 100)
            finally:
                switch.stop()


if __name__ == "__main__":
    tap.main()
