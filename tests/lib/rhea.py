"""Start the program under test and talk to it.

    with rhea.Rhea("-machine", "none") as r:
        r.qmp("query-status")

A Rhea has a folder of its own for sockets and files (r.path("name")), which goes away with it.
"""

import base64
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("RHEA_SOURCE") or pathlib.Path(__file__).parents[2])
BUILD = pathlib.Path(os.environ.get("RHEA_BUILD") or SOURCE / "build")
PROGRAM = os.environ.get("RHEA") or str(BUILD / "rhea")
# Sanitizers and loaded machines are slow; seconds to wait for what should come at once.
PATIENCE = float(os.environ.get("RHEA_PATIENCE") or 30)


class QmpError(Exception):
    """A command's error reply."""

    def __init__(self, reply):
        super().__init__(reply["desc"])
        self.error_class = reply["class"]


class Timeout(Exception):
    """Something expected did not happen in time."""


class LineSocket:
    """A stream socket read by lines, with a deadline for each."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def line(self, timeout=PATIENCE):
        """The next line without its end; None at the end of the stream."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise Timeout("no line within %g s; so far %r" % (timeout, self.buffer[-200:]))
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode(errors="backslashreplace")

    def send(self, text, fds=()):
        data = text.encode()
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.sendall(data)

    def close(self):
        self.sock.close()


def connect(path, timeout=PATIENCE, alive=lambda: True):
    """A connection to a unix socket that somebody is about to listen on."""
    deadline = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
            return LineSocket(sock)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            sock.close()
            if not alive() or time.monotonic() > deadline:
                raise Timeout("nobody listens on %s" % path) from error
            time.sleep(0.005)


class Qmp:
    """One QMP connection. Events that come between are kept in .events."""

    def __init__(self, lines, negotiate=True):
        self.lines = lines
        self.events = []
        self.greeting = self.read()
        if negotiate:
            self("qmp_capabilities")

    def read(self, timeout=PATIENCE):
        line = self.lines.line(timeout)
        if line is None:
            raise EOFError("the monitor hung up")
        return json.loads(line)

    def reply(self, timeout=PATIENCE):
        """The next message that is no event."""
        while True:
            message = self.read(timeout)
            if "event" not in message:
                return message
            self.events.append(message)

    def __call__(self, command, fds=(), timeout=PATIENCE, **arguments):
        """Run a command; underscores in arguments' names stand for dashes. Returns its result."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        return self.execute(request, fds, timeout)

    def execute(self, request, fds=(), timeout=PATIENCE):
        self.lines.send(json.dumps(request) + "\n", fds)
        reply = self.reply(timeout)
        if "error" in reply:
            raise QmpError(reply["error"])
        return reply["return"]

    def hmp(self, line):
        return self.execute({"execute": "human-monitor-command",
                             "arguments": {"command-line": line}})

    def event(self, name, timeout=PATIENCE):
        """Wait for an event of this name, and take it out of the list."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            message = self.read(max(deadline - time.monotonic(), 0))
            if "event" not in message:
                raise AssertionError("a reply nobody waits for: %r" % message)
            self.events.append(message)

    def close(self):
        self.lines.close()


