"""The objects of a batch as arrays of one shape, for any number of objects in each image."""

from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor


class GroundTruth(NamedTuple):
    """Objects of B images, P places each.

    boxes_xyxy_px: [B, P, 4] float32, pixels of the network input. labels: [B, P] int64. valid:
    [B, P] bool, false in places that hold no object.
    """

    boxes_xyxy_px: Tensor
    labels: Tensor
    valid: Tensor


@paddle.no_grad()
def pad_ground_truth(gt_bbox: Any, gt_class: Any) -> GroundTruth:
    """Brings objects into places; a box without area marks a place as empty.

    Args:
        gt_bbox: corner boxes in pixels, a list of B tensors [N_i, 4] or one tensor [B, N, 4].
        gt_class: classes likewise, [N_i, 1] or [B, N, 1]; the last axis may be missing.
    """
    if isinstance(gt_bbox, (list, tuple)):
        counts = [len(boxes) for boxes in gt_bbox]
        places = max(1, *counts)
        boxes = _pad_rows(gt_bbox, 4, counts, places, "float32")
        labels = _pad_rows(gt_class, 1, counts, places, "int64")
    elif gt_bbox.shape[1] == 0:  # one empty place, so that nothing below is without elements
        boxes = paddle.zeros([gt_bbox.shape[0], 1, 4])
        labels = paddle.zeros([gt_bbox.shape[0], 1, 1], dtype="int64")
    else:
        boxes = gt_bbox.astype("float32")
        labels = gt_class.astype("int64").reshape([*boxes.shape[:2], 1])
    size = boxes[..., 2:] - boxes[..., :2]
    return GroundTruth(boxes, labels.squeeze(-1), (size > 0).all(axis=-1))


def _pad_rows(rows: Any, width: int, counts: list[int], places: int, dtype: str) -> Tensor:
    """B tensors of N_i rows to one [B, P, width] with zeros after the rows of each image. Those
    without rows are left out first: Paddle 2.6 cannot reshape them."""
    filled = [entry.reshape([-1, width]).astype(dtype) for entry, n in zip(rows, counts) if n]
    table = paddle.concat([*filled, paddle.zeros([1, width], dtype=dtype)])
    index = np.full((len(rows), places), len(table) - 1, np.int64)
    taken = np.arange(places) < np.array(counts)[:, None]
    index[taken] = np.arange(len(table) - 1)
    padded = paddle.gather(table, paddle.to_tensor(index.reshape(-1)))
    return padded.reshape([len(rows), places, -1])


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """Entry `index` [B, M] of each image's rows [B, P, ...]: [B, M, ...]."""
    batch, places = table.shape[:2]
    first = paddle.arange(batch, dtype="int64").unsqueeze(1) * places
    flat = paddle.gather(
        table.reshape([batch * places, *table.shape[2:]]), (first + index).flatten()
    )
    return flat.reshape([*index.shape, *table.shape[2:]])
