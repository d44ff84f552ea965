"""What the monitor and the debug log show of a guest that runs."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import rhea
import tap

BAREMETAL = rhea.BUILD / "tests/guest/baremetal"


@functools.lru_cache(None)
def address(name):
    out = subprocess.run(["nm", str(BAREMETAL / "debug.elf")], stdout=subprocess.PIPE, check=True)
    return int(re.search(r"(?m)^(\w+) . %s$" % name, out.stdout.decode())[1], 16)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-debug-")
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *more, accel="jit"):
        r = rhea.Rhea("-M", "q35", "-accel", accel, "-smp", 2, "-m", "64", "-display", "none",
                      "-kernel", BAREMETAL / "debug.img", *more)
        self.addCleanup(r.close)
        return r

    def wait_for_turns(self, r, count):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            value = int(re.search(r": (0x\w+)", self.hmp(r, "xp /1gx 0x%x" % address("turns")))[1], 0)
            if value >= count:
                return
        self.fail("the guest stands still")


    def hmp(self, r, line):
        return r.qmp.hmp(line).replace("\r", "")


class Info(Case):
    def test_registers_are_current(self):
        r = self.start()
        self.wait_for_turns(r, 10)
        text = self.hmp(r, "info registers -a")
        rips = re.findall(r"RIP=([0-9a-f]{16})", text)
        self.assertEqual(len(rips), 2)
        for rip in rips:
            self.assertTrue(0x100000 <= int(rip, 16) < 0x104000, rip)
        self.assertRegex(self.hmp(r, "info registers"), r"CPU#0\nRAX=")

    def test_page_tables(self):
        r = self.start()
        self.wait_for_turns(r, 1)
        tlb = self.hmp(r, "info tlb").splitlines()
        self.assertIn("0000000000100000: 0000000000100000", tlb[0x100])
        self.assertRegex(tlb[0x100], r" ---[D-]A---W$")
        self.assertEqual(sum(1 for line in tlb if re.match(r"[0-9a-f]{16}: [0-9a-f]{16} [-XGPDACTUW]{9}$",
                                                           line)), 4096 + 1)
        mem = self.hmp(r, "info mem")
        # a page for ring 3 lies in the middle of the supervisor's 16 MiB; the APIC is the rest
        ranges = re.findall(r"([0-9a-f]{16})-([0-9a-f]{16}) ([0-9a-f]{16}) ([u-]r[w-])", mem)
        self.assertEqual(ranges[0][0], "0" * 16)
        self.assertEqual(ranges[-2][1], "%016x" % (16 << 20))
        self.assertEqual(ranges[-1][0], "00000000fee00000")
        for start, end, size, _ in ranges:
            self.assertEqual(int(end, 16) - int(start, 16), int(size, 16))

    def test_before_paging(self):
        r = self.start("-S")
        self.assertEqual(self.hmp(r, "info tlb").strip(), "PG disabled")
        self.assertEqual(self.hmp(r, "info mem").strip(), "PG disabled")

    def test_local_apics(self):
        r = self.start()
        self.wait_for_turns(r, 1)
        self.assertRegex(self.hmp(r, "info lapic"), r"state for CPU 0\n[^$]*SPIV +0x000001ff APIC enabled")
        self.assertIn("state for CPU 1", self.hmp(r, "info lapic 1"))
        self.assertIn("no CPU has the APIC id 9", self.hmp(r, "info lapic 9"))

    def test_translator(self):
        r = self.start(accel="jit,count-checks=on")
        self.wait_for_turns(r, 1000)
        text = self.hmp(r, "info jit")
        for line in ("blocks translated", "direct jumps chained", "TLB checks in line", "TLB hits",
                     "TLB entries filled", "instructions run by helpers"):
            self.assertGreater(int(re.search(r"(?m)^%s +(\d+)$" % line, text)[1]), 0, line)
        self.assertEqual(r.qmp("x-query-jit")["human-readable-text"].split("\n")[0].split(" ")[0], "code")

    def test_memory(self):
        r = self.start("-S")
        word = 0x1badb002
        self.assertIn("0x%08x" % word, self.hmp(r, "x /4wx 0x100000"))
        self.assertIn("0x%08x" % word, self.hmp(r, "xp /1wx 0x100000"))
        self.assertIn("0x%x" % (word + 1), self.hmp(r, "print /x 0x1badb000 + 3"))
        self.assertIn("p", self.hmp(r, "i /b 0x71"))
        self.assertIn("x /i", self.hmp(r, "x /2i 0x100020") + "x /i")


class Log(Case):
    def log(self, items, *more, turns=50):
        path = os.path.join(self.folder, "log")
        r = self.start("-d", items, "-D", path, *more)
        self.wait_for_turns(r, turns)
        self.hmp(r, "log none")
        return open(path, encoding="utf-8").read()

    def test_code(self):
        text = self.log("in_asm,out_asm")
        self.assertRegex(text, r"IN: mode \w+\n0x%08x:  cli" % 0x100020)
        self.assertRegex(text, r"OUT: \[size=\d+\]\n0x\w+:  \w+")

    def test_filter(self):
        where = address("bump")
        text = self.log("in_asm,exec,nochain", "-dfilter", "0x%x+4" % where)
        for found in re.findall(r"(?m)^Trace \d: 0x\w+ \[\w+/(\w+)\]", text):
            self.assertTrue(where <= int(found, 16) < where + 4, found)
        self.assertGreaterEqual(text.count("Trace 0:"), 50)
        self.assertEqual(text.count("IN: "), 1)

    def test_execution(self):
        text = self.log("exec,cpu,nochain", turns=5)
        steps = re.findall(r"(?m)^Trace 0: 0x\w+ \[\w+/(\w+)\]", text)
        # every call of the loop is there, in order
        calls = [name for step in steps for name in ("bump", "copy", "trap_and_return")
                 if int(step, 16) == address(name)]
        self.assertGreater(len(calls), 9)
        self.assertEqual(calls[:6], ["bump", "copy", "trap_and_return"] * 2)
        self.assertRegex(text, r"CPU#1\n[ER]AX=")

    def test_events(self):
        text = self.log("int,pcall,cpu_reset,mmu,page")
        self.assertRegex(text, r"CPU Reset \(CPU 0\)\nEAX=")
        self.assertRegex(text, r"pcall: cpu 0 ljmp 0008:")
        self.assertRegex(text, r"int: cpu 0 v=03 ")
        self.assertRegex(text, r"pcall: cpu 0 iret before 0008:")
        self.assertRegex(text, r"mmu: cpu 0 store 0000\w+ -> 0000\w+ page 4 KiB s")
        self.assertRegex(text, r"mmu: cpu 1 flush all")

    def test_switched_on_while_it_runs(self):
        path = os.path.join(self.folder, "log")
        r = self.start("-D", path)
        self.wait_for_turns(r, 100)
        self.hmp(r, "log exec,nochain")
        time.sleep(0.3)
        self.hmp(r, "log none")
        text = open(path, encoding="utf-8").read()
        self.assertGreater(len(re.findall(r"/%016x\]" % address("copy"), text)), 10)

    def test_nothing_there(self):
        text = self.log("guest_errors,unimp", turns=1)
        self.assertEqual(text, "")

    def test_errors(self):
        self.assertIn("START..END", rhea.run("-dfilter", "12", "-M", "none")[2])
        self.assertIn("in_asm", rhea.run("-d", "in_as", "-M", "none")[2])


class Perf(Case):
    def test_map(self):
        r = self.start("-perfmap")
        self.wait_for_turns(r, 1)
        path = "/tmp/perf-%d.map" % r.process.pid
        self.addCleanup(os.unlink, path)
        self.assertRegex(open(path, encoding="utf-8").read(),
                         r"(?m)^[0-9a-f]+ [0-9a-f]+ guest_%x" % address("bump"))


if __name__ == "__main__":
    tap.main()