class Qtest:
    """The device-test protocol: the guest's accesses, made from outside."""

    def __init__(self, lines):
        self.lines = lines
        self.irqs = {}

    def __call__(self, *words):
        """Send one request; the words after OK."""
        self.lines.send(" ".join(str(w) for w in words) + "\n")
        while True:
            line = self.lines.line()
            if line is None:
                raise EOFError("qtest hung up")
            head, *rest = line.split(" ")
            if head == "IRQ":
                self.irqs[int(rest[1])] = rest[0] == "raise"
            elif head == "OK":
                return rest
            else:
                raise AssertionError("%s: %s" % (" ".join(str(w) for w in words), line))

    def _read(self, what, address):
        return int(self(what, hex(address))[0], 0)

    def inb(self, port):
        return self._read("inb", port)

    def inw(self, port):
        return self._read("inw", port)

    def inl(self, port):
        return self._read("inl", port)

    def outb(self, port, value):
        self("outb", hex(port), hex(value))

    def outw(self, port, value):
        self("outw", hex(port), hex(value))

    def outl(self, port, value):
        self("outl", hex(port), hex(value))

    def readb(self, address):
        return self._read("readb", address)

    def readw(self, address):
        return self._read("readw", address)

    def readl(self, address):
        return self._read("readl", address)

    def readq(self, address):
        return self._read("readq", address)

    def writeb(self, address, value):
        self("writeb", hex(address), hex(value))

    def writew(self, address, value):
        self("writew", hex(address), hex(value))

    def writel(self, address, value):
        self("writel", hex(address), hex(value))

    def writeq(self, address, value):
        self("writeq", hex(address), hex(value))

    def read(self, address, size):
        return base64.b64decode(self("b64read", hex(address), hex(size))[0])

    def write(self, address, data):
        self("b64write", hex(address), hex(len(data)), base64.b64encode(data).decode())

    def clock_step(self, ns=None):
        return int(self("clock_step", *([] if ns is None else [ns]))[0])

    def close(self):
        self.lines.close()


class Rhea:
    """One run of the program. What it says on stderr is in .errors() and shown when a test fails."""

    def __init__(self, *args, qmp=True, qtest=False, env=None, pass_fds=(), stdin=None):
        self.folder = tempfile.mkdtemp(prefix="rhea-test-")
        self.args = [PROGRAM]
        if qmp:
            self.args += ["-qmp", "unix:%s,server=on,wait=off" % self.path("qmp")]
        if qtest:
            self.args += ["-qtest", "unix:%s,server=on,wait=off" % self.path("qtest"),
                          "-accel", "qtest"]
        self.args += [str(a) for a in args]
        self.stderr = open(self.path("stderr"), "wb")
        self.stdout = open(self.path("stdout"), "wb")
        self.process = subprocess.Popen(
            self.args,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=self.stdout,
            stderr=self.stderr,
            env=dict(os.environ, **(env or {})),
            pass_fds=pass_fds,
        )
        self.qmp = self.qtest = None
        try:
            if qmp:
                self.qmp = Qmp(self.connect("qmp"))
            if qtest:
                self.qtest = Qtest(self.connect("qtest"))
        except (Timeout, EOFError, ConnectionError) as error:
            status = self.process.poll()
            said = self.errors()
            self.close(quiet=True)
            raise AssertionError("%s\nexit status %s, said: %s" % (error, status, said)) from error

    def path(self, name):
        return os.path.join(self.folder, name)

    def connect(self, name):
        return connect(self.path(name), alive=lambda: self.process.poll() is None)

    def errors(self):
        return pathlib.Path(self.path("stderr")).read_text(errors="backslashreplace")

    def output(self):
        return pathlib.Path(self.path("stdout")).read_text(errors="backslashreplace")

    def wait(self, timeout=PATIENCE):
        """Exit status, once it ends by itself."""
        return self.process.wait(timeout)

    def signal(self, number):
        self.process.send_signal(number)

    def close(self, quiet=False):
        """End it if it runs. A crash or a sanitizer's report is an error even now."""
        for connection in (self.qmp, self.qtest):
            if connection:
                connection.close()
        ended = self.process.poll()
        if ended is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                ended = self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                ended = "no end after SIGTERM"
        self.stderr.close()
        self.stdout.close()
        said = self.errors()
        shutil.rmtree(self.folder, ignore_errors=True)
        bad = isinstance(ended, str) or ended < 0 or "Sanitizer" in said
        if bad and not quiet:
            raise AssertionError("%s: ended with %s\n%s" % (" ".join(self.args), ended, said))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and os.path.exists(self.path("stderr")) and self.errors():
            print("# stderr: " + self.errors().rstrip().replace("\n", "\n# stderr: "))
        self.close(quiet=kind is not None)


def run(*args, timeout=PATIENCE, **options):
    """Run to the end: (status, stdout, stderr). For what is to fail or to print something."""
    done = subprocess.run(
        [PROGRAM, *[str(a) for a in args]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        timeout=timeout,
        **options,
    )
    return done.returncode, done.stdout, done.stderr
