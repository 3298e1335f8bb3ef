"""The fields of a sample that have one entry per object, and what is done to all of them alike."""

from typing import Any, Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError, require

Sample = dict[str, Any]
"""An image and its annotations by field name, see `ppdet_lite.data.sources.dataset.Dataset`."""

# Per array the shape and kind of a row, and what stands for a field that a sample does not have.
_ROWS: dict[str, tuple[int, type, int]] = {
    "gt_bbox": (4, np.float32, 0),
    "gt_class": (1, np.int32, 0),
    "gt_score": (1, np.float32, 1),
    "is_crowd": (1, np.int32, 0),
    "difficult": (1, np.int32, 0),
}
ARRAYS = tuple(_ROWS)
"""Object fields that are arrays [N, K]; `gt_poly` is a list of N lists of points [P, 2]."""


def object_array(sample: Sample, field: str) -> np.ndarray:
    """One of `ARRAYS`, filled in where the sample does not have it."""
    size, kind, missing = _ROWS[field]
    known: Any = sample.get(field)
    count = len(sample.get("gt_bbox", ()))
    return np.full((count, size), missing, kind) if known is None else known


def select_objects(sample: Sample, keep: np.ndarray) -> Sample:
    """A sample with only the objects at the indices `keep`."""
    selected = {**sample, **{field: sample[field][keep] for field in ARRAYS if field in sample}}
    if sample.get("gt_poly") is not None:
        selected["gt_poly"] = [sample["gt_poly"][index] for index in keep]
    return selected


def moved_objects(
    sample: Sample,
    scale_xy: Sequence[float] = (1.0, 1.0),
    shift_xy: Sequence[float] = (0.0, 0.0),
) -> Sample:
    """`gt_bbox` (float32) and `gt_poly`, as far as there are any: multiplied, then moved."""
    scale, shift = np.asarray(scale_xy), np.asarray(shift_xy)
    moved: Sample = {}
    if "gt_bbox" in sample:
        boxes_xyxy = sample["gt_bbox"] * [*scale_xy, *scale_xy] + [*shift_xy, *shift_xy]
        moved["gt_bbox"] = boxes_xyxy.astype(np.float32)
    if sample.get("gt_poly") is not None:
        moved["gt_poly"] = [[part * scale + shift for part in own] for own in sample["gt_poly"]]
    return moved


def joined_objects(parts: Sequence[Sample]) -> Sample:
    """All of `ARRAYS` of several samples, one after the other."""
    return {field: np.concatenate([object_array(s, field) for s in parts]) for field in ARRAYS}


def clip_polygons(polygons: Sequence[np.ndarray], width: float, height: float) -> list[np.ndarray]:
    """The parts of an object's outlines, arrays [K, 2] of x, y, inside [0, width] x [0, height]:
    outer rings as float arrays [K, 2]. Outlines with fewer than three points are left out.
    """
    shapely = require(
        "shapely",
        "cropping objects with polygons",
        extra="polygons",
        advice="or set RandomCrop.is_mask_crop: false to cut the boxes instead",
        error=ConfigError,
    )
    window, pieces = shapely.box(0, 0, width, height), []
    for points in polygons:
        points = np.asarray(points, np.float64).reshape(-1, 2)
        if len(points) < 3:
            continue
        if (points >= 0).all() and (points <= (width, height)).all():
            pieces.append(points)
            continue
        shape = shapely.Polygon(points)
        if not shape.is_valid:  # outlines drawn by hand may cross themselves
            shape = shape.buffer(0)
        clipped = shape.intersection(window)
        for part in getattr(clipped, "geoms", [clipped]):
            if part.geom_type == "Polygon" and part.area > 0:
                pieces.append(np.asarray(part.exterior.coords))
    return pieces
