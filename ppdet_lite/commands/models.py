"""Lists the configurations that are shipped, with size, cost and reported AP of their models."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Optional

from ppdet_lite.core.errors import UserError

if TYPE_CHECKING:
    from ppdet_lite.api.models import ModelEntry

EXAMPLES = """examples:
  ppdet models                              all
  ppdet models yolox 300e                   those with these words in folder or name
  ppdet models --weights --sort ap          those with published weights, the best first
  ppdet models --max-params 10 --max-gflops 5 --min-ap 25
  ppdet models --json | jq '.[].name'       exact numbers, for other programs

A name stands for its file everywhere: ppdet train -c NAME, ppdet config NAME, Detector("NAME").

columns:
  params are all values that are saved, in millions. GFLOPs are 10^9 multiply-adds of one image of
  the input size (ppdet model-info -c NAME explains how they are counted). AP is what the
  head of the file reports, in percent, at this size if it names several; the next column tells on
  which images.
"""

SORTS = ("name", "params", "gflops", "ap")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="WORD", help="list those with every word in folder or name")
    add("--weights", action="store_true", help="only models with published weights")
    add("--max-params", type=float, metavar="MILLIONS", help="only models of at most this size")
    add("--max-gflops", type=float, metavar="GFLOPS", help="only models of at most this cost")
    add("--min-ap", type=float, metavar="AP", help="only models with at least this AP")
    add("--sort", choices=SORTS, help="smallest first, the best AP first (default: by folder)")
    text = "write the list as JSON, to the terminal if no FILE is given"
    add("--json", nargs="?", const="-", metavar="FILE", help=text)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.api.models import list_models

    models = [model for model in list_models() if _is_wanted(model, args)]
    if not models:
        raise UserError("no shipped model has all of this; ppdet models lists them all")
    if args.sort:
        models.sort(key=lambda model: _sort_key(model, args.sort))
    if args.json is None:
        print("\n".join(_table(models)))
        return
    listed = [model.as_dict() for model in models]
    if args.json == "-":
        json.dump(listed, sys.stdout, indent=1)
        print()
        return
    from ppdet_lite.utils.files import write_json

    write_json(args.json, listed)


def _is_wanted(model: ModelEntry, args: argparse.Namespace) -> bool:
    place = f"{model.family}/{model.name}".lower()
    ap = _ap(model)
    return (
        all(word.lower() in place for word in args.words)
        and (not args.weights or bool(model.weights))
        and (args.max_params is None or model.params <= args.max_params * 1e6)
        and (args.max_gflops is None or model.multiply_adds <= args.max_gflops * 1e9)
        and (args.min_ap is None or (ap is not None and ap >= args.min_ap))
    )


def _ap(model: ModelEntry) -> Optional[float]:
    """AP in percent; None where none or only an AP50 is reported."""
    reported = model.reported
    return reported.value if reported and reported.metric == "AP" else None


def _sort_key(model: ModelEntry, order: str) -> tuple[float, str]:
    keys = {
        "name": 0.0,
        "params": model.params,
        "gflops": model.multiply_adds,
        "ap": -(_ap(model) or 0.0),
    }
    return keys[order], model.name


def _table(models: list[ModelEntry]) -> list[str]:
    from ppdet_lite.benchmark.tables import aligned_table

    rows = []
    for model in models:
        height, width = model.input_hw
        reported = model.reported
        on = "-"
        if reported:
            metric = "" if reported.metric == "AP" else f"{reported.metric} "
            on = f"{metric}{reported.data}".strip() or "-"
        rows.append(
            (
                model.name,
                on,
                "yes" if model.weights else "-",
                f"{reported.value:.1f}" if reported else "-",
                f"{model.params / 1e6:.2f}",
                f"{model.multiply_adds / 1e9:.2f}",
                f"{height}" if height == width else f"{height} x {width}",
            )
        )
    order = (0, 6, 4, 5, 3, 1, 2)
    header = ("name", "on", "weights", "AP", "params M", "GFLOPs", "input")
    cells = [[row[i] for i in order] for row in [header, *rows]]
    return aligned_table(cells[0], cells[1:])
