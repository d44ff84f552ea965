"""-smp, -numa and -m: what they add up to, and what is refused."""

import json
import unittest

import rhea
import tap

PC = ("-machine", "pc", "-nodefaults", "-S")


def places(*args):
    """(CPUs at the start, [(socket, die, core, thread)] of all)"""
    with rhea.Rhea(*PC, *args, "-accel", "qtest") as r:
        slots = r.qmp("query-hotpluggable-cpus")
        ids = sorted(tuple(s["props"][k + "-id"] for k in ("socket", "die", "core", "thread"))
                     for s in slots)
        return sum("qom-path" in s for s in slots), ids


class Case(unittest.TestCase):
    def refused(self, *args, says):
        status, out, err = rhea.run(*PC, "-accel", "qtest", *args)
        self.assertEqual((status, out), (1, ""), (args, err))
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(says, err)


class Smp(Case):
    def test_what_is_left_out_follows(self):
        for given, present, most in (
            ("1", 1, (0, 0, 0, 0)),
            ("4", 4, (0, 0, 3, 0)),
            ("4,sockets=2", 4, (1, 0, 1, 0)),
            ("4,cores=2", 4, (1, 0, 1, 0)),
            ("4,threads=2", 4, (0, 0, 1, 1)),
            ("sockets=2,cores=2,threads=2", 8, (1, 0, 1, 1)),
            ("8,sockets=2,dies=2,cores=2", 8, (1, 1, 1, 0)),
            ("2,maxcpus=4", 2, (0, 0, 3, 0)),
            ("2,sockets=2,maxcpus=8", 2, (1, 0, 3, 0)),
        ):
            with self.subTest(given):
                cpus, ids = places("-smp", given)
                self.assertEqual((cpus, ids[-1]), (present, most))

    def test_given_several_times(self):
        cpus, ids = places("-smp", "2", "-smp", "sockets=2,maxcpus=4")
        self.assertEqual((cpus, ids[-1]), (2, (1, 0, 1, 0)))

    def test_refused(self):
        for given, says in (
            ("0", "'cpus'"),
            ("2,sockets=0", "'sockets'"),
            ("2,maxcpus=1", "maxcpus (1)"),
            ("2,sockets=3", "sockets (3)"),
            ("8,sockets=2,dies=2,cores=2,threads=2", "is 16"),
            ("4,sockets=2,cores=2,threads=2", "is 8"),
            ("256", "at most 255"),
            ("70000", "65535"),
            ("2,socket=1", "'sockets'"),
            ("two", "'two'"),
        ):
            with self.subTest(given):
                self.refused("-smp", given, says=says)


class Numa(Case):
    BACKENDS = ("-object", "memory-backend-ram,id=m0,size=64M",
                "-object", "memory-backend-ram,id=m1,size=64M")

    def test_nodes(self):
        with rhea.Rhea(*PC, "-accel", "qtest", "-smp", "4", *self.BACKENDS,
                       "-numa", "node,memdev=m0,cpus=0-1", "-numa", "node,memdev=m1,cpus=2,cpus=3",
                       "-numa", "dist,src=0,dst=1,val=21") as r:
            nodes = {s["props"]["core-id"]: s["props"]["node-id"]
                     for s in r.qmp("query-hotpluggable-cpus")}
            self.assertEqual(nodes, {0: 0, 1: 0, 2: 1, 3: 1})

    def test_cpus_by_place(self):
        with rhea.Rhea(*PC, "-accel", "qtest", "-smp", "4,sockets=2", "-numa", "node",
                       "-numa", "node", "-numa", "cpu,node-id=1,socket-id=0",
                       "-numa", "cpu,node-id=0,socket-id=1") as r:
            for s in r.qmp("query-hotpluggable-cpus"):
                self.assertEqual(s["props"]["node-id"], 1 - s["props"]["socket-id"])

    def test_some_cpus_left_out(self):
        with rhea.Rhea(*PC, "-accel", "qtest", "-smp", "2", "-numa", "node,cpus=0") as r:
            r.qmp("query-status")
            self.assertIn("1 of 2 CPUs", r.errors())

    def test_refused(self):
        two = ("-numa", "node", "-numa", "node")
        for given, says in (
            (("-numa", "node,nodeid=128"), "127"),
            (("-numa", "node,nodeid=1"), "node 0 is missing"),
            (("-numa", "node,nodeid=0", "-numa", "node,nodeid=0"), "Duplicate"),
            (("-numa", "node,cpus=0-4"), "of -smp"),
            (("-numa", "node,cpus=0", "-numa", "node,cpus=0"), "in node 0 already"),
            (("-numa", "node,memdev=nope"), "'nope' not found"),
            (("-numa", "node,mem=64M", "-numa", "node,mem=32M"), "96 MiB"),
            ((*self.BACKENDS, "-numa", "node,memdev=m0", "-numa", "node,memdev=m0"),
             "memory of node 0 already"),
            ((*self.BACKENDS, "-numa", "node,memdev=m0,mem=64M"), "exclude each other"),
            (("-numa", "dist,src=0,dst=1,val=20"), "no node 0"),
            ((*two, "-numa", "dist,src=0,dst=1,val=9"), "10"),
            ((*two, "-numa", "dist,src=0,dst=0,val=20"), "10 from itself"),
            ((*two, "-numa", "node", "-numa", "dist,src=0,dst=1,val=20"), "missing"),
            (("-numa", "node", "-numa", "cpu,node-id=0,socket-id=7"), "no CPU"),
            (("-numa", "node", "-numa", "cpu,node-id=3,socket-id=0"), "no node 3"),
            (("-numa", "nodes"), "'nodes'"),
            (("-machine", "none", "-numa", "node"), "no NUMA"),
        ):
            with self.subTest(given):
                self.refused(*given, says=says)


class Memory(Case):
    def size(self, *args):
        with rhea.Rhea(*PC, "-accel", "qtest", *args) as r:
            return r.qmp("query-memory-size-summary")["base-memory"] >> 20

    def test_sizes(self):
        for args, size in (
            ((), 128),
            (("-m", "64"), 64),
            (("-m", "0.125G"), 128),
            (("-m", "size=32M,slots=2,maxmem=1G"), 32),
            (("-m", "32M,maxmem=1G"), 32),
            (("-m", "32M", "-m", "slots=2,maxmem=1G"), 32),
            (("-machine", "memory.size=48M"), 48),
        ):
            with self.subTest(args):
                self.assertEqual(self.size(*args), size)

    def test_backend_gives_the_size(self):
        backend = json.dumps({"qom-type": "memory-backend-ram", "id": "m", "size": 64 << 20})
        self.assertEqual(self.size("-object", backend, "-machine", "memory-backend=m"), 64)
        self.refused("-m", "128", "-object", backend, "-machine", "memory-backend=m", says="64 MiB")

    def test_refused(self):
        for given, says in (
            ("64x", "'64x'"),
            ("-1", "'-1'"),
            ("16E", "'size'"),
            ("64,slots=2", "maxmem"),
            ("64,slots=257,maxmem=1G", "256"),
            ("64,slots=1,maxmem=32M", "less than 'size'"),
            ("64,maxmen=1G", "'maxmem'"),
        ):
            with self.subTest(given):
                self.refused("-m", given, says=says)


if __name__ == "__main__":
    tap.main()
