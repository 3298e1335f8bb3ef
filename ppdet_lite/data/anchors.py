"""Anchors for a data set: k-means on IoU (YOLO9000, arXiv:1612.08242, section 2), then random
changes that are kept where they fit the objects better.

Sizes are width and height [N, 2] in pixels of the network input; overlaps are those of concentric
boxes.
"""

from typing import NamedTuple, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.ops.boxes_np import wh_iou_matrix

MOST_SIZES = 50_000
"""Objects that the search looks at, drawn by its seed; what is reported is of all."""

_ROUNDS, _STARTS = 300, 4
_MUTATION, _SIGMA = 0.3, 0.15
_BLOCK = 1 << 18


class AnchorFit(NamedTuple):
    """The fit of anchors to objects.

    Attributes:
        recall: share of the objects with an anchor that overlaps them by more than a threshold, the
            best possible recall of the assignment.
        mean_iou: mean overlap of the objects with their best anchor.
    """

    recall: float
    mean_iou: float


def object_sizes(dataset: Dataset, input_hw: SizeHW, keep_ratio: bool = False) -> np.ndarray:
    """Sizes [N, 2] of all objects but crowds, once their images are resized to `input_hw`.

    Args:
        keep_ratio: images are fitted into the input with their own shape.

    Raises:
        DataError: there is no object, or an image without a known size.
    """
    found = [np.zeros((0, 2))]
    for index in range(len(dataset)):
        record = dataset.record(index)
        boxes = np.reshape(record.get("gt_bbox", ()), (-1, 4)).astype(np.float64)
        if "is_crowd" in record:
            boxes = boxes[record["is_crowd"][:, 0] == 0]
        if not len(boxes):
            continue
        if min(record.get("h") or 0, record.get("w") or 0) <= 0:
            raise DataError(f"{record.get('im_file', index)}: its height and width are not known")
        factors = np.array([input_hw[1] / record["w"], input_hw[0] / record["h"]])
        found.append((boxes[:, 2:] - boxes[:, :2]) * (factors.min() if keep_ratio else factors))
    sizes = np.concatenate(found)
    sizes = sizes[(sizes > 0).all(axis=1)]
    if not len(sizes):
        raise DataError(f"{dataset.name}: no object to make anchors for")
    return sizes


def fit_of(sizes: np.ndarray, anchors: np.ndarray, threshold: float) -> AnchorFit:
    """The fit of anchors [A, 2] to objects of `sizes`."""
    best = _best_overlaps(sizes, anchors)
    return AnchorFit(float((best > threshold).mean()), float(best.mean()))


def find_anchors(
    sizes: np.ndarray,
    count: int,
    *,
    threshold: float = 0.0,
    seed: int = 0,
    generations: int = 1000,
    present: Optional[np.ndarray] = None,
) -> np.ndarray:
    """`count` anchors [count, 2] in whole pixels, by area.

    They are those with the highest mean overlap of the objects with their best anchor, where an
    overlap of `threshold` or less counts as 0: such an object has no anchor in the assignment. On
    the objects that the search looks at they are never worse than `present`.

    Args:
        threshold: of the assignment.
        seed: of everything random.
        generations: random changes that are tried after k-means.
        present: anchors [count, 2] that the search may start from, too.

    Raises:
        DataError: there are fewer objects of different sizes than anchors.
    """
    rng = np.random.default_rng(seed)
    if len(sizes) > MOST_SIZES:
        sizes = sizes[rng.choice(len(sizes), MOST_SIZES, replace=False)]
    different = len(np.unique(sizes, axis=0))
    if different < count:
        raise DataError(f"found {different} objects of different sizes, needed: {count} or more")
    starts = [kmeans(sizes, count, rng) for _ in range(_STARTS)]
    if present is not None and len(present) == count:
        starts.append(np.asarray(present, np.float64))

    def fitness(anchors: np.ndarray) -> float:
        return _fitness(_best_overlaps(sizes, anchors), threshold)

    best = refine(sizes, max(starts, key=fitness), generations, rng, threshold)
    whole = max(map(_whole, [best, *starts]), key=fitness)
    return whole[np.argsort(whole.prod(axis=1), kind="stable")].astype(np.int64)


def kmeans(sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Centers [count, 2] of the clusters of `sizes` by the distance 1 - IoU, each the mean of its
    cluster.

    The first centers are drawn as k-means++ does: far from those before are more probable.
    """
    centers: np.ndarray = sizes[rng.integers(len(sizes))][None]
    while len(centers) < count:
        distance = 1 - _best_overlaps(sizes, centers)
        weights = distance**2 if (distance > 0).any() else np.ones(len(sizes))
        drawn = rng.choice(len(sizes), p=weights / weights.sum())
        centers = np.concatenate([centers, sizes[drawn][None]])
    owner = np.full(len(sizes), -1)
    for _ in range(_ROUNDS):
        nearest = wh_iou_matrix(sizes, centers).argmax(axis=1)
        if (nearest == owner).all():
            break
        owner = nearest
        for index in np.unique(owner):
            centers[index] = sizes[owner == index].mean(axis=0)
    return centers


def refine(
    sizes: np.ndarray,
    anchors: np.ndarray,
    generations: int,
    rng: np.random.Generator,
    threshold: float = 0.0,
) -> np.ndarray:
    """Anchors that fit at least as well as `anchors`: in every generation some of their sides are
    multiplied by factors around 1, and kept if the fit is better then.
    """
    anchors = anchors.copy()
    overlaps = wh_iou_matrix(sizes, anchors)
    best = _fitness(overlaps.max(axis=1), threshold)
    for _ in range(generations):
        changes = rng.random(anchors.shape) < _MUTATION
        factors = np.where(changes, np.exp(rng.normal(0, _SIGMA, anchors.shape)), 1)
        changed = changes.any(axis=1)
        if not changed.any():
            continue
        tried, child = overlaps.copy(), anchors * factors
        tried[:, changed] = wh_iou_matrix(sizes, child[changed])
        found = _fitness(tried.max(axis=1), threshold)
        if found > best:
            anchors, overlaps, best = child, tried, found
    return anchors


def _fitness(best_overlaps: np.ndarray, threshold: float) -> float:
    return float((best_overlaps * (best_overlaps > threshold)).mean())


def _whole(anchors: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.maximum(np.rint(anchors), 1)
    return whole


def _best_overlaps(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Overlap [N] of every object with its best anchor."""
    parts = [sizes[start : start + _BLOCK] for start in range(0, len(sizes), _BLOCK)]
    best: np.ndarray = np.concatenate([wh_iou_matrix(part, anchors).max(axis=1) for part in parts])
    return best
