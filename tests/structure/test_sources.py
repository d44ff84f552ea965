"""Every source file is built by some meson.build, and none that is named there is missing."""

import json
import subprocess
import unittest

import tap
import tree


def built_files():
    text = subprocess.run(
        ["meson", "introspect", "--targets", str(tree.BUILD)], check=True, stdout=subprocess.PIPE
    ).stdout
    for target in json.loads(text):
        for group in target["target_sources"]:
            yield from group.get("sources", [])


class Sources(unittest.TestCase):
    def test_every_source_is_built(self):
        built = set(built_files())
        missing = [
            str(path)
            for path in tree.files(".c", ".S")
            if str(tree.SOURCE / path) not in built and path.parts[0] in ("src", "tools")
        ]
        self.assertEqual(missing, [], "in no meson.build")

    def test_every_unit_test_is_listed(self):
        listed = tree.text("tests/unit/meson.build")
        missing = [
            path.name
            for path in tree.files(".c", under="tests/unit")
            if path.name.startswith("test-") and "'%s'" % path.stem[5:] not in listed
        ]
        self.assertEqual(missing, [], "not in tests/unit/meson.build")

    def test_every_python_test_is_listed(self):
        listed = {}
        missing = []
        for path in tree.files(".py", under="tests"):
            if not path.name.startswith("test_"):
                continue
            folder = path.parent
            text = listed.setdefault(folder, tree.text(folder / "meson.build"))
            name = path.stem[5:]
            if path.name not in text and "'%s'" % name.replace("_", "-") not in text:
                missing.append(str(path))
        self.assertEqual(missing, [], "not in the meson.build beside it")


if __name__ == "__main__":
    tap.main()
