"""Checks and measures everything that runs on a GPU, on a machine with one: speed of the networks
in all engines, boxes against the CPU, throughput from JPEG files, memory, training steps."""

import argparse
import sys
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.utils.cpu import core_count

EXAMPLES = """  ppdet gpu-check                               networks are exported first, by Paddle
  ... --networks networks                       those of tools/dev/pack_gpu_check.sh
  ... --images photos --against yolox_l.onnx    your own photos, other detectors
  ... --dry-run                                 all of it on the CPU, small and short

Every case is a process of its own. report.md and results.json are written after each, so that a run
that is cut off keeps what it has. Cases come by importance: what the time does not suffice for is
named in the report.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--output_dir", default="output/gpu_check", metavar="FOLDER")
    add("--networks", metavar="FOLDER", help="a set that was prepared; default: made by Paddle")
    add("--images", metavar="FOLDER", help="photos; default: drawn ones")
    add("--against", nargs="+", default=[], metavar="ONNX", help="files of other detectors")
    add("--prepare", metavar="FOLDER", help="only write networks and images for another machine")
    add("--budget", type=float, default=450.0, metavar="S", help="seconds for all (default: 450)")
    add("--repeats", type=int, default=100, metavar="N", help="runs that count (default: 100)")
    add("--threads", type=int, default=core_count(), metavar="N", help="CPU threads and processes")
    add("--dry-run", action="store_true", help="on the CPU, with a small network")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.benchmark.gpu_check.run import CheckOptions, gpu_check, prepare

    options = CheckOptions(**{key: getattr(args, key) for key in CheckOptions._fields})

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if args.prepare:
        prepare(options, Path(args.prepare), say)
    else:
        print(gpu_check(options, say))
