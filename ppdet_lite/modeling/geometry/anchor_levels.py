"""Properties of the output maps of heads with anchors, shared by loss and decoding."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.arguments import Check, PerLevel, check_arguments


class AnchorLevel(NamedTuple):
    """An output map of a head with anchors.

    anchors: (width, height) in input pixels of each box that a cell predicts.
    stride: input pixels per cell.
    scale_x_y: grid sensitivity s of the center s * sigmoid(x) - (s - 1) / 2.
    iou_aware_factor: f of score = objectness^(1 - f) * IoU^f * class; None without IoU logits.
    new_coords: outputs are sigmoids already, and a side is anchor * (2 * output)^2 instead of
        anchor * exp(output) (scaled YOLOv4, arXiv:2011.08036).
    guided: logarithms of factors on the anchors come first, see `guided_layout`.
    gaussian: every coordinate has a deviation beside it, see `gaussian_layout`.
    """

    anchors: tuple
    stride: int
    scale_x_y: float
    iou_aware_factor: Optional[float] = None
    new_coords: bool = False
    guided: bool = False
    gaussian: bool = False


def level_anchors(
    anchors: Sequence[Sequence[int]], anchor_masks: Sequence[Sequence[int]], levels: int
) -> list[tuple]:
    """Returns the anchors of each of `levels` output maps.

    Args:
        anchors: (width, height) in whole input pixels, as the decoding operator requires.
        anchor_masks: indices into `anchors` for each level.
    """
    last, masks = len(anchors) - 1, [list(mask) for mask in anchor_masks]
    needed = f"{levels} masks, one for each output level of the neck"
    checks: list[Check] = [("anchor_masks", masks, len(masks) == levels, needed)]
    for i, anchor in enumerate(anchors):
        needed = "[width, height] in whole pixels above 0"
        checks.append((f"anchors.{i}", anchor, _is_size(anchor), needed))
    for i, mask in enumerate(masks):
        fits = bool(mask) and all(0 <= index <= last for index in mask)
        checks.append((f"anchor_masks.{i}", mask, fits, f"indices 0 to {last} into anchors"))
    check_arguments(*checks)
    return [tuple(tuple(map(int, anchors[index])) for index in mask) for mask in masks]


def _is_size(anchor: Any) -> bool:
    is_pair = isinstance(anchor, Sequence) and len(anchor) == 2
    return is_pair and all(
        isinstance(side, Real) and float(side) > 0 and float(side).is_integer() for side in anchor
    )


def agreed_value(
    name: str, stated: Mapping[str, Optional[PerLevel]], levels: int
) -> Optional[tuple]:
    """Returns, per level, a property that several sections of a configuration may state; None if
    none does.

    Args:
        name: description of the property for messages.
        stated: dotted key -> value, None where the section does not state it.

    Raises:
        ConfigError: two sections state different values.
    """
    found: dict[str, tuple] = {}
    for key, value in stated.items():
        if value is None:
            continue
        found[key] = tuple(value) if isinstance(value, Sequence) else (value,) * levels
        if len(found[key]) != levels:
            raise ConfigError(
                f"{key}: found {value}, allowed: one number, or one per level ({levels})"
            )
    if not found:
        return None
    first, agreed = next(iter(found.items()))
    for key, values in found.items():
        if values != agreed:
            shown = [v[0] if len(set(v)) == 1 else list(v) for v in (values, agreed)]
            raise ConfigError(
                f"{key} is {shown[0]} but {first} is {shown[1]}: {name} is a property "
                "of the network and must be the same everywhere; state it once"
            )
    return agreed
