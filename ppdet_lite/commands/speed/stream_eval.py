"""Streaming AP of an exported model: accuracy on a video that does not wait for it."""

import argparse
import json
from pathlib import Path

from ppdet_lite.cli import deploy
from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.core.errors import ConfigError

EXAMPLES = """  ppdet stream-eval --model_dir output_inference/yolox_l_upstream_coco \\
      --annotations val.json --fps 30
  ... --image_dir Argoverse-1.1/tracking    where the frames are not found near the annotations
  ... --latency_ms 14.5 33                  latencies to compute with, not those of this machine
  ... --latency_table devices.csv           lines of device,milliseconds; a row of the report each
  ... --json stream.json                    all numbers

Every frame is scored with the last prediction that is finished at its time (streaming AP,
arXiv:2005.10420). The detector takes the newest frame whenever it is free. A run is everything from
the decoded frame to the boxes; its time is measured here unless latencies are given.
Frames go by sid and fid, or video_id and frame_id, of the images: number n of a stream is seen at
n / fps seconds, whether or not those before it are there. Without such keys all images are one
stream in the order of the file.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--model_dir", required=True, metavar="FOLDER", help="written by ppdet export")
    add("--annotations", required=True, type=Path, metavar="JSON", help="COCO annotations")
    text = "the frames (default: a folder near the annotations that holds them)"
    add("--image_dir", type=Path, metavar="FOLDER", help=text)
    add("--fps", type=float, default=30.0, metavar="N", help="frames per second (default: 30)")
    group = parser.add_mutually_exclusive_group()
    text = "latencies of devices in milliseconds"
    group.add_argument("--latency_ms", nargs="+", type=float, default=[], metavar="MS", help=text)
    text = ".csv or .json of devices and their latencies"
    group.add_argument("--latency_table", type=Path, metavar="FILE", help=text)
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
    deploy.add_engines(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    if not 0 < args.fps <= 100_000:
        raise ConfigError(f"`fps`: found {args.fps:g}, allowed: above 0")
    for value in args.latency_ms:
        if not 0 <= value < float("inf"):
            raise ConfigError(f"`latency_ms`: found {value:g}, allowed: 0 or more")
    from ppdet_lite.benchmark.streaming.latency_table import Latencies, read_latency_table
    from ppdet_lite.benchmark.streaming.stream_eval import evaluate_stream
    from ppdet_lite.utils.files import replacing

    devices = [Latencies(f"{value:g} ms", [value]) for value in args.latency_ms]
    if args.latency_table:
        devices = read_latency_table(args.latency_table)
    detector = deploy.open_detector(args)
    report = evaluate_stream(detector, args.annotations, args.image_dir, args.fps, devices)
    print(report.table())
    if args.json:
        with replacing(args.json) as stream:
            stream.write(json.dumps(report.as_dict(), indent=1).encode())
