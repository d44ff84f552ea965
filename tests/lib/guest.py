"""Boot a guest and talk to it over its serial console.

    class Boot(guest.GuestTest):
        script = 'echo "up: $(uname -r)"'       # what /init goes on with; it powers off at the end
        def test_boot(self):
            with self.boot() as g:
                g.expect(r"up: \\d+")
                g.expect_power_off()

The kernel is Debian's, the rest busybox: scripts/guest/images.py. RHEA_GUEST_PROGRAM names another
program to boot with (qemu-system-x86_64: is it the test that is wrong?), RHEA_GUEST_ACCEL another
accelerator, RHEA_GUEST_LOG=1 shows the consoles.
"""

import os
import pathlib
import re
import select
import socket
import sys
import time
import unittest

import rhea

sys.path.insert(0, str(rhea.SOURCE / "scripts/guest"))
import images  # noqa: E402

PROGRAM = os.environ.get("RHEA_GUEST_PROGRAM")
ACCEL = os.environ.get("RHEA_GUEST_ACCEL") or ("tcg" if PROGRAM else "jit")
CACHE = os.environ.get("RHEA_GUEST_CACHE") or rhea.BUILD / "guest-cache"
LOG = os.environ.get("RHEA_GUEST_LOG")
BOOT_SECONDS = 120  # until the first line of a script; generous, since the machine may be loaded

EPILOGUE = """
echo "guest-script: done"
poweroff -f
"""


class Console:
    """The serial console, as a stream of text to search forward in."""

    def __init__(self, sock):
        self.sock = sock
        self.text = ""
        self.at = 0
        self.closed = False

    def expect(self, pattern, timeout=BOOT_SECONDS, unless=r"Kernel panic|BUG:|Call Trace"):
        """The next match of the pattern, or an error that shows what came instead."""
        deadline = time.monotonic() + timeout
        wanted = re.compile(pattern)
        bad = re.compile(unless) if unless else None
        while True:
            found = wanted.search(self.text, self.at)
            wrong = bad.search(self.text, self.at) if bad else None
            if wrong and (not found or wrong.start() < found.start()):
                self.read_for(2)
                raise AssertionError("the guest is in trouble:\n" + self.tail())
            if found:
                self.at = found.end()
                return found
            left = deadline - time.monotonic()
            if left <= 0 or self.closed:
                why = "the console closed" if self.closed else "nothing within %g s" % timeout
                raise AssertionError("waited for %r, %s:\n%s" % (pattern, why, self.tail()))
            self.read(left)

    def read(self, timeout):
        if not select.select([self.sock], [], [], timeout)[0]:
            return
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
        text = data.decode(errors="replace").replace("\r", "")
        if LOG:
            sys.stdout.write("".join("# | %s\n" % line for line in text.splitlines()))
        self.text += text

    def read_for(self, seconds):
        end = time.monotonic() + seconds
        while not self.closed and time.monotonic() < end:
            self.read(end - time.monotonic())

    def send(self, text):
        self.sock.sendall(text.encode())

    def tail(self, lines=60):
        return "\n".join(self.text.splitlines()[-lines:])


class Guest:
    """A machine that boots; .console, .rhea (with .qmp)."""

    def __init__(self, *args):
        self.rhea = None
        listener = socket.socket(socket.AF_UNIX)
        folder = rhea.tempfile.mkdtemp(prefix="rhea-console-")
        path = os.path.join(folder, "console")
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(rhea.PATIENCE)
        try:
            self.start = time.monotonic()
            self.rhea = rhea.Rhea(
                "-chardev", "socket,id=console0,path=" + path, "-serial", "chardev:console0", *args)
            self.console = Console(listener.accept()[0])
        except BaseException:
            if self.rhea:
                self.rhea.close(quiet=True)
            raise
        finally:
            listener.close()
            rhea.shutil.rmtree(folder)

    @property
    def qmp(self):
        return self.rhea.qmp

    def expect(self, pattern, timeout=BOOT_SECONDS, **options):
        return self.console.expect(pattern, timeout, **options)

    def send(self, text):
        self.console.send(text)

    def expect_power_off(self, timeout=BOOT_SECONDS):
        """The guest ends the machine itself, in order."""
        deadline = time.monotonic() + timeout
        while not self.console.closed and time.monotonic() < deadline:
            self.console.read(1)
        status = self.rhea.wait(max(deadline - time.monotonic(), 1))
        if status != 0:
            raise AssertionError("exit status %d: %s" % (status, self.rhea.errors()))

    def seconds(self):
        return time.monotonic() - self.start

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not LOG:
            print("# console: " + self.console.tail().replace("\n", "\n# console: "))
        self.rhea.__exit__(kind, value, trace)


class GuestTest(unittest.TestCase):
    """Boots Debian's kernel with a script; members say what the guest has."""

    script = ""
    modules = ("virtio_pci",)
    files = ()
    machine = "q35"
    memory = "512M"
    cpus = 1
    append = ""
    args = ()

    @classmethod
    def setUpClass(cls):
        if PROGRAM:
            rhea.PROGRAM = PROGRAM
        if ACCEL not in rhea.run("-accel", "help")[1].split():
            raise unittest.SkipTest("this build has no accelerator '%s'" % ACCEL)
        if cls.machine not in rhea.run("-machine", "help")[1].split():
            raise unittest.SkipTest("this build has no machine '%s'" % cls.machine)
        try:
            cls.images = images.Images(CACHE)
            cls.kernel = cls.images.kernel()[0]
        except images.ImageError as error:
            raise unittest.SkipTest("no kernel to boot: %s" % error)

    def boot(self, *more):
        initramfs = self.images.initramfs(self.script + EPILOGUE, self.modules, self.files)
        return Guest(
            "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", self.machine, "-accel", ACCEL,
            "-m", self.memory, "-smp", self.cpus,
            "-kernel", self.kernel, "-initrd", initramfs,
            "-append", ("console=ttyS0 panic=-1 " + self.append).strip(),
            *self.args, *more)


def source(name):
    return pathlib.Path(rhea.SOURCE) / name
