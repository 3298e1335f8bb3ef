"""Joins data sets, of whatever formats: equal splits, and classes of equal names."""

import argparse
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser

EXAMPLES = """  ppdet data merge dataset/mine dataset/of_roboflow --output dataset/both
  ppdet data merge dataset/a dataset/b dataset/c --output dataset/all --format yolo --link

Classes that differ by case or blanks only stay apart, and are named. The originals stay as they
are.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="the data sets")
    add("--output", type=Path, required=True, metavar="FOLDER", help="a new folder")
    text = "the format to write (default: coco)"
    add("--format", dest="to", choices=("coco", "voc", "yolo"), default="coco", help=text)
    add("--link", action="store_true", help="link the images (symbolic) instead of copying them")
    text = "the way to read each FOLDER where there are several"
    add("--data_format", metavar="NAME", help=text)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.errors import ConfigError
    from ppdet_lite.data.folder.operations import merge
    from ppdet_lite.data.folder.recognize import recognize

    if len(args.folders) < 2:
        raise ConfigError("`folders`: found 1, allowed: 2 or more")
    readings = [recognize(folder, args.data_format) for folder in args.folders]
    print("\n".join(merge(readings, args.output, to=args.to, link=args.link).lines))
