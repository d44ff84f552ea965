"""KVM from outside: the payloads of baremetal/ under the JIT and KVM, with each place for the interrupt
controllers; falling back to the next accelerator; the monitor's view."""

import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import rhea
import tap

IMAGES = rhea.BUILD / "tests/guest/baremetal"
MODES = ("on", "split", "off")
# What both have, also where little of the host's CPU is passed on.
MODEL = "qemu64,check=off"
SECONDS = 60


def why_not():
    """Why KVM can't be had here; None: it can."""
    run = subprocess.run([rhea.PROGRAM, "-accel", "kvm", "-machine", "none", "-display", "none",
                          "-monitor", "stdio"], input="quit\n", capture_output=True, text=True,
                         timeout=SECONDS)
    return run.stderr.strip().split("\n")[-1] if run.returncode else None


WHY_NOT = why_not()
with_kvm = unittest.skipIf(WHY_NOT, str(WHY_NOT))


def board(image, accel, irqchip=None, trace=False):
    env = dict(os.environ, BOARD_ACCEL=accel)
    if irqchip:
        env["BOARD_IRQCHIP"] = irqchip
    if trace:
        env["BOARD_TRACE"] = "1"
    return subprocess.run([str(IMAGES / "board"), str(IMAGES / (image + ".img")), "1", MODEL],
                          env=env, capture_output=True, text=True, timeout=SECONDS)


def on_machine(image, *options):
    run = subprocess.run([rhea.PROGRAM, "-display", "none", "-nodefaults", "-no-reboot", "-m", "64",
                          "-cpu", MODEL, "-chardev", "stdio,id=out", "-device",
                          "isa-debugcon,chardev=out,iobase=0xe9", "-device",
                          "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel",
                          str(IMAGES / (image + ".img")), *options],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    return run.returncode, run.stdout, run.stderr


class Payloads(unittest.TestCase):
    maxDiff = None

    @with_kvm
    def test_devices_see_the_same_in_every_mode(self):
        jit = board("devices", "jit", trace=True)
        self.assertEqual(jit.returncode, 0, jit.stdout + jit.stderr)
        for word in ("protected mode\n", "\nR\n", "64-bit mode\n", "user mode\n"):
            self.assertIn(word, jit.stdout)
        for mode in MODES:
            with self.subTest(mode):
                kvm = board("devices", "kvm", mode, trace=True)
                self.assertEqual(kvm.returncode, 0, kvm.stdout + kvm.stderr)
                self.assertEqual(kvm.stdout, jit.stdout)

    @with_kvm
    def test_interrupts_come_through_every_controller(self):
        status, jit, errors = on_machine("chips", "-machine", "q35,accel=jit")
        self.assertEqual(status, 1, jit + errors)  # isa-debug-exit: 2 n + 1
        self.assertNotIn("not ok", jit)
        for machine in ("pc", "q35"):
            for mode in MODES:
                with self.subTest(machine=machine, mode=mode):
                    status, kvm, errors = on_machine(
                        "chips", "-machine", "%s,accel=kvm,kernel-irqchip=%s" % (machine, mode))
                    self.assertEqual(status, 1, kvm + errors)
                    self.assertEqual(kvm, jit)


class Falling(unittest.TestCase):
    """Each accelerator that can't be had is a line; after the last one the exit status is 1."""

    def start(self, *options):
        run = subprocess.run([rhea.PROGRAM, "-display", "none", "-nodefaults", "-monitor", "stdio",
                              *options], input="info status\nquit\n", capture_output=True, text=True,
                             timeout=SECONDS)
        return run.returncode, [line for line in run.stderr.split("\n") if line]

    def test_missing(self):
        status, lines = self.start("-accel", "kvm,device=/nonexistent")
        self.assertEqual(status, 1)
        self.assertEqual(len(lines), 1)
        self.assertIn("can't open '/nonexistent'", lines[0])

    def test_the_next_one(self):
        for options in (("-accel", "kvm,device=/nonexistent", "-accel", "jit"),
                        ("-accel", "kvm,device=/dev/null", "-accel", "tcg")):
            status, lines = self.start(*options)
            self.assertEqual(status, 0, lines)
            self.assertEqual(len(lines), 1, lines)
            self.assertIn("failed to initialize kvm", lines[0])

    def test_lists(self):
        """KVM where it can be had, else the next."""
        for options in (("-accel", "kvm:jit"), ("-machine", "q35,accel=kvm:tcg")):
            status, lines = self.start(*options)
            self.assertEqual(status, 0, lines)
        status, lines = self.start("-accel", "nonsense:jit")
        self.assertEqual(status, 0, lines)
        self.assertIn("invalid accelerator nonsense", lines[0])
        status, lines = self.start("-accel", "kvm:jit,device=/dev/kvm")
        self.assertEqual(status, 1)
        self.assertIn("its own -accel", lines[0])

    def test_not_permitted(self):
        with tempfile.TemporaryDirectory() as folder:
            node = pathlib.Path(folder) / "kvm"
            node.touch(0)
            pathlib.Path(folder).chmod(0o755)
            nobody = {"user": 65534} if os.geteuid() == 0 else {}
            words = [rhea.PROGRAM, "-accel", "kvm,device=%s" % node, "-display", "none", "-machine",
                     "none"]
            try:
                run = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, cwd="/",
                                     **nobody)
            except PermissionError as error:
                self.skipTest("the build is where others may not go: %s" % error)
            self.assertEqual(run.returncode, 1)
            self.assertIn("(join its group, usually 'kvm'): Permission denied", run.stderr)


