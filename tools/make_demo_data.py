"""Draws a small labeled detection set (COCO layout), to try everything without a download."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppdet_lite.cli.tool import run_tool

EPILOG = """\
example:
  python tools/make_demo_data.py --output dataset/demo --train 500 --val 100 --size 160 --seed 0

what it makes:
  dataset/demo/annotations/train.json, val.json      boxes, outlines and classes in COCO format
  dataset/demo/train/*.jpg, dataset/demo/val/*.jpg   the images

The objects are circles, squares, triangles, stars and rings of many angles, surfaces and sizes
over varied backgrounds; about one image in twenty has none. The same seed gives the same set.
A set that is already there is kept; with other settings it is replaced only with --overwrite.
Use it in a config:
  TrainDataset: {name: COCODataSet, dataset_dir: dataset/demo, image_dir: train,
                 anno_path: annotations/train.json}
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="dataset/demo", help="folder to make (%(default)s)")
    parser.add_argument("--train", type=int, default=500, help="training images (%(default)s)")
    parser.add_argument("--val", type=int, default=100, help="held-out images (%(default)s)")
    parser.add_argument("--size", type=int, default=160, help="side in pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="number of the set (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing demo set")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.data.synthetic.demo_set import make_demo_data

    make_demo_data(**vars(args))


if __name__ == "__main__":
    run_tool(main, build_parser())
