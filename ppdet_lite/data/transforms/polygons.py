"""Cutting object outlines to a rectangle."""

from typing import Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError, require


def clip_polygons(polygons: Sequence[np.ndarray], width: float, height: float) -> list[np.ndarray]:
    """The parts of an object's outlines, arrays [K, 2] of x, y, inside [0, width] x [0, height]:
    outer rings as float arrays [K, 2]. Outlines with fewer than three points are left out.
    """
    shapely = require(
        "shapely",
        "cropping objects with polygons",
        extra="shapely",
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


def bounds_of(polygons: Sequence[np.ndarray]) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 around all points of the outlines."""
    points = np.concatenate(polygons)
    return (*points.min(axis=0), *points.max(axis=0))
