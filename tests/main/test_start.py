"""Starting and ending the whole program: processes, files, signals, traces, the start-up graph."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import rhea
import tap

EMPTY = ("-machine", "none", "-nodefaults")
# LeakSanitizer starts a process that traces this one; where that is forbidden, it gives up loudly.
NO_LEAK_CHECK = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rhea-start-"))
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return str(self.dir / name)

    def refused(self, *args, says=""):
        """Exit status 1, one line that says why, nothing left behind."""
        before = set(os.listdir(self.dir))
        status, out, err = rhea.run(*args)
        self.assertEqual((status, out), (1, ""), err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(says, err)
        self.assertEqual(set(os.listdir(self.dir)), before)


class Daemon(Case):
    def start(self, *args):
        """Start a daemon; its process id and its monitor."""
        pidfile, sock = self.path("pid"), self.path("qmp")
        status, out, err = rhea.run(*EMPTY, "-daemonize", "-pidfile", pidfile,
                                    "-qmp", "unix:%s,server=on,wait=off" % sock, *args)
        self.assertEqual((status, out, err), (0, "", ""))
        # Both are there as soon as the parent is gone.
        pid = int(pathlib.Path(pidfile).read_text())
        self.addCleanup(self.kill, pid)
        return pid, rhea.Qmp(rhea.connect(sock, timeout=0))

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait_gone(self, pid):
        deadline = time.monotonic() + rhea.PATIENCE
        while time.monotonic() < deadline:
            try:
                os.kill(pid, 0)
                state = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0]
            except (ProcessLookupError, FileNotFoundError):
                return
            if state == "Z":  # whoever is to reap it takes its time
                return
            time.sleep(0.01)
        self.fail("process %d lives on" % pid)

    def test_life(self):
        pid, qmp = self.start()
        self.assertEqual(os.readlink("/proc/%d/cwd" % pid), "/")
        for fd in (0, 1, 2):
            self.assertEqual(os.readlink("/proc/%d/fd/%d" % (pid, fd)), "/dev/null")
        self.assertEqual(os.getsid(pid), pid)
        qmp("quit")
        self.wait_gone(pid)
        self.assertEqual(os.listdir(self.dir), [])

    def test_sigterm(self):
        pid, qmp = self.start()
        os.kill(pid, signal.SIGTERM)
        qmp.event("SHUTDOWN")
        self.wait_gone(pid)
        self.assertEqual(os.listdir(self.dir), [])

    def test_relative_paths(self):
        status, _, err = rhea.run(*EMPTY, "-daemonize", "-pidfile", "pid",
                                  "-qmp", "unix:qmp,server=on,wait=off", cwd=self.dir)
        self.assertEqual((status, err), (0, ""))
        pid = int(pathlib.Path(self.path("pid")).read_text())
        self.addCleanup(self.kill, pid)
        os.kill(pid, signal.SIGTERM)
        self.wait_gone(pid)
        self.assertEqual(os.listdir(self.dir), [])

    def test_second_with_the_same_pidfile(self):
        pid, qmp = self.start()
        status, _, err = rhea.run(*EMPTY, "-daemonize", "-pidfile", self.path("pid"))
        self.assertEqual(status, 1)
        self.assertIn("process, %d" % pid, err)
        self.assertEqual(int(pathlib.Path(self.path("pid")).read_text()), pid)
        qmp("quit")
        self.wait_gone(pid)

    def test_failing_starts(self):
        pidfile = self.path("pid")
        self.refused(*EMPTY, "-daemonize", "-pidfile", pidfile, "-device", "no-such-device",
                     says="no-such-device")
        self.refused(*EMPTY, "-daemonize", "-pidfile", self.path("no/pid"), says="no/pid")
        self.refused(*EMPTY, "-daemonize", "-pidfile", pidfile,
                     "-chardev", "socket,id=c,path=%s" % self.path("nobody"), says="nobody")
        for stdio in (("-chardev", "stdio,id=c"), ("-monitor", "stdio"), ("-serial", "mon:stdio"),
                      ("-nographic",)):
            self.refused("-machine", "pc", "-accel", "qtest", "-daemonize", "-pidfile", pidfile,
                         *stdio, says="-daemonize")
        if os.getuid() == 0:
            # What is taken away last can fail too, and the parent hears of it.
            self.refused(*EMPTY, "-daemonize", "-pidfile", pidfile, "-run-with", "chroot=/no/where",
                         says="/no/where")

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_with_everything_taken_away(self):
        os.chmod(self.dir, 0o777)
        pid, qmp = self.start(
            "-run-with", "user=nobody,chroot=%s,async-teardown=on" % self.dir,
            "-sandbox", "on,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
        status = pathlib.Path("/proc/%d/status" % pid).read_text()
        self.assertIn("Uid:\t65534\t65534\t65534\t65534", status)
        self.assertIn("CapEff:\t0000000000000000", status)
        self.assertIn("Seccomp:\t2", status)
        self.assertEqual(os.readlink("/proc/%d/root" % pid), str(self.dir))
        self.assertEqual(qmp("query-status")["status"], "running")
        qmp("quit")
        self.wait_gone(pid)
        # The helper that gives the memory back goes too, soon after.
        deadline = time.monotonic() + rhea.PATIENCE
        while self.others():
            self.assertLess(time.monotonic(), deadline, "left behind: %s" % self.others())
            time.sleep(0.01)

    def others(self):
        """Processes with our folder on their command lines."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.dir).encode() in entry.read_bytes():
                    found.append(int(entry.parent.name))
            except OSError:
                pass  # gone meanwhile
        return found


