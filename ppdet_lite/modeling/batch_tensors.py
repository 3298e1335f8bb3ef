"""What a detector takes: tensors, or the numpy batch of a reader."""

import numpy as np
import paddle

POSITION_KEYS = ("epoch_id", "iteration", "seed")
"""Where in a training run a batch stands, int64 [1] each; `Trainer` adds them.

They stay numpy arrays: they decide what is computed, and to read them back would stop a GPU.
"""


PIXEL_MAP = "pixel_map"
"""Comes with an `image` of uint8 pixels [B, H, W, 3]: float32 [2, 3], see `as_tensors`."""


def as_tensors(inputs: dict) -> dict:
    """Arrays as tensors and lists of arrays as lists of tensors; tensors stay as they are.

    Pixels are normalized, and brought to [B, 3, H, W], on the device: pixel * map[0] + map[1].

    Ground truth comes as a list, one array per image, when the images of a batch hold different
    numbers of objects. Values that no network can take (file names) are left out.
    """
    converted = {}
    if PIXEL_MAP in inputs:
        pixels, pixel_map = (_tensor(inputs[key]) for key in ("image", PIXEL_MAP))
        inputs = {**inputs, "image": _normalized(pixels, pixel_map)}
        del inputs[PIXEL_MAP]
    for key, value in inputs.items():
        if key in POSITION_KEYS or paddle.is_tensor(value):
            converted[key] = value
        elif isinstance(value, np.ndarray):
            converted[key] = paddle.to_tensor(value)
        elif isinstance(value, (list, tuple)) and all(map(_is_array, value)):
            converted[key] = [paddle.to_tensor(entry) for entry in value]
    return converted


def _tensor(value):
    return value if paddle.is_tensor(value) else paddle.to_tensor(value)


def _normalized(pixels, pixel_map):
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W]."""
    slope, shift = pixel_map.reshape([2, 3, 1, 1])
    # Devices that cannot transpose uint8 can convert it.
    return pixels.astype("float32").transpose([0, 3, 1, 2]) * slope + shift


def _is_array(value) -> bool:
    return isinstance(value, np.ndarray) or paddle.is_tensor(value)


def position(inputs: dict, key: str, default=None):
    """The whole number under `key` of POSITION_KEYS, `default` when the batch does not say."""
    return int(inputs[key].item()) if key in inputs else default
