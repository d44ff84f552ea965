"""C files are formatted as .clang-format says (`make format` does it)."""

import shutil
import subprocess
import unittest

import tap
import tree

MAX_LINE = 100

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
        wrong = []
        for path, key in todo:
            fresh = subprocess.run(
                ["clang-format", str(path)], cwd=tree.SOURCE, stdout=subprocess.PIPE, check=True
            ).stdout
            if fresh == (tree.SOURCE / path).read_bytes():
                passed.add(key)
            else:
                wrong.append(str(path))
        passed.save()
        self.assertEqual(wrong, [], "run make format")

    def test_line_length(self):
        wrong = [
            "%s:%d" % (path, number)
            for path in tree.files(".c", ".h", ".py", ".S")
            for number, line in enumerate(tree.text(path).splitlines(), 1)
            if len(line) > MAX_LINE and "http" not in line
        ]
        self.assertEqual(wrong, [], "longer than %d columns" % MAX_LINE)


if __name__ == "__main__":
    tap.main()
