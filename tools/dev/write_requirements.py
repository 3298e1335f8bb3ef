#!/usr/bin/env python3
"""Writes requirements.txt from the dependencies of pyproject.toml."""

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
HEADING = (
    "# Written by tools/dev/write_requirements.py from pyproject.toml. Paddle is not in it:\n"
    "# add paddlepaddle (CPU) or paddlepaddle-gpu (see README.md).\n"
)


def requirements() -> str:
    """The content of requirements.txt."""
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert listed, "pyproject.toml has no list of dependencies"
    return HEADING + "".join(f"{name}\n" for name in re.findall(r'^    "(.+?)"', listed[1], re.M))


if __name__ == "__main__":
    (REPO / "requirements.txt").write_text(requirements(), encoding="utf-8")
