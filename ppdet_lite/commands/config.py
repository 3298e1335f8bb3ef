"""Writes a commented configuration to start from: data, classes, batch size, epochs, learning rate
and weights of a shipped one, which it is based on."""

import argparse
import os
import sys

from ppdet_lite.core.errors import UserError

EXAMPLES = """examples:
  ppdet config ppyolov2_r50vd_dcn_365e_coco > my.yml
  ppdet config yolox_s_300e_coco --output bees.yml    with this name in its comments and keys
  ppdet config my.yml --output second.yml             based on a file of your own
  ppdet models                                        names of all configurations
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", metavar="NAME", help="a shipped configuration, or a file")
    add(
        "--output",
        metavar="FILE",
        help="write this file; it must not exist (default: the terminal)",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.api.starting_point import starting_point

    if not args.output:
        sys.stdout.write(starting_point(args.config))
        return
    text = starting_point(args.config, args.output)
    if os.path.exists(args.output):
        raise UserError(f"`output` {args.output}: exists already; give another name")
    try:
        with open(args.output, "x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UserError(f"`output` {args.output}: cannot be written: {error.strerror}") from None
    print(f"written: {args.output}")
