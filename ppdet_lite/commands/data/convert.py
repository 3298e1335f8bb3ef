"""Writes a data set in another format: COCO json, Pascal VOC or YOLO txt."""

import argparse
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser

EXAMPLES = """  ppdet data convert dataset/my_photos dataset/my_coco --format coco
  ppdet data convert dataset/my_photos dataset/my_yolo --format yolo --link

FOLDER may hold COCO json, Pascal VOC, YOLO txt, CSV or labelme files; it stays as it is. Boxes,
classes and splits are written; polygons are not, and neither are boxes that no training could use.
The images are copied.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the data set")
    add_output_options(parser, required=True)
    return parser


def add_output_options(
    parser: argparse.ArgumentParser, required: bool = False, text: str = "the format to write"
) -> None:
    """Adds the options of commands that write a data set."""
    add = parser.add_argument
    add("output", type=Path, metavar="OUTPUT", help="a new folder")
    choices = ("coco", "voc", "yolo")
    add("--format", dest="to", choices=choices, required=required, help=text)
    add("--link", action="store_true", help="link the images (symbolic) instead of copying them")
    text = "the way to read FOLDER where there are several, as an error lists them"
    add("--data_format", metavar="NAME", help=text)


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.data.folder.operations import convert
    from ppdet_lite.data.folder.recognize import recognize

    reading = recognize(args.folder, args.data_format)
    print("\n".join(convert(reading, args.output, args.to, args.link).lines))
