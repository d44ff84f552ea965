"""The commands that docs/starting.md shows are run as they stand there."""

import os
import shutil
import subprocess
import tempfile
import unittest

import rhea
import tap

# Its socket has a fixed place, which other runs may use too.
SOCKET = "/tmp/q"


def commands():
    for line in (rhea.SOURCE / "docs/starting.md").read_text().splitlines():
        if line.startswith("    $ "):
            yield line[6:]


class Starting(unittest.TestCase):
    def test_commands(self):
        folder = tempfile.mkdtemp(prefix="rhea-starting-")
        self.addCleanup(shutil.rmtree, folder)
        environment = dict(os.environ, PATH="%s:%s" % (rhea.BUILD, os.environ["PATH"]))
        script = "\n".join(["set -e", *commands(), "wait"]).replace(SOCKET, folder + "/q")
        self.assertGreater(script.count("rhea -"), 5)
        done = subprocess.run(["bash", "-xc", script], cwd=folder, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=rhea.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('"reason": "host-qmp-quit"', done.stdout)
        self.assertIn("wrong.cfg:2: expected", done.stdout)
        self.assertIn('guest = "first"', done.stdout)


if __name__ == "__main__":
    tap.main()