class Monitor(unittest.TestCase):
    @with_kvm
    def test_kvm(self):
        with rhea.Rhea("-accel", "kvm", "-machine", "q35", "-cpu", MODEL, "-m", "64") as r:
            self.assertEqual(r.qmp("query-kvm"), {"enabled": True, "present": True})
            self.assertIn("kvm support: enabled", r.qmp.hmp("info kvm"))
            schemas = r.qmp("query-stats-schemas")
            if not schemas:
                self.skipTest("the host's kernel has no statistics")
            self.assertEqual({s["target"] for s in schemas}, {"vm", "vcpu"})
            names = {v["name"] for s in schemas if s["target"] == "vcpu" for v in s["stats"]}
            self.assertIn("exits", names)
            deadline = time.monotonic() + SECONDS
            result = None
            while not result or not result[0]["stats"][0]["value"]:  # until the CPU has run
                self.assertLess(time.monotonic(), deadline, result)
                result = r.qmp("query-stats", target="vcpu",
                               providers=[{"provider": "kvm", "names": ["exits"]}])
            self.assertEqual(len(result), 1)
            self.assertEqual([s["name"] for s in result[0]["stats"]], ["exits"])
            other = r.qmp("query-stats", target="vm", providers=[{"provider": "jit"}])
            self.assertEqual(other, [])
            self.assertIn("exits (cumulative): ", r.qmp.hmp("info stats vcpu exits"))

    @with_kvm
    def test_pause_registers_reset(self):
        for mode in MODES:
            with self.subTest(mode), rhea.Rhea("-accel", "kvm", "-machine",
                                               "q35,kernel-irqchip=" + mode, "-cpu", MODEL,
                                               "-m", "64") as r:
                for _ in range(3):
                    r.qmp("stop")
                    first = r.qmp.hmp("info registers")
                    self.assertEqual(r.qmp.hmp("info registers"), first)
                    r.qmp("cont")
                r.qmp("stop")
                r.qmp("system_reset")
                r.qmp.event("RESET")
                self.assertIn("IP=0000fff0", r.qmp.hmp("info registers"))
                self.assertIn("APIC", r.qmp.hmp("info lapic"))
                r.qmp("cont")
                self.assertTrue(r.qmp("query-status")["running"])

    def test_jit_counts_too(self):
        with rhea.Rhea("-accel", "jit", "-machine", "q35", "-m", "64") as r:
            self.assertEqual(r.qmp("query-kvm")["enabled"], False)
            schemas = r.qmp("query-stats-schemas", provider="jit")
            self.assertEqual([s["target"] for s in schemas], ["vm", "vcpu"])
            vm = {s["name"]: s["value"] for s in r.qmp("query-stats", target="vm")[0]["stats"]}
            self.assertIn("blocks", vm)
            self.assertIn("blocks (cumulative): ", r.qmp.hmp("info stats vm blocks jit"))


if __name__ == "__main__":
    tap.main()
