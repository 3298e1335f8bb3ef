"""Polygons cut to a window."""

import numpy as np

from ppdet_lite.data.transforms.polygons import bounds_of, clip_polygons


def test_polygon_clipping():
    square = np.array([[-10, -10], [10, -10], [10, 10], [-10, 10]])
    (piece,) = clip_polygons([square], 5, 20)
    np.testing.assert_allclose(bounds_of([piece]), [0, 0, 5, 10])
    comb = np.array([[0, -5], [2, 5], [4, -5], [6, 5], [8, -5], [8, 8], [0, 8]])
    assert len(clip_polygons([np.array([[0, 3], [1, -9], [2, 3], [3, -9], [4, 3]])], 9, 9)) >= 1
    assert bounds_of(clip_polygons([comb], 8, 20))[3] == 8
    bow_tie = np.array([[-4, 0], [8, 8], [8, 0], [-4, 8]])  # crosses itself
    assert clip_polygons([bow_tie], 20, 20)
    assert clip_polygons([square - 100], 5, 5) == []
    assert clip_polygons([square[:2]], 5, 5) == []
