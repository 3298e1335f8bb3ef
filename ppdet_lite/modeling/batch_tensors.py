"""The numpy batch of a reader as tensors."""

from typing import Any, Optional

import numpy as np
import paddle
from paddle import Tensor

POSITION_KEYS = ("epoch_id", "iteration", "seed")
"""The position of a batch in a training run, int64 [1] each; `Trainer` adds them.

They stay numpy arrays: they decide what is computed, and to read them back would stop a GPU.
"""

PIXEL_MAP = "pixel_map"
"""Comes with an `image` of uint8 pixels [B, H, W, 3]: float32 [2, 3], see `as_tensors`."""


def as_tensors(batch: dict[str, Any]) -> dict[str, Any]:
    """Arrays as tensors and lists of arrays as lists of tensors; tensors stay as they are.

    Pixels are normalized, and brought to [B, 3, H, W], on the device: pixel * map[0] + map[1].

    Ground truth comes as a list, one array per image, when the images of a batch hold different
    numbers of objects. Values that no network can take (file names) are left out.
    """
    converted: dict[str, Any] = {}
    for key, value in batch.items():
        if key in POSITION_KEYS:
            converted[key] = value
        elif _is_array(value):
            converted[key] = _tensor(value)
        elif isinstance(value, (list, tuple)) and all(map(_is_array, value)):
            converted[key] = [_tensor(entry) for entry in value]
    if PIXEL_MAP in converted:
        slope, shift = converted.pop(PIXEL_MAP).reshape([2, 3, 1, 1])
        # Devices that cannot transpose uint8 can convert it.
        pixels = converted["image"].astype("float32").transpose([0, 3, 1, 2])
        converted["image"] = pixels * slope + shift
    return converted


def _tensor(value: Any) -> Tensor:
    return value if paddle.is_tensor(value) else paddle.to_tensor(value)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or paddle.is_tensor(value)


def position(batch: dict[str, Any], key: str) -> Optional[int]:
    """The whole number under `key` of POSITION_KEYS, None when the batch does not say."""
    return int(batch[key].item()) if key in batch else None
