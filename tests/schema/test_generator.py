"""Mistakes in schema files: each is refused with its file, its line and what would be right."""

import os
import pathlib
import sys
import tempfile
import unittest

import tap

ROOT = pathlib.Path(os.environ.get("RHEA_SOURCE") or pathlib.Path(__file__).parents[2])
sys.path.insert(0, str(ROOT / "scripts" / "schema"))

import cgen  # noqa: E402
from check import Checker  # noqa: E402
from model import SchemaError, camel, snake  # noqa: E402

HEAD = """## A color
enum Color { red green }
## A point
record Point {
    x: int  ## right
}
"""

# schema text behind HEAD (which has 6 lines) -> the message
MISTAKES = [
    ("recrod A {}", "7: expected one of use, enum, record, union, alternate, command, event, "
     "options, option, found 'recrod'; did you mean 'record'?"),
    ("record A {}", "7: record 'A' has no documentation: '## ...' before or behind it"),
    ("## d\nrecord A { x: int }", "8: member 'x' has no documentation: '## ...' before or behind it"),
    ("## d\nrecord A {\n  ## d\n}", "10: documentation without a member behind it"),
    ("## d\nrecord a {}", "8: type 'a' is to be written LikeThis"),
    ("## d\nrecord Point {}", "8: type 'Point' is already defined at schema/t.schema:4"),
    ("## d\nrecord A {\n  x: Pont  ## d\n}", "9: unknown type 'Pont'; did you mean 'Point'?"),
    ("## d\nrecord A {\n  X: int  ## d\n}", "9: member 'X' is to be written like-this"),
    ("## d\nrecord A {\n  x: int  ## d\n  x: int  ## d\n}",
     "10: member 'x' is already at schema/t.schema:9"),
    ("## d\nrecord A {\n  a-b: int  ## d\n  a_b: int  ## d\n}",
     "10: member 'a_b' has the C name of another"),
    ("## d\nrecord A {\n  x?: int = 3  ## d\n}",
     "9: 'x' has a default, so it is not optional: leave out the '?'"),
    ("## d\nrecord A {\n  x: uint8 = 256  ## d\n}", "9: default 256 of 'x' is outside 0..255"),
    ("## d\nrecord A {\n  x: int = 9 in 1..8  ## d\n}", "9: default 9 of 'x' is outside 1..8"),
    ("## d\nrecord A {\n  x: uint8 in 1..256  ## d\n}",
     "9: range 1..256 of 'x' is empty or more than uint8 holds"),
    ("## d\nrecord A {\n  x: int in 2..1  ## d\n}",
     "9: range 2..1 of 'x' is empty or more than int holds"),
    ("## d\nrecord A {\n  x: bool in 0..1  ## d\n}", "9: 'x' can't have a range: it is no number"),
    ("## d\nrecord A {\n  x: bool = maybe  ## d\n}",
     "9: default of 'x' is true or false, not 'maybe'"),
    ("## d\nrecord A {\n  x: Color = gren  ## d\n}",
     "9: default 'gren' of 'x' is not a value of Color; did you mean 'green'?"),
    ("## d\nrecord A {\n  x: Point = 1  ## d\n}", "9: 'x' can't have a default: it is no scalar"),
    ("## d\nrecord A {\n  x int  ## d\n}", "9: expected ':' behind 'x', found 'int'"),
    ("## d\nrecord A {\n  a: A  ## d\n}",
     "8: 'A' contains itself (A in A): make a member on the way optional"),
    ("## d\nrecord A : Pt {}", "8: unknown type 'Pt'"),
    ("## d\nrecord A : Color {}", "8: base 'Color' is not a closed record"),
    ("## d\nrecord A : Point {\n  x: int  ## d\n}",
     "9: member 'x' is already at schema/t.schema:5"),
    ("## d\nrecord A implied y {\n  x: int  ## d\n}",
     "8: implied member 'y' is not one of the members"),
    ("## d\nenum E { a a }", "8: value 'a' is already at schema/t.schema:8"),
    ("## d\nenum E { a-b a_b }", "8: value 'a_b' has the C name of another"),
    ("## d\nenum E { }", "8: enum 'E' has no value"),
    ("## d\nunion U {\n  k: Color  ## d\n} on kk { red: Point }",
     "8: 'kk', which selects, has to be a member of an enum type, not optional"),
    ("## d\nunion U {\n  k: Color  ## d\n} on k { redd: Point }",
     "10: 'redd' is not a value of Color; did you mean 'red'?"),
    ("## d\nunion U {\n  x: int  ## d\n  k: Color  ## d\n} on k { red: Point }",
     "11: branch 'red' has member 'x' a second time: it is already at schema/t.schema:9"),
    ("## d\nunion U {\n  k: Color  ## d\n} on k { red: Color }",
     "10: branch 'red' has to be a closed record"),
    ("## d\nalternate A { a: int }", "8: alternate 'A' needs two branches or more"),
    ("command a", "7: command 'a' has no documentation: '## ...' before or behind it"),
    ("## d\ncommand a (Color)",
     "8: the arguments of command 'a' have to be a record or union, not Color"),
    ("## d\ncommand a -> Nowhere", "8: unknown type 'Nowhere'"),
    ("## d\ncommand a oob deferred", "8: command 'a' can't be deferred and out of band"),
    ("## d\nevent lower", "8: event 'lower' is to be written LIKE_THIS"),
    ("## d\nevent E (x: int ## d\n) rate 5 per y", "8: 'y' is not a member of event 'E'"),
    ("## d\noption o", "8: an option needs a heading: options \"TITLE\" ORDER before it"),
    ("options \"T\" 1\n## d\noption o: str",
     "9: option 'o' needs its argument for the help: \"FILE\""),
    ("options \"T\" 1\n## d\noption o: str \"S\" merge",
     "9: option 'o' can't merge: it is no record"),
    ("options \"T\" 1\n## d\noption o: Point \"S\" merge append",
     "9: 'append' and 'merge' exclude each other"),
    ("## d", "7: documentation without an item behind it"),
    ("record A ;", "7: unexpected character ';'"),
    ("use nowhere", "7: no schema file 'nowhere'"),
    ("use t", "7: 't' uses itself: t -> t"),
]