class Lists(unittest.TestCase):
    """The shapes that tools parse."""

    def lines(self, *args):
        status, out, err = rhea.run(*args)
        self.assertEqual((status, err), (0, ""))
        return out.splitlines()

    def test_names_below_a_heading(self):
        for option, names in (("-accel", ("tcg", "jit", "qtest")), ("-netdev", ("user", "tap")),
                              ("-chardev", ("socket", "pty", "ringbuf")), ("-display", ("none",)),
                              ("-audiodev", ("none",)), ("-blockdev", ("file", "raw"))):
            for word in ("help", "?"):
                with self.subTest((option, word)):
                    heading, *lines = self.lines(option, word)
                    self.assertTrue(heading.endswith(":"), heading)
                    self.assertLessEqual(set(names), set(lines))

    def test_first_words(self):
        for option, first, names in (("-machine", 0, ("none", "pc", "q35")),
                                     ("-cpu", 1, ("qemu64", "max", "Haswell")),
                                     ("-d", 0, ("int", "cpu_reset"))):
            with self.subTest(option):
                words = [line.split() for line in self.lines(option, "help")[1:]]
                self.assertLessEqual(set(names), {w[first] for w in words if len(w) > first})

    def test_devices(self):
        lines = self.lines("-device", "help")
        self.assertTrue([x for x in lines if x.startswith('name "virtio-net-pci", bus PCI')])
        self.assertTrue([x for x in lines if x.startswith('name "isa-serial", bus ISA')])

    def test_members(self):
        for args, key in ((("-device", "isa-serial,help"), "chardev"),
                          (("-device", "driver=isa-serial,?"), "chardev"),
                          (("-object", "memory-backend-ram,help"), "size"),
                          (("-machine", "pc,help"), "memory-backend"),
                          (("-cpu", "max,help"), "avx"),
                          (("-netdev", "user,help"), "hostfwd"),
                          (("-m", "help"), "maxmem")):
            with self.subTest(args):
                self.assertTrue([x for x in self.lines(*args) if x.startswith("  %s=<" % key)])

    def test_help_for_nothing(self):
        for args in (("-device", "foo,help"), ("-object", "foo,help"), ("-machine", "foo,help"),
                     ("-accel", "foo,help"), ("-cpu", "foo,help")):
            with self.subTest(args):
                status, out, err = rhea.run(*args)
                self.assertEqual((status, out), (1, ""))
                self.assertEqual(len(err.splitlines()), 1)


class Signals(unittest.TestCase):
    def test_each_ends_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number), rhea.Rhea(*EMPTY) as r:
                r.signal(number)
                self.assertEqual(r.qmp.event("SHUTDOWN")["data"]["reason"], "host-signal")
                self.assertEqual(r.wait(), 0)


