#!/usr/bin/env python3
"""Numbers that this project computes, kept to see when a change of the code moves one.

    python tests/regression/make_references.py            write all files of references/ anew
    python tests/regression/make_references.py yolov3     only this one
    python tests/regression/make_references.py --check    compare instead; exit code 1 if any moved

Inputs and weights follow from names and seeds by numpy alone. A pull request that moves numbers on
purpose writes the files anew and says why they moved.
"""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Callable, NamedTuple

FOLDER = Path(__file__).resolve().parent
REPO = FOLDER.parent.parent
for entry in (FOLDER, REPO):
    if str(entry) not in sys.path:
        sys.path.insert(0, str(entry))

import network_references as networks  # noqa: E402
import part_references as parts  # noqa: E402
from comparison import differences, flattened  # noqa: E402

FILES = FOLDER / "references"


class Reference(NamedTuple):
    """How a record is made (keyword arguments perturb it) and how near it has to be."""

    make: Callable
    tolerances: list


def all_references() -> dict:
    """Name of the file -> Reference."""
    found = {
        name: Reference(
            functools.partial(networks.network_reference, network, REPO),
            networks.GUIDED_TOLERANCES if name.startswith("asff") else networks.TOLERANCES,
        )
        for name, network in networks.NETWORKS.items()
    }
    for name, reader in parts.READERS.items():
        make = functools.partial(parts.reader_reference, reader, REPO)
        found[name] = Reference(make, reader.tolerances())
    for name, tolerances in parts.PART_TOLERANCES.items():
        make = functools.partial(getattr(parts, f"{name}_reference"), REPO)
        found[name] = Reference(make, tolerances)
    return found


REFERENCES = all_references()


def make(name: str, **changes) -> dict:
    """The record as it comes out now, flattened."""
    return flattened(REFERENCES[name].make(**changes))


def read(name: str) -> dict:
    """The record as it was."""
    return json.loads((FILES / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str) -> Path:
    """Makes the record and its file, one name per line so that a diff shows what moved."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in make(name).items()]
    path = FILES / f"{name}.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return path


def check(name: str, **changes) -> list:
    """One line per name whose value moved; [] when all is as it was."""
    if not (FILES / f"{name}.json").is_file():
        return ["there is no such file yet"]
    return differences(read(name), make(name, **changes), REFERENCES[name].tolerances)


def explanation(name: str, lines: list) -> str:
    """What to tell about differences."""
    listed = "\n".join(f"  {line}" for line in lines)
    return (
        f"{len(lines)} of the numbers in tests/regression/references/{name}.json moved:\n{listed}\n"
        "If the code was not meant to compute something else, it has a defect. If it was: write "
        f"the file anew with\n  python tests/regression/make_references.py {name}\nand say in the "
        "commit why the numbers moved."
    )


def main() -> int:
    """Writes or compares; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(REFERENCES))
    parser.add_argument("--check", action="store_true", help="compare with the files")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(REFERENCES))
    if unknown:
        parser.error(f"no reference {', '.join(unknown)}; there are {', '.join(REFERENCES)}")
    moved = False
    for name in arguments.names or REFERENCES:
        if not arguments.check:
            print(f"wrote {write(name).relative_to(REPO)}")
            continue
        lines = check(name)
        moved = moved or bool(lines)
        print(explanation(name, lines) if lines else f"{name}: as it was")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
