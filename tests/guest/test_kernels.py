"""
Debian's kernels on both boards, with one, two and four CPUs: they boot, start again when told, and
power off, and their logs have nothing suspicious.
"""

import re
import unittest

import guest
import images
import tap

# What kernels say when something is wrong with them or with the machine.
SUSPICIOUS = re.compile(
    r"\bBUG\b|\bOops\b|WARNING|Call Trace|[Uu]nstable|[Ll]ockup|\bstall|rcu: INFO|"
    r"\bHardware Error|\btraps:|segfault|[Ss]purious|nobody cared|timed out|not responding|"
    r"Firmware Bug|TSC warp|clock skew|APIC error"
)


class Kernels(guest.GuestTest):
    script = """
echo "kernel: $(uname -r)"
echo "cpus: $(nproc)"
echo "clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
case "$(cat /proc/cmdline)" in *again*) reboot -f;; esac
"""

    def start(self, meta, machine, cpus, *words):
        if machine not in guest.rhea.run("-machine", "help")[1].split():
            raise unittest.SkipTest("this build has no machine '%s'" % machine)
        store = images.Images(guest.CACHE, kernel=meta)
        try:
            kernel = store.kernel()[0]
            initramfs = store.initramfs(self.script + guest.EPILOGUE, self.modules)
        except images.ImageError as error:
            raise unittest.SkipTest("no kernel to boot: %s" % error) from error
        ending = () if "again" in words else ("-no-reboot",)
        return guest.Guest(
            "-nodefaults", "-display", "none", *ending,
            "-machine", machine, "-accel", guest.ACCEL, "-m", "512M", "-smp", cpus,
            "-kernel", kernel, "-initrd", initramfs,
            "-append", " ".join(("console=ttyS0 panic=-1",) + words))

    def check_log(self, g):
        bad = [line for line in g.console.text.splitlines() if SUSPICIOUS.search(line)]
        self.assertEqual(bad, [], "suspicious lines in the kernel's log")

    def check_boot(self, meta, machine, cpus):
        with self.start(meta, machine, cpus) as g:
            self.assertEqual("cloud" in g.expect(r"kernel: (\S+)\n")[1], "cloud" in meta)
            self.assertEqual(g.expect(r"cpus: (\d+)\n")[1], str(cpus))
            self.assertRegex(g.expect(r"clock: (\S+)\n")[1], "tsc")
            g.expect_power_off()
            self.check_log(g)
            print("# %s, %s, %d CPUs: %.1f s" % (meta, machine, cpus, g.seconds()))

    def check_again(self, meta, machine, cpus):
        with self.start(meta, machine, cpus, "again") as g:
            for _ in range(3):
                self.assertEqual(g.expect(r"cpus: (\d+)\n")[1], str(cpus))
            self.check_log(g)


def add_tests():
    for meta in (images.KERNEL_PACKAGE, images.FULL_KERNEL_PACKAGE):
        for machine in ("q35", "pc"):
            for cpus in (1, 2, 4):
                what = "%s_%s_%d" % ("cloud" if "cloud" in meta else "full", machine, cpus)

                def boot(self, meta=meta, machine=machine, cpus=cpus):
                    self.check_boot(meta, machine, cpus)

                setattr(Kernels, "test_boot_" + what, boot)
            cpus = 2 if machine == "q35" else 1

            def again(self, meta=meta, machine=machine, cpus=cpus):
                self.check_again(meta, machine, cpus)

            setattr(Kernels, "test_again_%s_%s" % ("cloud" if "cloud" in meta else "full", machine),
                    again)


add_tests()

if __name__ == "__main__":
    tap.main()
