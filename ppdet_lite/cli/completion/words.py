"""What can be completed after each command, from its parser."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

FILES = ("FILE", "IMAGE", "VIDEO", "JSON", "CHECKPOINT", "WEIGHTS", "YML", "PATH")
KINDS = {"config": "config", "names": "weights", "data_format": "format", "opt": "key"}
"""Kind of the values of some options, by their place in the parsed arguments."""


@dataclass(frozen=True)
class Option:
    """One option, or the arguments without one (no names).

    Attributes:
        kind: of its value: "none", "words" (`choices`), "config", "weights", "format", "key"
            (KEY=VALUE), "folder", "file" or "other".
    """

    names: tuple[str, ...]
    help: str
    kind: str
    choices: tuple[str, ...] = ()


def options_of(parser: argparse.ArgumentParser) -> list[Option]:
    """The options of a parser, in their order."""
    return [
        Option(tuple(action.option_strings), _first_line(action), *_value(action))
        for action in parser._actions
        if action.help != argparse.SUPPRESS
    ]


def _first_line(action: argparse.Action) -> str:
    return " ".join((action.help or "").split()).partition(" (")[0].partition(":")[0][:70]


def _value(action: argparse.Action) -> tuple[str, tuple[str, ...]]:
    if action.nargs == 0:
        return "none", ()
    if action.choices is not None:
        return "words", tuple(map(str, action.choices))
    if action.dest in KINDS:
        return KINDS[action.dest], ()
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if metavar == "true|false":
        return "words", ("true", "false")
    if "FOLDER" in metavar:
        return "folder", ()
    return ("file" if metavar in FILES else "other"), ()
