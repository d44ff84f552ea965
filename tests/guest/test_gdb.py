"""The gdb stub: with the real gdb, and with packets by hand."""

import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import guest
import rhea
import tap

BAREMETAL = rhea.BUILD / "tests/guest/baremetal"
GDB = shutil.which("gdb")


def remote(path, *commands, symbols=None, timeout=60):
    """What gdb prints when it does this."""
    line = [GDB, "-nx", "-batch", "-ex", "set pagination off", "-ex", "set confirm off"]
    if symbols:
        line.append(str(symbols))
    line += ["-ex", "target remote " + path]
    for command in commands:
        line += ["-ex", command]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout)
    return done.stdout.decode(errors="replace")


class Client:
    """The protocol by hand."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.data = b""
        self.acks = True

    def raw(self, data):
        self.sock.sendall(data)

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.raw(b"$" + data + b"#%02x" % (sum(data) & 0xff))

    def receive(self, timeout=10):
        """The next packet; None: nothing came."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.search(rb"\$([^#]*)#(..)", self.data)
            if found:
                self.data = self.data[found.end():]
                assert sum(found[1]) & 0xff == int(found[2], 16)
                if self.acks and not found[1].startswith(b"W"):
                    self.raw(b"+")
                return found[1].decode(errors="replace")
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            got = self.sock.recv(65536)
            if not got:
                raise EOFError("the stub hung up")
            self.data += got

    def __call__(self, text, timeout=10):
        self.send(text)
        return self.receive(timeout)

    def close(self):
        self.sock.close()


class Bare(unittest.TestCase):
    """A kernel of ours with two CPUs that never ends."""

    cpus = 2

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-gdb-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "gdb")

    def start(self, *more):
        r = rhea.Rhea("-M", "q35", "-accel", "jit", "-smp", self.cpus, "-m", "64", "-display", "none",
                      "-kernel", BAREMETAL / "debug.img", "-gdb", "unix:" + self.path, *more)
        self.addCleanup(r.close)
        self.rhea = r
        return r

    def gdb(self, *commands):
        text = remote(self.path, *commands, symbols=BAREMETAL / "debug.elf")
        if "kill" in commands:
            self.assertEqual(self.rhea.wait(), 0)
        return text

    def assertInOrder(self, text, *patterns):
        at = 0
        for pattern in patterns:
            found = re.compile(pattern).search(text, at)
            self.assertTrue(found, "no %r behind character %d of:\n%s" % (pattern, at, text))
            at = found.end()


@unittest.skipUnless(GDB, "no gdb")
class WithGdb(Bare):
    def test_from_the_first_instruction(self):
        self.start("-S")
        text = self.gdb("p/x $pc", "p/x $cs", "info registers cr0 efer", "hbreak long_mode", "continue",
                        "info registers cr0 efer", "p $eflags", "x/i $pc", "kill")
        self.assertInOrder(text, r"\$1 = 0x1000[0-9a-f]{2}\n", r"\$2 = 0x10\n", r"cr0 +0x11 ",
                           r"efer +0x0 ", r"hit Breakpoint 1, long_mode", r"cr0 +0x80010033 ",
                           r"efer +0xd01 ", r"=> 0x\w+ <long_mode>:\tmov +\$0x10,%ax")

    def test_breakpoints_and_frames(self):
        self.start("-S")
        text = self.gdb("break bump", "continue", "bt 2", "finish", "tbreak copy if turns >= 50",
                        "delete 1", "continue", "p turns", "info threads", "kill")
        self.assertInOrder(text, r"hit Breakpoint 1, bump \(n=n@entry=1\)", r"#1  0x\w+ in test_main",
                           r"Value returned is \$1 = 4712\n", r"hit Temporary breakpoint 2, copy",
                           r"\$2 = 50\n", r"\* 1 +Thread 1 \(CPU#0 \[running\]\) copy", r"  2 +Thread 2")

    def test_watchpoints(self):
        self.start("-S")
        text = self.gdb("watch written", "continue", "continue", "delete", "rwatch only_read",
                        "continue", "p $pc > (long)bump && $pc < (long)copy", "delete",
                        "awatch to[9]", "continue", "p $pc >= (long)copy", "delete",
                        "watch straddling[1023]", "continue", "continue", "kill")
        self.assertInOrder(text, r"Old value = 0\nNew value = 1\n", r"Old value = 1\nNew value = 2\n",
                           r"Hardware read watchpoint 2: only_read\n\nValue = 4711", r"\$1 = 1\n",
                           r"access \(read/write\) watchpoint 3: to\[9\]", r"\$2 = 1\n",
                           r"watchpoint 4: straddling\[1023\]\n\nOld value = 2\nNew value = 3",
                           r"Old value = 3\nNew value = 4")

    def test_steps(self):
        self.start("-S")
        text = self.gdb("break bump", "continue", "delete", "stepi", "stepi", "x/i $pc", "next", "next",
                        "next", "p turns", "tbreak trap_and_return", "continue",
                        "maintenance packet Qqemu.sstep=7", "p $pc += 1", "stepi", "p $pc", "kill")
        self.assertInOrder(text, r"Breakpoint 1, bump", r"=> 0x\w+ <bump\+\d+>", r"test_main \(\)",
                           r"\$1 = 1\n", r"trap_and_return \(n=n@entry=1\)", r'received: "OK"',
                           r"\$3 = .* <trap_and_return\+2>")

    def test_other_cpu(self):
        self.start()
        text = self.gdb("break other_work", "continue", "p $_thread", "p n", "next", "p $_thread",
                        "p other_turns == n", "thread 1", "p $_thread", "delete", "detach")
        self.assertInOrder(text, r"Thread 2 hit Breakpoint 1, other_work", r"\$1 = 2\n", r"\$3 = 2\n",
                           r"\$5 = 1\n", r"\[Inferior 1 \(Remote target\) detached\]")

    def test_registers_and_memory_can_be_written(self):
        self.start("-S")
        text = self.gdb("break bump", "continue", "p n = 7", "p $xmm3.v4_int32[2] = 99", "p $st0 = 1.5",
                        "p $r15 = 0x123456789", "p $fs_base = 0x1000", "p $eflags |= 1",
                        "p only_read = 1", "finish", "p $r15", "p $xmm3.v4_int32[2]", "p $st0",
                        "p $fs_base", "p written", "p $cs = 0x33", "kill")
        self.assertInOrder(text, r"Value returned is \$\d+ = 8\n", r" = 4886718345\n", r" = 99\n",
                           r" = 1.5\n", r" = 4096\n", r" = 7\n", r"Could not write register \"cs\"")

    def test_monitor_commands(self):
        self.start("-S")
        text = self.gdb("monitor info status", "monitor info cpus", "monitor nonsense", "kill")
        self.assertInOrder(text, r"VM status: paused", r"\* CPU #0: thread_id=\d+", r"CPU #1",
                           r"unknown command|nonsense")

    def test_machine_goes_on_when_gdb_has_gone(self):
        r = self.start()
        self.gdb("break bump", "continue", "delete", "detach")
        self.assertEqual(r.qmp("query-status")["status"], "running")
        with self.subTest("a connection that just ends leaves no breakpoints"):
            self.gdb("break bump", "continue", "python import os; os._exit(0)")
            self.assertEqual(r.qmp("query-status")["status"], "debug")
            r.qmp("cont")
            time.sleep(0.2)
            self.assertEqual(r.qmp("query-status")["status"], "running")


class ByHand(Bare):
    def client(self):
        c = Client(self.path)
        self.addCleanup(c.close)
        return c

    def address(self, name):
        out = subprocess.run(["nm", str(BAREMETAL / "debug.elf")], stdout=subprocess.PIPE, check=True)
        return int(re.search(r"(?m)^(\w+) . %s$" % name, out.stdout.decode())[1], 16)

    def test_stops_for_a_client_and_by_interrupt(self):
        r = self.start()
        c = self.client()
        self.assertIn("PacketSize=", c("qSupported:swbreak+;hwbreak+"))
        self.assertEqual(r.qmp("query-status")["status"], "paused")
        self.assertEqual(c("?"), "T05thread:01;")
        self.assertIsNone(c("vCont;c", timeout=0.3))
        self.assertEqual(r.qmp("query-status")["status"], "running")
        c.raw(b"\x03")
        self.assertEqual(c.receive(), "T02thread:01;")
        self.assertEqual(r.qmp("query-status")["status"], "paused")
        c.send("vCont;c")
        time.sleep(0.1)
        r.qmp("stop")
        self.assertEqual(c.receive(), "T02thread:01;")

    def test_no_acknowledgements(self):
        self.start()
        c = self.client()
        self.assertEqual(c("QStartNoAckMode"), "OK")
        c.acks = False
        c.data = b""
        self.assertEqual(c("qAttached"), "1")
        self.assertNotIn(b"+", c.data)

    def test_one_cpu_steps_while_others_stand(self):
        self.start()
        c = self.client()
        where = self.address("other_work")
        self.assertEqual(c("Z0,%x,1" % where), "OK")
        self.assertIn("thread:02;", c("c"))
        self.assertEqual(c("z0,%x,1" % where), "OK")
        before = c("m%x,8" % self.address("turns"))
        for _ in range(20):
            self.assertEqual(c("vCont;s:2"), "T05thread:02;")
        self.assertEqual(c("m%x,8" % self.address("turns")), before)
        self.assertEqual(c("vCont;s:2;c"), "T05thread:02;")

    def test_stop_says_which_breakpoint(self):
        self.start()
        c = self.client()
        c("qSupported:swbreak+;hwbreak+")
        where = self.address("bump")
        for kind, name in ((0, "swbreak:;"), (1, "hwbreak:;")):
            self.assertEqual(c("Z%d,%x,1" % (kind, where)), "OK")
            self.assertEqual(c("vCont;c"), "T05thread:01;" + name)
            self.assertEqual(c("z%d,%x,1" % (kind, where)), "OK")
            self.assertEqual(c("vCont;s:1"), "T05thread:01;")
        watched = self.address("written")
        for kind, name in ((2, "watch"), (4, "awatch")):
            self.assertEqual(c("Z%d,%x,8" % (kind, watched)), "OK")
            self.assertEqual(c("vCont;c"), "T05thread:01;%s:%x;" % (name, watched))
            self.assertEqual(c("z%d,%x,8" % (kind, watched)), "OK")
        self.assertEqual(c("z2,%x,8" % watched), "E22")
        self.assertEqual(c("Z2,%x,0" % watched), "E22")

    def test_physical_memory(self):
        r = self.start()
        c = self.client()
        self.assertEqual(c("Z1,%x,1" % self.address("bump")), "OK")
        self.assertIn("thread:01;", c("vCont;c"))
        # the kernel maps the first 16 MiB
        self.assertEqual(c("m2000000,4"), "E14")
        self.assertEqual(c("qqemu.PhyMemMode"), "0")
        self.assertEqual(c("Qqemu.PhyMemMode:1"), "OK")
        self.assertEqual(c("M2000000,4:01020304"), "OK")
        self.assertEqual(c("m2000000,4"), "01020304")
        self.assertIn("0x04030201", r.qmp.hmp("xp 0x2000000"))
        self.assertEqual(c("Qqemu.PhyMemMode:0"), "OK")
        self.assertEqual(c("m2000000,4"), "E14")
        # what is there before a hole
        self.assertEqual(len(c("mfffff0,20")), 2 * 16)

    def test_what_isnt_known_gets_the_empty_answer(self):
        self.start()
        c = self.client()
        for packet in ("vMustReplyEmpty", "qTStatus", "vAttach;1", "!", "bc", "Z5,0,0"):
            self.assertEqual(c(packet), "")
        for packet in ("m", "mx,1", "M0,4:12", "p", "pfffff", "P0", "Hx1", "Hg99", "T7", "vCont;q",
                       "vCont;s:9", "Z0", "Z0,", "Qqemu.sstep=99", "qXfer:features:read:target.xml:"):
            self.assertRegex(c(packet), r"^E\d\d$", packet)
        # a broken checksum is asked for again, and noise is nothing
        c.raw(b"noise$g#00")
        deadline = time.monotonic() + 5
        while b"-" not in c.data and time.monotonic() < deadline:
            c.data += c.sock.recv(100)
        self.assertIn(b"-", c.data)
        c.data = b""
        self.assertEqual(c("qAttached"), "1")

    def test_gdbserver_commands(self):
        r = self.start()
        other = os.path.join(self.folder, "other")
        r.qmp("gdbserver", device="unix:" + other)
        with self.assertRaises(OSError):
            socket.socket(socket.AF_UNIX).connect(self.path)
        c = Client(other)
        self.assertEqual(c("qAttached"), "1")
        r.qmp.hmp("gdbserver none")
        with self.assertRaises((EOFError, OSError)):
            c("qAttached")
        with self.assertRaises(rhea.QmpError):
            r.qmp("gdbserver", device="nonsense:1")

    def test_exit_is_told(self):
        r = self.start()
        c = self.client()
        c("qAttached")
        r.qmp("quit")
        self.assertEqual(c.receive(), "W00")
        self.assertEqual(r.wait(), 0)


@unittest.skipUnless(GDB, "no gdb")
class Linux(guest.GuestTest):
    script = """
grep -m1 ' __x64_sys_sync$' /proc/kallsyms
read go
sync
echo "went on"
"""
    append = "quiet nokaslr"
    cpus = 2

    def test_kernel_function(self):
        folder = tempfile.mkdtemp(prefix="rhea-gdb-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "gdb")
        with self.boot("-gdb", "unix:" + path) as g:
            where = g.expect(r"([0-9a-f]{16}) T __x64_sys_sync\n")[1]
            # gdb stops the machine when it comes; the guest is sent on while gdb waits
            later = threading.Timer(3, g.send, ["go\n"])
            later.start()
            text = remote(path, "hbreak *0x" + where, "continue", "p/x $pc", "p/x $cs", "stepi",
                          "stepi", "x/2i $pc", "monitor info registers", "delete", "detach",
                          timeout=100)
            later.join()
            self.assertIn("$1 = 0x" + where.lstrip("0"), text)
            self.assertIn("$2 = 0x10", text)
            self.assertRegex(text, r"RIP=%s" % where[:12])
            g.expect(r"went on\n")
            g.expect_power_off()


if __name__ == "__main__":
    tap.main()
