"""Lists the published weights that can be asked for by name."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.core.errors import UserError

if TYPE_CHECKING:
    from ppdet_lite.weights.zoo import ZooEntry

EXAMPLES = """  ppdet weights list                      all
  ppdet weights list yolox 300e           those with these words in their name
  ppdet weights list --json

A name stands for its file everywhere: -o weights=NAME, pretrain_weights: NAME. AP is what the
publisher reports, in percent; bytes are those of the file in the cache, or known beforehand.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("words", nargs="*", metavar="WORD", help="list those with every word in their name")
    add("--json", action="store_true", help="print the list as JSON")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.weights.download import cache_folder
    from ppdet_lite.weights.zoo import read_zoo

    words = [word.lower() for word in args.words]
    entries = [
        entry for entry in read_zoo().values() if all(word in entry.name.lower() for word in words)
    ]
    if not entries:
        raise UserError(f"no published weights with {' and '.join(args.words)} in their name")
    if args.json:
        print(json.dumps([_facts(entry) for entry in entries], indent=1))
        return
    print("\n".join(_table(entries)))
    print(f"\ncache: {cache_folder()}")


def _facts(entry: ZooEntry) -> dict[str, Any]:
    path = entry.path()
    return {**asdict(entry), "path": path, "is_here": os.path.isfile(path)}


def _table(entries: list[ZooEntry]) -> list[str]:
    from ppdet_lite.benchmark.tables import aligned_table

    header = ["name", "AP", "on", "MB", "license", "here"]
    return aligned_table(header, [_row(entry) for entry in entries])


def _row(entry: ZooEntry) -> list[str]:
    path = entry.path()
    is_here = os.path.isfile(path)
    size = os.path.getsize(path) if is_here else entry.size
    value, on = "-", "ImageNet (a backbone)"
    if entry.reported:
        metric, value = next(iter(entry.reported.items()))
        metric = "" if metric == "AP" else f"{metric} of "
        on = f"{metric}{entry.reported['images']}, {entry.reported['size']} px"
    megabytes = f"{size / 1e6:.1f}" if size else "-"
    return [entry.name, f"{value}", on, megabytes, entry.license, "yes" if is_here else "-"]
