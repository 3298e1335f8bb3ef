"""Options about several views of an image: tiles of large images, test-time augmentation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from ppdet_lite.core.errors import ConfigError

if TYPE_CHECKING:
    from ppdet_lite.evaluate.views.settings import ViewSettings

Number = TypeVar("Number", int, float)


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `view_settings`."""
    add = parser.add_argument_group("tiles and test-time augmentation").add_argument
    text = "cut large images into tiles that overlap, and merge what is found in them"
    add("--slice_infer", action="store_true", help=text)
    sides: dict[str, Any] = {"nargs": "+", "metavar": ("H", "W")}
    text = "of a tile in pixels (one number: both; default: 640)"
    add("--slice_size", type=int, default=[640], help=text, **sides)
    text = "share of a tile that the next one repeats (default: 0.25)"
    add("--overlap_ratio", type=float, default=[0.25], help=text, **sides)
    text = "tiles alone, without the whole image, which finds what is larger than a tile"
    add("--slice_only", action="store_true", help=text)
    text = "detect on flipped and scaled copies, too, and merge"
    add("--tta", action="store_true", help=text)
    text = "sizes of the network's input with --tta (default: 0.83 1 1.25)"
    add("--tta_scales", type=float, nargs="+", default=[0.83, 1.0, 1.25], metavar="S", help=text)
    add("--tta_no_flip", action="store_true", help="with --tta: scales only")
    text = "boxes of one class that overlap by more are one object (default: 0.6)"
    add("--match_threshold", type=float, default=0.6, metavar="SHARE", help=text)
    text = "overlap: over the union, or over the smaller box (default: iou)"
    add("--match_metric", choices=("iou", "ios"), default="iou", help=text)


def view_settings(args: argparse.Namespace) -> Optional[ViewSettings]:
    """The settings as the user gave them; None for plain detection.

    Raises:
        ConfigError: both switches, or a value that cannot be used.
    """
    if args.slice_infer and args.tta:
        raise ConfigError("`slice_infer` and `tta`: give one of them")
    if not args.slice_infer and not args.tta:
        return None
    from ppdet_lite.evaluate.views.settings import slices, tta

    if args.tta:
        scales = tuple(args.tta_scales)
        return tta(scales, not args.tta_no_flip, args.match_threshold, args.match_metric)
    size, overlap = _pair("slice_size", args.slice_size), _pair("overlap_ratio", args.overlap_ratio)
    whole = not args.slice_only
    return slices(size, overlap, whole, args.match_threshold, args.match_metric)


def _pair(name: str, values: list[Number]) -> tuple[Number, Number]:
    if len(values) > 2:
        raise ConfigError(f"`{name}`: found {len(values)} numbers, allowed: 1 or 2 (height, width)")
    return values[0], values[-1]
