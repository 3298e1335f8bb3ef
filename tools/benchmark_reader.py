#!/usr/bin/env python3
"""Measures the train and the eval reader: samples per second, and how many times the time of just
decoding the same images they need. Docs: docs/reader.md."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ppdet_lite.cli.tool import config_from_args, config_parser, run_tool  # noqa: E402

EXAMPLES = """  python tools/benchmark_reader.py -c configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml
  ... -o TrainDataset.dataset_dir=my_data EvalDataset.dataset_dir=my_data
  ... --workers 0 2 8 --batches 50     these numbers of reader processes, longer runs
  ... --readers train --repeat 1       a quick look at the train reader
  ... --normalize device host          uint8 batches and float32 batches
  ... --json reader.json               all numbers, of every single run
  ... --annotations                    instead: seconds and memory of opening annotations of COCO
                                       train2017's size (made for it), against plain json.load
  ... --annotations instances.json     the same for a file

how to read the table: `decode` is the time of decoding the images of one sample (two with mixup)
with one process, `ratio` = ms/sample : decode (1.5 means: half as much again as decoding alone),
`CPU ratio` the same in processor time of all processes, which other work on the machine does not
disturb, `speed-up` is against 0 workers, `cores used` is processor time : time on the clock.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    both = ["train", "eval"]
    add("--readers", nargs="+", choices=both, default=both, help="which readers (default: both)")
    add(
        "--workers",
        nargs="+",
        type=int,
        metavar="N",
        help="numbers of reader processes to try (default: 0 up to the number of cores)",
    )
    add("--batches", type=int, default=20, metavar="N", help="batches per run (default: 20)")
    add(
        "--repeat",
        type=int,
        default=3,
        metavar="N",
        help="runs per number of workers, of which the table shows the median (default: 3)",
    )
    add(
        "--normalize",
        nargs="+",
        choices=["device", "host"],
        default=["device"],
        help="batches of uint8 pixels, normalized on the device, as a run on a GPU reads; or of "
        "float32, normalized by the reader, as a run on a CPU reads (default: device)",
    )
    add(
        "--annotations",
        nargs="?",
        const="",
        metavar="FILE",
        help="measure opening a COCO annotation file instead of the readers",
    )
    add("--json", metavar="FILE", help="also write all numbers to this file")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    from ppdet_lite.utils.files import check_writable, write_json

    if args.json:
        check_writable(args.json)
    if args.annotations is not None:
        sys.path.insert(0, str(Path(__file__).resolve().parent / "dev"))
        from benchmark_annotations import benchmark_annotations, report_annotations

        result = benchmark_annotations(cfg, args.annotations or None)
        print(report_annotations(result))
    else:
        from ppdet_lite.benchmark.reader.reader_benchmark import benchmark_readers
        from ppdet_lite.benchmark.reader.reader_report import report

        result = benchmark_readers(
            cfg, args.readers, args.workers, args.batches, args.repeat, args.normalize
        )
        print(report(result))
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    run_tool(main, build_parser())
