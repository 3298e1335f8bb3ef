"""Sizes of a network's input, and the check that the steps of Preprocess give one it takes."""

from typing import Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.image_ops import PadStep, Preprocess

STRIDE = 32
"""Largest stride of the networks; the sides of their inputs are multiples of it."""

MOST_SIDE = 8192
"""Largest side of a network input."""


def check_size(preprocess: Preprocess, input_hw: Optional[tuple[int, int]]) -> None:
    """Refuses, by key, another size than the only one that the graph takes, and for a graph that
    takes any (`input_hw` is None) sides that are no multiples of STRIDE."""
    steps, size = preprocess.steps, preprocess.output_hw
    for step, behind in zip(steps, [*steps[1:], None]):
        limit, reason = [MOST_SIDE, MOST_SIDE], ""
        if isinstance(behind, PadStep):
            limit = [min(side, MOST_SIDE) for side in behind.target_hw]
            reason = ", the size of the Pad behind it"
        if any(side > most for side, most in zip(step.target_hw, limit)):
            raise ConfigError(
                f"Preprocess.{step.key}: found {list(step.target_hw)}, allowed: at most "
                f"{limit}{reason}"
            )
    if input_hw is None:
        needed, reason = f"multiples of {STRIDE}", ", the network's largest stride"
        if not steps or (size is not None and not any(side % STRIDE for side in size)):
            return
    else:
        needed = str(list(input_hw))
        reason = ", the size of the graph's input; for another size export the model again"
        if size == input_hw:
            return
    if not steps:
        key, found, needed = "Resize", "none", f"a target_size of {needed}"
    elif size is None:
        key, found, needed = "Resize.keep_ratio", "true without Pad", f"false, or a Pad to {needed}"
    else:
        key, found = steps[-1].key, str(list(steps[-1].target_hw))
    raise ConfigError(f"Preprocess.{key}: found {found}, allowed: {needed}{reason}")
