"""The documents in docs/ that are made of the schema say what the schema says now."""

import os
import pathlib
import sys
import unittest

import tap

ROOT = pathlib.Path(os.environ.get("RHEA_SOURCE") or pathlib.Path(__file__).parents[2])
sys.path.insert(0, str(ROOT / "scripts" / "schema"))

import documents  # noqa: E402
from check import Checker  # noqa: E402


class UpToDate(unittest.TestCase):
    def test_documents(self):
        modules = Checker(str(ROOT / "schema")).load_all()
        for name, make in documents.COMMITTED.items():
            with self.subTest(name):
                self.assertEqual((ROOT / "docs" / name).read_text(), make(modules),
                                 "run ninja -C build docs and commit docs/" + name)


if __name__ == "__main__":
    tap.main()
