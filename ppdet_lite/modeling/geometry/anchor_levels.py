"""The geometry of one YOLO output level, which loss and decoding share."""

from collections.abc import Sequence
from numbers import Number
from typing import NamedTuple, Optional

from ppdet_lite.core.errors import ConfigError


class AnchorLevel(NamedTuple):
    """One output map.

    anchors: (width, height) in input pixels, one per box a cell predicts.
    stride: input pixels per cell.
    scale_x_y: s of the grid-sensitive center s * sigmoid(x) - (s - 1) / 2.
    iou_aware_factor: f of score = objectness^(1 - f) * IoU^f * class; None without IoU logits.
    """

    anchors: tuple
    stride: int
    scale_x_y: float
    iou_aware_factor: Optional[float] = None


def level_anchors(anchors: Sequence, anchor_masks: Sequence, levels: int) -> list:
    """The anchors of each level, coarsest level first.

    Args:
        anchors: all (width, height) pairs, input pixels.
        anchor_masks: per level, indices into `anchors`.
        levels: number of output maps.

    Raises:
        ConfigError: an anchor is no pair of positive whole numbers, a mask points outside the
            list, or the number of masks is not the number of levels.
    """
    problems = []
    for i, anchor in enumerate(anchors):
        is_pair = isinstance(anchor, Sequence) and len(anchor) == 2
        if not is_pair or not all(_is_size(side) for side in anchor):
            problems.append(
                f"anchors.{i}: found {anchor!r}, needed: [width, height] in whole pixels above 0"
            )
    if len(anchor_masks) != levels:
        problems.append(
            f"anchor_masks: found {len(anchor_masks)} masks, needed: {levels}, one for each output "
            "level of the neck"
        )
    for i, mask in enumerate(anchor_masks):
        if not mask or any(not 0 <= index < len(anchors) for index in mask):
            problems.append(
                f"anchor_masks.{i}: found {list(mask)}, allowed: indices 0 to {len(anchors) - 1} "
                "into anchors"
            )
    if problems:
        raise ConfigError(problems)
    return [
        tuple(tuple(int(side) for side in anchors[index]) for index in mask)
        for mask in anchor_masks
    ]


def _is_size(side) -> bool:
    """The decoding operator takes whole numbers only."""
    return isinstance(side, Number) and side > 0 and side == int(side)


def per_level(value, levels: int) -> tuple:
    """A number, or a list with one per level, as a tuple with one number per level.

    Raises:
        ConfigError: a list of another length.
    """
    if isinstance(value, Number):
        return (value,) * levels
    if len(value) != levels:
        raise ConfigError(f"found {list(value)}, needed: one number, or one per level ({levels})")
    return tuple(value)


def agreed_fact(name: str, statements: dict, levels: int, default) -> tuple:
    """A fact that several sections may state, per level.

    Args:
        name: what it is, for the message.
        statements: dotted key -> value or None where the section is silent.
        levels: number of output levels.
        default: value when all are silent.

    Raises:
        ConfigError: two sections state different values; names their keys.
    """
    first: Optional[str] = None
    agreed = None
    for key, value in statements.items():
        if value is None:
            continue
        value = per_level(value, levels)
        if first is not None and value != agreed:
            raise ConfigError(
                f"{key} is {_short(value)} but {first} is {_short(agreed)}: {name} is a property "
                "of the network and must be the same everywhere; state it once"
            )
        if first is None:
            first, agreed = key, value
    return per_level(default, levels) if agreed is None else agreed


def _short(values: tuple):
    return values[0] if len(set(values)) == 1 else list(values)
