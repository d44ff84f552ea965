"""Includes point down: a folder of src/ uses what stands below it, and nothing above."""

import re
import unittest

import tap
import tree

# From the ground up; rooms of one layer may include each other.
LAYERS = [
    {"base"},
    {"event"},
    {"object"},
    {"config"},
    {"trace"},
    {"memory"},
    {"crypto"},
    {"chardev"},
    {"block"},
    {"vhost"},
    {"net"},
    {"accel", "cpu", "bus"},
    {"devices"},
    {"machine"},
    {"monitor", "migration", "ui", "gdbstub", "replay"},
    {"main"},
]
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
# Generated at build time from schema/ and from the trace-events files: plain declarations.
GENERATED = {"schema", "trace"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def includes():
    for path in tree.files(".c", ".h", ".inc", under="src"):
        for target in INCLUDE.findall(tree.text(path)):
            yield path, target


class Includes(unittest.TestCase):
    def test_every_folder_has_a_layer(self):
        rooms = {path.parts[1] for path in tree.files(".c", ".h", under="src")}
        self.assertEqual(sorted(rooms - set(LAYER)), [], "add it to LAYERS and ARCHITECTURE.md")

    def test_includes_are_relative_to_src(self):
        wrong = []
        for path, target in includes():
            room = target.split("/")[0]
            generated = room in GENERATED and not (tree.SOURCE / "src" / target).exists()
            if not generated and not (tree.SOURCE / "src" / target).exists():
                wrong.append("%s: %s" % (path, target))
        self.assertEqual(wrong, [])

    def test_includes_point_down(self):
        wrong = []
        for path, target in includes():
            own, room = path.parts[1], target.split("/")[0]
            generated = room in GENERATED and not (tree.SOURCE / "src" / target).exists()
            if generated or room not in LAYER:
                continue
            if LAYER[room] > LAYER[own]:
                wrong.append("%s: %s" % (path, target))
        self.assertEqual(wrong, [], "these look up; see LAYERS in this test")

    def test_private_headers_stay_in_their_folder(self):
        wrong = [
            "%s: %s" % (path, target)
            for path, target in includes()
            if target.endswith("-internal.h") and not str(path.parent).startswith(
                "src/" + target.rsplit("/", 1)[0])
        ]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    tap.main()