class Trace(Case):
    def test_help(self):
        status, out, _ = rhea.run("-trace", "help")
        self.assertEqual(status, 0)
        self.assertIn("startup_enter", out.split())

    def test_lines_in_a_log(self):
        log = self.path("log")
        with rhea.Rhea(*EMPTY, "-D", log, "-trace", "startup_*"):
            pass
        self.assertIn("startup_enter phase machine\n", pathlib.Path(log).read_text())

    def test_binary_file_and_events_file(self):
        trace, events = self.path("trace"), self.path("events")
        pathlib.Path(events).write_text("startup_*\n-startup_leave\n")
        with rhea.Rhea(*EMPTY, "-trace", "events=%s,file=%s" % (events, trace)) as r:
            self.assertEqual(r.qmp("trace-event-get-state", name="startup_enter")[0]["state"],
                             "enabled")
            r.qmp("trace-event-set-state", name="startup_enter", enable=False)
            self.assertEqual(r.qmp("trace-event-get-state", name="startup_enter")[0]["state"],
                             "disabled")
        text = subprocess.run([rhea.SOURCE / "tools/rhea-trace-read", trace], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        self.assertIn("startup_enter phase board\n", text)
        self.assertNotIn("startup_leave", text)

    def test_bad_input(self):
        self.refused(*EMPTY, "-trace", "events=/no/where", says="/no/where")
        self.refused(*EMPTY, "-trace", "file=/no/where", says="/no/where")
        self.refused(*EMPTY, "-trace", "fil=x", says="file")
        events = self.dir / "events"
        events.write_text("startup_enter\nstartup_enter yes\n")
        self.refused(*EMPTY, "-trace", "events=%s" % events, says="%s:2:" % events)


class Graph(Case):
    def test_of_a_start(self):
        graph = self.path("graph.dot")
        with rhea.Rhea(*EMPTY, "-startup-graph", graph):
            text = pathlib.Path(graph).read_text()
        self.assertTrue(text.startswith("digraph"))
        for phase in ("parse-first-pass", "machine", "board", "run"):
            self.assertIn('label="%s\\nat ' % phase, text)
        if shutil.which("dot"):
            subprocess.run(["dot", "-Tplain", "-o", os.devnull, graph], check=True)

    def test_of_a_start_that_only_prints(self):
        graph = self.path("graph.dot")
        status, _, err = rhea.run(*EMPTY, "-startup-graph", graph, "-dump-vmstate", os.devnull)
        self.assertEqual((status, err), (0, ""))
        self.assertIn('label="dump-vmstate', pathlib.Path(graph).read_text())

    @unittest.skipUnless(shutil.which("dot"), "Graphviz is not installed")
    def test_picture(self):
        graph = self.path("graph.svg")
        with rhea.Rhea(*EMPTY, "-startup-graph", graph):
            # Nobody waits for Graphviz.
            deadline = time.monotonic() + rhea.PATIENCE
            while "</svg>" not in pathlib.Path(graph).read_text():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)

    def test_of_a_start_that_fails(self):
        graph = self.path("graph.dot")
        status, _, err = rhea.run(*EMPTY, "-startup-graph", graph, "-device", "no-such-device")
        self.assertEqual(status, 1)
        text = pathlib.Path(graph).read_text()
        self.assertIn("no-such-device", text)
        self.assertIn("failure", text)

    def test_where_it_cannot_be_written(self):
        status, _, err = rhea.run(*EMPTY, "-startup-graph", "/no/where.dot", "-device", "no-such")
        self.assertEqual(status, 1)
        self.assertIn("/no/where.dot", err)


class Sandbox(unittest.TestCase):
    def test_machine_runs_in_it(self):
        with rhea.Rhea(*EMPTY, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                       "resourcecontrol=deny", env=NO_LEAK_CHECK) as r:
            self.assertEqual(r.qmp("query-status")["status"], "running")
            status = pathlib.Path("/proc/%d/status" % r.process.pid).read_text()
            self.assertIn("Seccomp:\t2", status)
            r.qmp("quit")
            self.assertEqual(r.wait(), 0)


if __name__ == "__main__":
    tap.main()
