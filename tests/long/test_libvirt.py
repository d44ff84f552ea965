"""An unmodified libvirt looks at the program, and starts and ends a machine with it.

libvirt's embedded mode needs no daemon; its files lie in a folder of the test.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import rhea
import tap

CONFIG = """
stdio_handler="file"
security_driver="none"
namespaces=[]
cgroup_controllers=[]
user="root"
group="root"
dynamic_ownership=0
"""

DOMAIN = """
<domain type='qemu'>
  <name>guest</name>
  <memory unit='MiB'>128</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <cpu mode='maximum'/>
  <devices>
    <emulator>%s</emulator>
    <controller type='usb' model='none'/>
    <serial type='pty'/>
    <memballoon model='virtio'/>
    <video><model type='none'/></video>
  </devices>
</domain>
"""


def missing():
    if not shutil.which("virsh"):
        return "virsh is not installed"
    if os.getuid() != 0:
        return "libvirt's embedded mode as another user than root has no fixed user to run as"
    return None


@unittest.skipIf(missing(), missing() or "")
class Libvirt(unittest.TestCase):
    def setUp(self):
        # An unprivileged user probes the binary: it must be able to reach this.
        self.root = tempfile.mkdtemp(prefix="rhea-libvirt-")
        os.chmod(self.root, 0o755)
        self.addCleanup(shutil.rmtree, self.root, True)
        (pathlib.Path(self.root) / "etc").mkdir()
        (pathlib.Path(self.root) / "etc" / "qemu.conf").write_text(CONFIG)
        # libvirt runs the program with an environment of its own choosing.
        self.program = os.path.join(self.root, "rhea")
        with open(self.program, "w") as file:
            file.write("#!/bin/sh\nexec '%s' \"$@\"\n" % rhea.PROGRAM)
        os.chmod(self.program, 0o755)

    def virsh(self, *arguments):
        done = subprocess.run(
            ["virsh", "-q", "-c", "qemu:///embed?root=" + self.root, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=300)
        return done.returncode, done.stdout, done.stderr

    def guest_log(self):
        logs = list(pathlib.Path(self.root).rglob("guest.log"))
        return logs[0].read_text(errors="replace") if logs else ""

    def test_domcapabilities(self):
        status, out, err = self.virsh("domcapabilities", "--emulatorbin", self.program,
                                      "--virttype", "qemu", "--machine", "q35")
        self.assertEqual(status, 0, err)
        capabilities = ElementTree.fromstring(out)
        self.assertEqual(capabilities.findtext("machine"), "pc-q35-7.2")
        self.assertEqual(capabilities.findtext("arch"), "x86_64")
        self.assertEqual(capabilities.findtext("domain"), "qemu")
        self.assertIsNotNone(capabilities.find("cpu/mode[@name='host-model'][@supported='yes']"))

    def test_unknown_machine(self):
        status, _, err = self.virsh("domcapabilities", "--emulatorbin", self.program,
                                    "--virttype", "qemu", "--machine", "nonesuch")
        self.assertNotEqual(status, 0)
        self.assertIn("nonesuch", err)

    def test_start_and_end(self):
        domain = pathlib.Path(self.root) / "guest.xml"
        domain.write_text(DOMAIN % self.program)
        status, out, err = self.virsh(
            "create --paused %s; domstate guest; vcpucount guest --live --current; "
            "qemu-monitor-command guest --hmp 'info status'; ttyconsole guest; "
            "domstats guest --vcpu; resume guest; domstate guest; suspend guest; domstate guest; "
            "resume guest; reset guest; destroy guest" % domain)
        self.assertEqual(status, 0, err + self.guest_log())
        lines = [line for line in out.splitlines() if line.strip()]
        for expected in ("paused", "2", "running", "VM status: paused (prelaunch)"):
            self.assertIn(expected, lines, out)
        self.assertTrue(any(line.startswith("/dev/pts/") for line in lines), out)
        self.assertIn("vcpu.maximum=2", out)
        self.assertIn("reason=destroyed", self.guest_log())
        self.assertNotIn("Assertion", self.guest_log())


if __name__ == "__main__":
    tap.main()
