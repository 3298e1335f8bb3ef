"""Divides a data set into train, val and test, by image and each class by its share."""

import argparse
from pathlib import Path

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.commands.data.convert import add_output_options

EXAMPLES = """  ppdet data split dataset/my_photos dataset/my_split --val 0.2
  ppdet data split dataset/my_photos dataset/my_split --val 0.1 --test 0.1 --seed 3 --link

The same seed gives the same splits. Splits that are there already are divided anew. FOLDER stays as
it is.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the data set")
    add_output_options(parser, text="the format to write (default: that of FOLDER, or coco)")
    add("--val", type=float, default=0.2, metavar="SHARE", help="of the images (default: 0.2)")
    add("--test", type=float, default=0.0, metavar="SHARE", help="of the images (default: 0)")
    add("--seed", type=int, default=0, metavar="N", help="of the drawing (default: 0)")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.errors import ConfigError
    from ppdet_lite.data.folder.operations import split
    from ppdet_lite.data.folder.recognize import recognize

    if args.seed < 0:
        raise ConfigError(f"`seed`: found {args.seed}, allowed: 0 or more")
    reading = recognize(args.folder, args.data_format)
    shares = {"val": args.val, "test": args.test}
    written = split(reading, args.output, shares, seed=args.seed, to=args.to, link=args.link)
    print("\n".join(written.lines))
