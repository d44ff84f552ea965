"""The documents made of the schema: complete, well-formed, and of use."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import tap

ROOT = pathlib.Path(os.environ.get("RHEA_SOURCE") or pathlib.Path(__file__).parents[2])
sys.path.insert(0, str(ROOT / "scripts" / "schema"))

import documents  # noqa: E402
from check import Checker  # noqa: E402

COMPLETE = """
. %s
COMP_LINE=$1
COMP_POINT=${#1}
# as readline cuts it: at spaces and "="
read -r -a COMP_WORDS <<< "${1//=/ = }"
case $1 in *" "|*=) COMP_WORDS+=("") ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_rhea
printf '%%s\\n' "${COMPREPLY[@]}"
"""


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.modules = Checker(str(ROOT / "schema")).load_all()
        cls.sample = Checker(str(ROOT / "tests" / "schema")).load_all()

    def test_every_option_is_there(self):
        text = documents.options_md(self.modules)
        man = documents.man_page(self.modules)
        for module in self.modules:
            for option in module.options:
                if "hidden" not in option.flags:
                    self.assertIn("### `-" + option.name, text)
                    self.assertIn("\\fB\\-" + option.name.replace("-", "\\-"), man)

    def test_every_command_and_event_is_there(self):
        text = documents.qmp_md(self.modules)
        for module in self.modules:
            for item in module.commands + module.events:
                self.assertIn("\n### %s\n" % item.name, text)

    def test_links_lead_somewhere(self):
        for modules in (self.modules, self.sample):
            text = documents.qmp_md(modules)
            heads = {documents.anchor(line.lstrip("# ")) for line in text.splitlines()
                     if line.startswith("#")}
            for piece in text.split("](#")[1:]:
                self.assertIn(piece[:piece.index(")")], heads)

    def test_sample(self):
        text = documents.options_md(self.sample)
        self.assertIn("Short for `-label text=FILE -no-draw`.", text)
        self.assertIn("With `kind=label`:", text)
        self.assertIn("| `size` | size, 1M to 1G | optional | of the memory it takes |", text)
        text = documents.qmp_md(self.sample)
        self.assertIn("(at most one every 1000 ms for each `who`)", text)
        self.assertIn("Returns list of [Point](#point).", text)
        self.assertIn("in millimetres *(unstable)*", text)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_man_page_formats(self):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], text=True,
                              input=documents.man_page(self.modules), stderr=subprocess.PIPE)
        complaints = [line for line in done.stderr.splitlines()
                      if "break line" not in line and "adjust line" not in line]
        self.assertEqual(complaints, [])

    def complete(self, modules, line):
        with tempfile.NamedTemporaryFile("w", suffix=".bash") as script:
            script.write(documents.completion(modules))
            script.flush()
            done = subprocess.run(["bash", "-c", COMPLETE % script.name, "bash", line], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_completion(self):
        self.assertEqual(self.complete(self.sample, "rhea -no"), ["-no-draw"])
        self.assertEqual(self.complete(self.sample, "rhea -shape dot -L b"), ["bold="])
        self.assertEqual(self.complete(self.sample, "rhea -shape li"), ["line"])
        self.assertEqual(self.complete(self.sample, "rhea -label x,tint=d"), ["dark-green"])
        self.assertEqual(self.complete(self.sample, "rhea -label x,si"), ["x,size="])
        self.assertEqual(self.complete(self.modules, "rhea -rtc clock=v"), ["vm"])
        self.assertIn("-machine", self.complete(self.modules, "rhea -S -mach"))


if __name__ == "__main__":
    tap.main()
