"""What of each device is saved (-dump-vmstate), against golden text: a change shows up in review.

RHEA_GOLDEN=write makes the file anew.
"""

import json
import os
import pathlib
import tempfile
import unittest

import rhea
import tap

GOLDEN = rhea.SOURCE / "tests" / "golden" / "vmstate.txt"


def lines(description, indent):
    for field in description.get("Fields", ()):
        count = field.get("num")
        # The size of a struct in memory is no promise.
        size = "" if "Description" in field else ": %d" % field["size"]
        since = " since %d" % field["version_id"] if field["version_id"] else ""
        yield "%s%s%s%s%s" % (indent, field["field"], "[%d]" % count if count else "", size, since)
        if "Description" in field:
            yield from lines(field["Description"], indent + "  ")
    for sub in description.get("Subsections", ()):
        yield "%s+ %s" % (indent, version(sub))
        yield from lines(sub, indent + "  ")


def version(state):
    return "%s version %d from %d" % (state.get("name") or state["Name"], state["version_id"],
                                      state["minimum_version_id"])


class Descriptions(unittest.TestCase):
    maxDiff = None

    def test_golden(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vmstate.json"
            status, _, said = rhea.run("-machine", "q35", "-dump-vmstate", path)
            self.assertEqual(status, 0, said)
            dump = json.loads(path.read_text())
        self.assertEqual(dump.pop("vmschkmachine"), {"Name": "pc-q35-7.2"})
        text, seen = "", {}
        for name in sorted(dump):
            description = dump[name]["Description"]
            rows = "".join(line + "\n" for line in lines(description, "  "))
            same = seen.setdefault((version(description), rows), name)
            text += "%s: %s\n" % (name, version(description))
            text += rows if same == name else "  as %s\n" % same
        if os.environ.get("RHEA_GOLDEN") == "write":
            GOLDEN.write_text(text)
        self.assertEqual(text, GOLDEN.read_text())


if __name__ == "__main__":
    tap.main()
