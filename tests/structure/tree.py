"""What the structure tests look at: the files of the tree, those that git knows."""

import hashlib
import os
import pathlib
import subprocess

SOURCE = pathlib.Path(os.environ.get("RHEA_SOURCE") or pathlib.Path(__file__).parents[2])
BUILD = pathlib.Path(os.environ.get("RHEA_BUILD") or SOURCE / "build")


def files(*suffixes, under=""):
    """Paths relative to the root, sorted."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--", under or "."],
        cwd=SOURCE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    if found.returncode == 0:
        paths = [pathlib.Path(p) for p in found.stdout.decode().split("\0") if p]
    else:  # an archive
        paths = [p.relative_to(SOURCE) for p in SOURCE.rglob("*") if p.is_file()]
        paths = [p for p in paths if not p.parts[0].startswith("build")]
    paths = sorted(p for p in set(paths) if (SOURCE / p).is_file())
    return [p for p in paths if not suffixes or p.name.endswith(suffixes)]


def text(path):
    return (SOURCE / path).read_text(errors="replace")


class Passed:
    """Remembers what was found good, by a key that covers all it depends on, between two runs.

    Checks that start a compiler a file take long; nearly all files are as they were.
    """

    def __init__(self, name):
        self.path = BUILD / "structure-cache" / name
        self.known = set(self.path.read_text().split()) if self.path.exists() else set()
        self.used = set()

    def key(self, *parts):
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()

    def has(self, key):
        if key in self.known:
            self.used.add(key)
            return True
        return False

    def add(self, key):
        self.used.add(key)

    def save(self):
        self.path.parent.mkdir(exist_ok=True)
        fresh = self.path.with_suffix(".%d" % os.getpid())
        fresh.write_text("\n".join(sorted(self.used)))
        fresh.rename(self.path)
