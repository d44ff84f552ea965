"""Nothing is parsed and then ignored: each option, and each key of an option's record, is read
somewhere in src/."""

import os
import pathlib
import re
import sys
import unittest

import tap

ROOT = pathlib.Path(os.environ.get("RHEA_SOURCE") or pathlib.Path(__file__).parents[2])
sys.path.insert(0, str(ROOT / "scripts" / "schema"))

from check import Checker  # noqa: E402
from model import Record, c_name  # noqa: E402


# Their only value is "none", which is what there is: the record is checked and nothing is left to do.
AWAITED = {"audiodev", "display", "vga"}

# Keys that change nothing because there is only one way to do it, and say so in their help.
ONE_WAY = {("netdev", "vhostforce")}


class Used(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        modules = Checker(str(ROOT / "schema")).load_all()
        cls.options = [o for m in modules for o in m.options if not o.sugar]
        cls.code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.[ch]"))

    def test_options(self):
        read = set(re.findall(r"config_(?:get|count|at|item)\([^;]*?,\s*(\w+)[,)]", self.code))
        read |= set(re.findall(r"\boption_(\w+)\b", self.code))
        unused = ["%s: -%s" % (o.where, o.name) for o in self.options
                  if c_name(o.name) not in read and o.name not in AWAITED]
        self.assertEqual(unused, [])

    def test_keys(self):
        read = set(re.findall(r"(?:->|\.)(?:has_)?(\w+)", self.code))
        unused = []
        for option in self.options:
            t = option.argument.type if option.argument else None
            if not isinstance(t, Record):
                continue
            members = list(t.members)
            members += [m for b in getattr(t, "branches", ()) for m in b.type.members]
            unused += ["%s: -%s %s=" % (m.where, option.name, m.name) for m in members
                       if m.c not in read and '"%s"' % m.name not in self.code
                       and (option.name, m.name) not in ONE_WAY]
        self.assertEqual(unused, [])


if __name__ == "__main__":
    tap.main()
