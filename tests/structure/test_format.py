"""C files are formatted as .clang-format says (`make format` does it)."""

import re
import shutil
import subprocess
import unittest

import tap
import tree

class Format(unittest.TestCase):
    @unittest.skipUnless(shutil.which("clang-format"), "clang-format is not installed")
    def test_formatted(self):
        passed = tree.Passed("format")
        style = tree.text(".clang-format")
        todo = []
        for path in tree.files(".c", ".h"):
            key = passed.key(style, tree.text(path))
            if not passed.has(key):
                todo.append((path, key))
        wrong = set()
        if todo:
            run = subprocess.run(
                ["clang-format", "--dry-run", *[str(path) for path, _ in todo]],
                cwd=tree.SOURCE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(run.returncode, 0, run.stderr)
            wrong = set(re.findall(r"^([^:\n]+):\d+:\d+: warning: ", run.stderr, re.M))
        for path, key in todo:
            if str(path) not in wrong:
                passed.add(key)
        passed.save()
        self.assertEqual(sorted(wrong), [], "run make format")


if __name__ == "__main__":
    tap.main()
