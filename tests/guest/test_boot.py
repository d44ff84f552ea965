"""Debian's kernel boots, sees what it was given, and powers off."""

import unittest

import guest
import tap


class Boot(guest.GuestTest):
    script = """
echo "kernel: $(uname -r) $(uname -m)"
echo "cpus: $(nproc)"
echo "memory: $(sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)"
echo "arguments: $(cat /proc/cmdline)"
"""
    append = "quiet marker=4711"

    def test_kernel_runs_and_powers_off(self):
        with self.boot() as g:
            self.assertTrue(self.kernel.name.endswith(g.expect(r"kernel: (\S+) x86_64\n")[1]))
            self.assertEqual(g.expect(r"cpus: (\d+)\n")[1], "1")
            # The kernel keeps some of the 512 MiB to itself.
            self.assertGreater(int(g.expect(r"memory: (\d+)\n")[1]), 400 * 1024)
            g.expect(r"arguments: .* marker=4711\n")
            g.expect(r"guest-script: done")
            g.expect_power_off()
            print("# %.1f s from start to power-off" % g.seconds())


class Console(guest.GuestTest):
    script = """
echo "ready"
read word
echo "heard: $word"
"""
    append = "quiet"

    def test_input(self):
        with self.boot() as g:
            g.expect(r"ready\n")
            g.send("a few words\n")
            g.expect(r"heard: a few words\n")
            g.expect_power_off()


if __name__ == "__main__":
    tap.main()
