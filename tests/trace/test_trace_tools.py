"""The trace generator's and the trace reader's answers to bad input, and what binaries carry."""

import functools
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import tap

SOURCE = pathlib.Path(os.environ["RHEA_SOURCE"])
GENERATE = SOURCE / "scripts/trace/generate.py"
READ = SOURCE / "tools/rhea-trace-read"

GOOD = 'a_event(u32 x) "x {x}"\n    Something.\n'
HEADER = b"RHEATRC1" + struct.pack("<QQ", 1_700_000_000_000_000_000, 1000)


def record(kind, body):
    return struct.pack("<II", len(body) + 8, kind) + body


def string(text):
    return struct.pack("<I", len(text)) + text.encode()


TYPE = record(1, struct.pack("<I", 1) + string("a_event") + string("x {x:04x} {{") +
              struct.pack("<I", 1) + b"\x02" + string("x"))


def event(x, ident=1):
    return record(2, struct.pack("<IIQQ", ident, 42, 3000, x))


@functools.lru_cache
def load(path):
    loader = importlib.machinery.SourceFileLoader("tool", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tool", loader))
    # Where dataclasses look for the types of their fields.
    sys.modules["tool"] = module
    loader.exec_module(module)
    return module


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rhea-trace-"))
        self.addCleanup(shutil.rmtree, self.dir)


class Generator(Case):
    def generate(self, *texts, backends="log,simple,syslog,usdt"):
        paths = []
        for number, text in enumerate(texts):
            folder = self.dir / "src" / ("f%d" % number)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "trace-events").write_text(text)
            paths.append(str(folder / "trace-events"))
        words = ["generate", "--backends", backends, "--output", str(self.dir),
                 "--table", "table.c", *paths]
        with unittest.mock.patch.object(sys, "argv", words):
            try:
                load(GENERATE).main()
            except SystemExit as stop:
                return stop.code
        return None

    def refused(self, message, *texts):
        said = self.generate(*texts)
        self.assertIn(message, said)
        self.assertNotIn("\n", said)
        self.assertFalse((self.dir / "table.c").exists())

    def test_good(self):
        self.assertIsNone(self.generate(GOOD))
        self.assertIn("trace_a_event(uint32_t x)", (self.dir / "f0-events.h").read_text())
        table = (self.dir / "table.c").read_text()
        for call in ("log_printf(", "syslog(", "DTRACE_PROBE1(", "trace_simple_emit("):
            self.assertIn(call, table)

    def test_unchanged_output_keeps_its_time(self):
        self.generate(GOOD)
        before = (self.dir / "f0-events.h").stat().st_mtime_ns
        self.generate(GOOD)
        self.assertEqual((self.dir / "f0-events.h").stat().st_mtime_ns, before)

    def test_one_backend(self):
        self.assertIsNone(self.generate(GOOD, backends="simple"))
        self.assertNotIn("log_printf(", (self.dir / "table.c").read_text())

    def test_mistakes(self):
        self.refused("f0/trace-events:1: expected 'name(", "Bad(u32 x) \"{x}\"\n")
        self.refused(":3: expected 'TYPE NAME'", GOOD + 'b(int x) "{x}"\n  Text.\n')
        self.refused("two arguments are called 'x'", 'a(u8 x, u8 x) "{x}"\n  Text.\n')
        self.refused("names 'y', which is no argument", 'a(u8 x) "{x} {y}"\n  Text.\n')
        self.refused("leaves out y", 'a(u8 x, u8 y) "{x}"\n  Text.\n')
        self.refused("can't be hexadecimal", 'a(str x) "{x:x}"\n  Text.\n')
        self.refused("can't stand alone", 'a(u8 x) "{x} 100%"\n  Text.\n')
        self.refused("has no description", 'a(u8 x) "{x}"\n')
        self.refused("a description without an event", "  Text.\n")
        self.refused("is declared in", GOOD, GOOD)
        many = ", ".join("u8 x%d" % i for i in range(11))
        self.refused("at most 10 arguments", 'a(%s) "x"\n  Text.\n' % many)


class Reader(Case):
    def read(self, data, *options):
        path = self.dir / "trace"
        path.write_bytes(data)
        return subprocess.run([sys.executable, READ, *options, path], capture_output=True, text=True)

    def refused(self, data, message):
        run = self.read(data)
        self.assertEqual(run.returncode, 1)
        self.assertIn(message, run.stderr)
        self.assertEqual(run.stderr.count("\n"), 1)

    def test_good(self):
        run = self.read(HEADER + TYPE + event(0xAB) + event(0xCD))
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout.splitlines()[0], "0.000002000 42 a_event x 0x00ab {{")

    def test_selection(self):
        data = HEADER + TYPE + event(1)
        self.assertEqual(self.read(data, "--event", "b*").stdout, "")
        self.assertIn("a_event", self.read(data, "--event", "a*").stdout)
        self.assertEqual(self.read(data, "--counts").stdout.split(), ["1", "a_event"])

    def test_lost_events_are_said(self):
        run = self.read(HEADER + record(3, struct.pack("<Q", 17)))
        self.assertEqual(run.returncode, 0)
        self.assertIn("17 events were lost", run.stderr)

    def test_cut_at_every_byte(self):
        reader = load(READ)
        data = HEADER + TYPE + event(1)
        for end in range(len(HEADER), len(data)):
            self.assertEqual(list(reader.read_events(io.BytesIO(data[:end]))), [])
        self.assertEqual(len(list(reader.read_events(io.BytesIO(data)))), 1)
        for end in (0, 5, len(HEADER) - 1):
            with self.assertRaises(reader.Broken):
                list(reader.read_events(io.BytesIO(data[:end])))

    def test_bad_files(self):
        self.refused(b"something else altogether", "no trace file")
        self.refused(HEADER + struct.pack("<II", 4, 1), "claims 4 bytes")
        self.refused(HEADER + struct.pack("<II", 1 << 30, 1), "claims")
        self.refused(HEADER + TYPE + event(1, ident=2), "not described")
        self.refused(HEADER + TYPE + record(2, struct.pack("<I", 1)), "ends before")
        run = subprocess.run([sys.executable, READ, self.dir / "none"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("No such file", run.stderr)


class Probes(unittest.TestCase):
    @unittest.skipUnless(shutil.which("readelf"), "readelf is not installed")
    def test_usdt_notes(self):
        table = pathlib.Path(os.environ["RHEA_BUILD"]) / "src/trace/trace-table.c"
        if "DTRACE_PROBE" not in table.read_text():
            self.skipTest("built without USDT probes")
        notes = subprocess.run(
            ["readelf", "-n", os.environ["RHEA"]], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        self.assertIn("Provider: rhea\n    Name: startup_enter\n", notes)
        self.assertNotIn("Semaphore: 0x0000000000000000\n", notes)


if __name__ == "__main__":
    tap.main()
