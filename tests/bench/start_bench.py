"""How fast an empty machine answers, and what memory it takes."""

import atexit
import functools
import json
import os
import re
import shutil
import signal
import tempfile
import time

import bench

COMMAND = ["-machine", "none", "-nodefaults", "-qmp", "stdio"]
# It would look for a display and offer VNC.
MORE = {"qemu": ["-display", "none"]}
GREETING_SECONDS = 30


@functools.lru_cache
def copy_of(path):
    """Pages of a file that another process maps too would not count as private."""
    folder = tempfile.mkdtemp(prefix="rhea-bench-")
    atexit.register(shutil.rmtree, folder)
    return shutil.copy2(path, folder)


def private_bytes(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return 1024 * sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", f.read()))


class Started:
    """The program with its monitor on a pair of pipes, started with as little as possible round it."""

    def __init__(self, program):
        in_read, self.to_program = os.pipe()
        self.from_program, out_write = os.pipe()
        os.set_inheritable(in_read, True)
        null = os.open(os.devnull, os.O_WRONLY)
        actions = [
            (os.POSIX_SPAWN_DUP2, in_read, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, null, 2),
        ]
        # What is installed elsewhere may look for its files beside itself.
        path = copy_of(program.path) if program.name == "rhea" else program.path
        words = [path] + COMMAND + MORE.get(program.name, [])
        self.start = time.perf_counter()
        self.pid = os.posix_spawn(path, words, os.environ,
                                  file_actions=actions)
        for fd in (in_read, out_write, null):
            os.close(fd)
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            data = os.read(self.from_program, 65536)
            if not data:
                raise bench.Skip("%s says nothing on its monitor" % COMMAND[-1])
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError as error:
            raise bench.Skip("no monitor on standard output: %r" % line[:80]) from error

    def command(self, name):
        os.write(self.to_program, json.dumps({"execute": name}).encode() + b"\n")
        while True:
            reply = self.line()
            if "return" in reply or "error" in reply:
                return reply

    def end(self):
        os.close(self.to_program)
        os.close(self.from_program)
        try:
            os.kill(self.pid, signal.SIGKILL)
        finally:
            os.waitpid(self.pid, 0)


@bench.benchmark(
    "start",
    bench.Measure("exec to QMP greeting", "ms"),
    bench.Measure("exec to first reply", "ms"),
    bench.Measure("private memory", "MiB"),
    rounds=30,
)
def start(program):
    """`-machine none -nodefaults -qmp stdio`: from exec to the greeting and to the first command's
    reply; then the memory that the process has for itself (Private_Clean and Private_Dirty), nobody
    else running the program."""
    run = Started(program)
    try:
        if "QMP" not in run.line():
            raise bench.Skip("the monitor's first line is no greeting")
        greeting = time.perf_counter() - run.start
        run.command("qmp_capabilities")
        reply = time.perf_counter() - run.start
        memory = private_bytes(run.pid)
    finally:
        run.end()
    return {
        "exec to QMP greeting": greeting * 1e3,
        "exec to first reply": reply * 1e3,
        "private memory": memory / (1 << 20),
    }
