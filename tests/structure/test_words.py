"""What must not stand in the tree, and what documents may name."""

import os
import re
import unittest

import tap
import tree

# In pieces, so that this file doesn't contain them.
LEFTOVER = re.compile(r"\b(%s)\b" % "|".join(["TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"]))
NUMBERED = re.compile(r"\b(issue|ticket|bug)s? #?\d+\b", re.I)
HOME = re.compile(r"(?<![\w.$}])/home/[a-z]\w*/")

CODE_SPAN = re.compile(r"`([^`\n]+)`")
FUNCTION = re.compile(r"^([a-z_][a-z0-9_]*)\(\)$")
FILE = re.compile(r"^(src|tests|tools|schema|scripts|docs)/[\w./-]*$")
PLACEHOLDER = re.compile(r"\b(NAME|KIND|FOLDER)\b")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def lines(*suffixes):
    for path in tree.files(*suffixes):
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            yield path, number, line


SUFFIXES = (".c", ".h", ".py", ".md", ".build", ".json", ".txt", ".sh", "run", "setup", "Makefile",
            "trace-events", ".S")


class Words(unittest.TestCase):
    def search(self, pattern):
        return [
            "%s:%d: %s" % (path, number, line.strip())
            for path, number, line in lines(*SUFFIXES)
            if pattern.search(line)
        ]

    def test_no_leftovers(self):
        self.assertEqual(self.search(LEFTOVER), [])

    def test_no_numbers_of_issues(self):
        self.assertEqual(self.search(NUMBERED), [])

    def test_no_paths_of_one_machine(self):
        self.assertEqual(self.search(HOME), [])
        # A checkout directly below a common folder such as /src or /tmp says nothing.
        if len(tree.SOURCE.parts) > 3:
            self.assertEqual(self.search(re.compile(re.escape(str(tree.SOURCE.parent) + "/"))), [])


class Documents(unittest.TestCase):
    def test_functions_exist(self):
        code = "\n".join(tree.text(path) for path in tree.files(".c", ".h", ".py", "trace-events"))
        defined = set(re.findall(r"\b([a-z_][a-z0-9_]*)\(", code))
        wrong = []
        for path, number, line in lines("ARCHITECTURE.md", "CONTRIBUTING.md"):
            for span in CODE_SPAN.findall(line):
                name = FUNCTION.match(span)
                if name and name[1] not in defined:
                    wrong.append("%s:%d: %s" % (path, number, span))
        self.assertEqual(wrong, [], "no such function")

    def test_files_exist(self):
        wrong = [
            "%s:%d: %s" % (path, number, span)
            for path, number, line in lines("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md")
            for span in CODE_SPAN.findall(line)
            if FILE.match(span)
            and not PLACEHOLDER.search(span)
            and not (tree.SOURCE / span).exists()
        ]
        self.assertEqual(wrong, [], "no such file")

    def test_links_lead_somewhere(self):
        wrong = []
        for path, number, line in lines(".md"):
            for target in LINK.findall(line):
                if "://" in target or target.startswith("mailto:"):
                    continue
                if not os.path.exists(tree.SOURCE / path.parent / target):
                    wrong.append("%s:%d: %s" % (path, number, target))
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    tap.main()
