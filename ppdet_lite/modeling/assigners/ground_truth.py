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
        boxes = _pad_rows([b.reshape([-1, 4]) for b in gt_bbox], counts, places, "float32")
        labels = _pad_rows([c.reshape([-1, 1]) for c in gt_class], counts, places, "int64")
    else:
        boxes = gt_bbox.astype("float32")
        labels = gt_class.astype("int64").reshape([*boxes.shape[:2], 1])
        if boxes.shape[1] == 0:  # one empty place, so that nothing below is without elements
            boxes = paddle.zeros([boxes.shape[0], 1, 4])
            labels = paddle.zeros([boxes.shape[0], 1, 1], dtype="int64")
    size = boxes[..., 2:] - boxes[..., :2]
    return GroundTruth(boxes, labels.squeeze(-1), (size > 0).all(axis=-1))


def _pad_rows(rows: list[Tensor], counts: list[int], places: int, dtype: str) -> Tensor:
    """B tensors [N_i, D] to one [B, P, D] with zeros after the rows of each image."""
    table = paddle.concat(
        [
            *(entry.astype(dtype) for entry, count in zip(rows, counts) if count),
            paddle.zeros([1, rows[0].shape[1]], dtype=dtype),
        ]
    )
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
