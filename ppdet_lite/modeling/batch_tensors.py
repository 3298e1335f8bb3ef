"""Conversion of a reader's numpy batch to tensors."""

from typing import Any, Optional

import numpy as np
import paddle
from paddle import Tensor

from ppdet_lite.core.errors import DataError

POSITION_KEYS = ("epoch_id", "iteration", "seed")
"""Position of a batch in the training, int64 [1] each, added by `Trainer`.

They stay numpy arrays because reading a value back from a GPU would block.
"""

PIXEL_MAP = "pixel_map"
"""Key of slope and shift, float32 [2, 3], that normalize an `image` of uint8 [B, H, W, 3]."""


def as_tensors(batch: dict[str, Any]) -> dict[str, Any]:
    """Converts arrays, and lists of arrays (ground truth, one per image), to tensors.

    With a `PIXEL_MAP`, `image` is normalized on the device and transposed to [B, 3, H, W]. Values
    that are neither (file names) are dropped.

    Raises:
        DataError: a box in `gt_bbox` is not finite: the loss would take it for one of any size.
    """
    boxes = batch.get("gt_bbox", ())
    for entry in [boxes] if _is_array(boxes) else boxes:
        if isinstance(entry, np.ndarray) and not np.isfinite(entry).all():
            rows = entry.reshape(-1, entry.shape[-1])
            wrong = rows[~np.isfinite(rows).all(axis=1)][0].tolist()
            raise DataError(f"gt_bbox of the batch: found {wrong}, allowed: finite numbers")
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
        # Converted first: some devices cannot transpose uint8.
        pixels = converted["image"].astype("float32").transpose([0, 3, 1, 2])
        converted["image"] = pixels * slope + shift
    return converted


def _tensor(value: Any) -> Tensor:
    return value if paddle.is_tensor(value) else paddle.to_tensor(value)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or paddle.is_tensor(value)


def position(batch: dict[str, Any], key: str) -> Optional[int]:
    """Returns the number under a key of `POSITION_KEYS`; None if the batch has none."""
    return int(batch[key].item()) if key in batch else None
