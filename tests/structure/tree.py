"""What the structure tests look at: the files of the tree, those that git knows."""

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
