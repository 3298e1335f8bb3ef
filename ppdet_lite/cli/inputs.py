"""Options for images and scores; the same in every command that detects.

The first name of each is ours. The others are those of PaddleDetection, whose tools/infer.py and
deploy/python/infer.py call the same things differently.
"""

from __future__ import annotations

import argparse
from typing import Any, Optional

from ppdet_lite.cli.tool import score_or_auto

IMAGE = ("--image", "--image_file", "--infer_img")
IMAGE_DIR = ("--image_dir", "--infer_dir")
THRESHOLD = ("--threshold", "--draw_threshold")


def add_images(
    group: argparse._MutuallyExclusiveGroup, image: str = "infer_img", folder: str = "infer_dir"
) -> None:
    """Adds the options for images and for a folder of them, stored as `image` and `folder`."""
    text = "one or more images"
    group.add_argument(*IMAGE, dest=image, nargs="+", metavar="IMAGE", help=text)
    text = "all images of a folder and its sub-folders"
    group.add_argument(*IMAGE_DIR, dest=folder, metavar="FOLDER", help=text)


SCORE_OR_AUTO: dict[str, Any] = {"type": score_or_auto, "metavar": "SCORE|auto"}
"""Arguments of `add_threshold` where "auto" is understood."""


def add_threshold(
    group: argparse._ActionsContainer, text: str, default: Optional[float] = None, **kind: Any
) -> None:
    """Adds the option for the lowest score, stored as `threshold`."""
    kind = {"type": float, "metavar": "SCORE", **kind}
    group.add_argument(*THRESHOLD, dest="threshold", default=default, help=text, **kind)
