"""The monitors of a whole program: QMP and HMP together, start-up that waits, events, descriptors."""

import os
import socket
import tempfile
import time
import unittest

import rhea
import tap

ARGS = ("-nodefaults", "-accel", "qtest", "-display", "none")


class Monitor(unittest.TestCase):
    def test_every_query_answers(self):
        """Each command that needs no arguments gives a result or a decent error."""
        with rhea.Rhea("-machine", "q35", *ARGS) as r:
            schema = r.qmp("query-qmp-schema")
            types = {entry["name"]: entry for entry in schema}
            known = {"GenericError", "CommandNotFound", "DeviceNotFound", "DeviceNotActive",
                     "KVMMissingCap"}
            asked = 0
            for entry in schema:
                if entry["meta-type"] != "command" or not entry["name"].startswith("query-"):
                    continue
                members = types[entry["arg-type"]].get("members", [])
                if any("default" not in member for member in members):
                    continue
                asked += 1
                try:
                    r.qmp(entry["name"])
                except rhea.QmpError as error:
                    self.assertIn(error.error_class, known, entry["name"])
            self.assertGreater(asked, 20)

    def test_every_info_answers(self):
        with rhea.Rhea("-machine", "q35", *ARGS) as r:
            for line in r.qmp.hmp("help info").splitlines():
                name = line.split()[1]
                out = r.qmp.hmp("info " + name)
                if name != "history":
                    self.assertNotIn("unknown", out.split("\n")[0], name)
            self.assertIn("bus: main-system-bus", r.qmp.hmp("info qtree"))

    def test_memory_and_registers(self):
        with rhea.Rhea("-machine", "q35", "-m", "64", "-smp", "2", *ARGS, qtest=True) as r:
            r.qtest.write(0x100000, bytes(range(32)))
            self.assertEqual(r.qmp.hmp("xp /4xb 0x100000"),
                             "0000000000100000: 0x00 0x01 0x02 0x03\r\n")
            self.assertIn("0x07060504", r.qmp.hmp("xp /2xw 0x100000"))
            self.assertIn("0000000000100010: 0x1716151413121110",
                          r.qmp.hmp("xp /4xg 1048576").replace("\r", ""))
            self.assertIn("expected", r.qmp.hmp("xp /99999999xb 0"))
            self.assertIn("CPU#0", r.qmp.hmp("info registers"))
            self.assertIn("CPU#1", r.qmp.hmp("info registers -a"))
            self.assertIn("no CPU #7", r.qmp.hmp("cpu 7"))

    def test_start_up_that_waits(self):
        """A server with wait=on keeps the machine waiting, and the monitor tells so meanwhile."""
        folder = tempfile.mkdtemp(prefix="rhea-test-")
        path = os.path.join(folder, "late")
        try:
            with rhea.Rhea("-chardev", "socket,id=late,path=%s,server=on,wait=on" % path,
                           *ARGS) as r:
                labels = {c["label"]: c["filename"] for c in r.qmp("query-chardev")}
                self.assertIn("disconnected", labels["late"])
                with self.assertRaises(rhea.QmpError):
                    r.qmp("cont")
                deadline = time.monotonic() + rhea.PATIENCE
                while "waiting for chardev 'late'" not in r.errors():
                    self.assertLess(time.monotonic(), deadline, r.errors())
                    time.sleep(0.02)
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                while not r.qmp("query-status")["running"]:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                r.qmp("stop")
                self.assertEqual(r.qmp.event("STOP")["event"], "STOP")
                client.close()
        finally:
            os.rmdir(folder)

    def test_waiting_can_be_ended(self):
        with rhea.Rhea("-chardev", "socket,id=late,host=127.0.0.1,port=0,server=on,wait=on",
                       *ARGS) as r:
            r.qmp("quit")
            self.assertEqual(r.qmp.event("SHUTDOWN")["data"]["reason"], "host-qmp-quit")
            self.assertEqual(r.wait(), 0)

    def test_several_monitors(self):
        """All hear events; each has its own negotiation; an HMP line drives the same machine."""
        with tempfile.TemporaryDirectory(prefix="rhea-test-") as folder:
            second, third = os.path.join(folder, "b"), os.path.join(folder, "c")
            with rhea.Rhea("-qmp-pretty", "unix:%s,server=on,wait=off" % second,
                           "-monitor", "unix:%s,server=on,wait=off" % third, *ARGS) as r:
                hmp = rhea.connect(third)
                self.assertIn("type 'help'", hmp.line())
                hmp.send("stop\n")
                self.assertEqual(r.qmp.event("STOP")["event"], "STOP")
                pretty = rhea.connect(second)
                self.assertEqual(pretty.line(), "{")
                hmp.send("cont\n")
                r.qmp.event("RESUME")
                pretty.close()
                hmp.close()
                self.assertEqual(len(r.qmp("x-query-monitors")), 3)

    def test_descriptors(self):
        """A descriptor passed with getfd becomes a chardev."""
        ours, theirs = socket.socketpair()
        with rhea.Rhea(*ARGS) as r:
            r.qmp("getfd", fds=[theirs.fileno()], fdname="wire")
            theirs.close()
            r.qmp("chardev-add", id="c", backend={
                "type": "socket",
                "data": {"addr": {"type": "fd", "data": {"str": "wire"}}, "server": False}})
            self.assertIn("c", [c["label"] for c in r.qmp("query-chardev")])
            r.qmp("chardev-remove", id="c")
            self.assertEqual(ours.recv(1), b"")
            pipe = os.pipe()
            added = r.qmp("add-fd", fds=[pipe[1]], fdset_id=4)
            self.assertEqual(added["fdset-id"], 4)
            os.close(pipe[1])
            r.qmp("chardev-add", id="f", backend={"type": "file",
                                                  "data": {"out": "/dev/fdset/4"}})
            r.qmp("chardev-remove", id="f")
            r.qmp("remove-fd", fdset_id=4)
            self.assertEqual(os.read(pipe[0], 1), b"")
            os.close(pipe[0])
        ours.close()

    def test_out_of_band(self):
        with rhea.Rhea(*ARGS) as r:
            other = r.connect("qmp")  # waits in the backlog until the first one has gone
            r.qmp.close()
            qmp = rhea.Qmp(other, negotiate=False)
            qmp.execute({"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}})
            self.assertEqual(qmp.execute({"exec-oob": "query-yank"})[0]["type"], "chardev")
            qmp.close()

    def test_bad_options(self):
        for args, message in (
                (("-mon", "nonesuch"), "nonesuch"),
                (("-mon", "chardev=nonesuch,mode=control"), "nonesuch"),
                (("-chardev", "null,id=a", "-mon", "a,mode=loud"), "loud"),
                (("-chardev", "null,id=a", "-mon", "a", "-mon", "a"), "in use"),
                (("-qmp", "bogus"), "bogus"),
                (("-monitor", "unix:/nonexistent/x,server=on"), "/nonexistent/x"),
                (("-qmp", "vc"), "display"),
                (("-audiodev", "none,id=a", "-audiodev", "none,id=a"), "already taken"),
        ):
            with self.subTest(args):
                status, _, err = rhea.run(*ARGS, *args)
                self.assertEqual(status, 1)
                self.assertIn(message, err)
                self.assertEqual(len(err.splitlines()), 1 + ("mux=on" in err), err)


if __name__ == "__main__":
    tap.main()
