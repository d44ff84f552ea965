"""Real vhost-user back ends from Debian's packages, started and killed for tests."""

import os
import shutil
import signal
import subprocess
import time

import rhea

STORAGE_DAEMON = shutil.which("qemu-storage-daemon")
VIRTIOFSD = next((p for p in ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
                  if os.access(p, os.X_OK)), None)


class Process:
    """One that listens at self.socket; start() again after kill() is a restart."""

    def __init__(self, folder, name):
        self.socket = os.path.join(folder, name + ".sock")
        self.log = os.path.join(folder, name + ".log")
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + rhea.PATIENCE
        while not os.path.exists(self.socket):
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise AssertionError("%s does not listen: %s" % (self.command()[0], log.read()))
            time.sleep(0.01)
        return self

    def kill(self, number=signal.SIGKILL):
        if self.process:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.kill()


class StorageDaemon(Process):
    """A raw image as a disk, over vhost-user-blk."""

    def __init__(self, folder, image, queues=1, writable=True, name="disk"):
        super().__init__(folder, name)
        self.image, self.queues, self.writable = image, queues, writable

    def command(self):
        return [STORAGE_DAEMON,
                "--blockdev", "driver=file,node-name=file0,filename=" + self.image,
                "--blockdev", "driver=raw,node-name=disk0,file=file0",
                "--export", "type=vhost-user-blk,id=e0,node-name=disk0,addr.type=unix,addr.path=%s,"
                "writable=%s,num-queues=%d" % (self.socket, "on" if self.writable else "off",
                                               self.queues)]


class Virtiofsd(Process):
    """A folder, over vhost-user-fs."""

    def __init__(self, folder, shared, cache="none", name="fs"):
        super().__init__(folder, name)
        self.shared, self.cache = shared, cache

    def command(self):
        return [VIRTIOFSD, "--socket-path=" + self.socket, "-o", "source=" + self.shared,
                "-o", "cache=" + self.cache, "-o", "sandbox=chroot"]
