"""Every header compiles alone and has a guard."""

import concurrent.futures
import json
import re
import shlex
import subprocess
import unittest

import tap
import tree

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def compiler():
    """The command that compiles a file of the program, without input and output."""
    for entry in json.loads((tree.BUILD / "compile_commands.json").read_text()):
        if "librhea-core.a.p" in entry["output"]:
            words = shlex.split(entry["command"])
            break
    command = []
    skip = False
    for word in words:
        if skip or word in ("-c", "-MD", entry["file"]):
            skip = False
        elif word in ("-MQ", "-MF", "-o"):
            skip = True
        else:
            command.append(word)
    return command + ["-fsyntax-only", "-Wno-unused-function", "-x", "c"]


class Headers(unittest.TestCase):
    def closure(self, header, seen):
        """The texts that a header pulls in from the tree and the build folder."""
        for folder in (tree.SOURCE / "src", tree.BUILD / "src", tree.BUILD):
            if (folder / header).exists():
                break
        else:
            return
        if header in seen:
            return
        seen[header] = text = (folder / header).read_text(errors="replace")
        for target in INCLUDE.findall(text):
            self.closure(target, seen)

    def test_each_compiles_alone(self):
        command = compiler()
        passed = tree.Passed("headers")
        headers = [str(path)[4:] for path in tree.files(".h", under="src")]
        todo = []
        for header in headers:
            texts = {}
            self.closure(header, texts)
            key = passed.key(" ".join(command), *texts.keys(), *texts.values())
            if not passed.has(key):
                todo.append((header, key))

        def check(item):
            run = subprocess.run(
                command + [str(tree.SOURCE / "src" / item[0])],
                cwd=tree.BUILD,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            return item, run

        wrong = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (header, key), run in pool.map(check, todo):
                if run.returncode:
                    wrong.append(header)
                    print("# " + run.stdout.decode().replace("\n", "\n# "))
                else:
                    passed.add(key)
        passed.save()
        self.assertEqual(wrong, [])

    def test_guards(self):
        wrong = []
        for path in tree.files(".h", under="src"):
            guard = re.sub(r"[^A-Z0-9]", "_", str(path)[4:].upper())
            text = tree.text(path)
            if "#ifndef %s\n#define %s\n" % (guard, guard) not in text:
                wrong.append("%s: expected the guard %s" % (path, guard))
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    tap.main()
