"""The commands that the pages show."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
    [REPO / "README.md", REPO / "CONTRIBUTING.md"]
    + [*(REPO / "docs").glob("*.md"), *(REPO / "deploy").rglob("*.md")]
)
_BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A line of a page: its words, variables of the page filled in, and its comment."""

    words: list
    comment: str


def commands(page: Path) -> list:
    """Every command in the bash blocks of a page."""
    found, variables = [], {}
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\$(\w+)", lambda name: variables.get(name[1], name[0]), line)
            try:
                words = shlex.split(line, comments=True)
            except ValueError as error:
                raise AssertionError(f"{page.name}: {line.strip()}: {error}") from error
            if words and (assignment := re.fullmatch(r"(\w+)=(.*)", words[0])):
                variables[assignment[1]] = assignment[2]
                words = words[1:]
            if words:
                found.append(Command(words, line.partition(" #")[2].strip()))
    return found
