"""Options about the results of a detection: which classes, and the look of the drawn images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppdet_lite.utils.detect_files import ResultOptions


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `result_options`."""
    add = parser.add_argument_group("drawing").add_argument
    text = "only these classes, by name or number from 0; nothing of others is drawn or written"
    add("--classes", nargs="+", default=[], metavar="NAME", help=text)
    add("--hide_labels", action="store_true", help="boxes without names and scores")
    add("--hide_scores", action="store_true", help="names without scores")
    text = "a number beside each box, and a list of names and scores at the right of the image"
    add("--numbers", action="store_true", help=text)
    text = "also write every object as an image of its own: <output_dir>/crops/CLASS/IMAGE_1.jpg"
    add("--crop", action="store_true", help=text)


def result_options(args: argparse.Namespace) -> ResultOptions:
    """The options as the user gave them."""
    from ppdet_lite.utils.detect_files import ResultOptions
    from ppdet_lite.utils.drawing import DrawStyle

    style = DrawStyle(not args.hide_labels, not args.hide_scores, args.numbers)
    return ResultOptions(style, tuple(args.classes), args.crop)