class Generator(unittest.TestCase):
    def load(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                pathlib.Path(folder, name + ".schema").write_text(text)
            checker = Checker(folder)
            checker.load_all()
            return checker.modules

    def refused(self, **files):
        with self.assertRaises(SchemaError) as caught:
            self.load(**files)
        return str(caught.exception)

    def test_mistakes(self):
        for text, message in MISTAKES:
            with self.subTest(text):
                self.assertEqual(self.refused(t=HEAD + text), "schema/t.schema:" + message)

    def test_defined_twice_across_files(self):
        self.assertEqual(
            self.refused(a="## d\ncommand c", b="\n\n## d\ncommand c"),
            "schema/b.schema:4: command 'c' is already defined at schema/a.schema:2")
        self.assertEqual(
            self.refused(a=HEAD, b="use a\n" + HEAD),
            "schema/a.schema:2: type 'Color' is already defined at schema/b.schema:3")

    def test_types_are_seen_only_through_use(self):
        self.assertEqual(self.refused(a=HEAD, b="## d\ncommand c (Point)"),
                         "schema/b.schema:2: unknown type 'Point'")
        self.load(a=HEAD, b="use a", c="use b\n## d\ncommand c (Point)")

    def test_nothing_used_and_a_header(self):
        module = self.load(t="## About this file.\n\n## d\nevent E")["t"]
        self.assertEqual(module.doc.help, "About this file.")
        self.assertIn("void qmp_event_e(void);", cgen.header(module))

    def test_embedded_types_come_first(self):
        module = self.load(t="## d\nrecord A {\n b: B ## d\n}\n## d\nrecord B {}\n")["t"]
        self.assertEqual([t.name for t in module.ordered], ["B", "A"])

    def test_names(self):
        self.assertEqual(snake("ChardevSocket"), "chardev_socket")
        self.assertEqual(snake("VNCInfo2"), "vnc_info2")
        self.assertEqual(snake("x-exit-preconfig"), "x_exit_preconfig")
        self.assertEqual(camel("device_add"), "DeviceAdd")


if __name__ == "__main__":
    tap.main()
