"""Anchors for a data set: figures by hand, known clusters, the seed."""

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.anchors import find_anchors, fit_of, kmeans, object_sizes, refine
from ppdet_lite.data.sources.dataset import Dataset


class Boxes(Dataset):
    """Images of 100 x 200 pixels (height, width) with the given boxes."""

    def __init__(self, *images, crowd=()):
        super().__init__("boxes", ["a"])
        self.images, self.crowd = images, crowd

    def __len__(self):
        return len(self.images)

    def record(self, index):
        boxes = np.reshape(np.float32(self.images[index]), (-1, 4))
        crowd = np.int32([[index in self.crowd]] * len(boxes)).reshape(-1, 1)
        return {"im_file": "x", "h": 100, "w": 200, "gt_bbox": boxes, "is_crowd": crowd}


def test_sizes_in_the_network_input():
    dataset = Boxes([[10, 10, 30, 60]], [], [[0, 0, 200, 100], [5, 5, 5, 9]], [[0, 0, 9, 9]],
                    crowd=(3,))  # fmt: skip
    assert object_sizes(dataset, (400, 400)).tolist() == [[40, 200], [400, 400]]
    assert object_sizes(dataset, (400, 400), keep_ratio=True).tolist() == [[40, 100], [400, 200]]
    with pytest.raises(DataError, match="no object"):
        object_sizes(Boxes([]), (400, 400))
    dataset.record = lambda index: {"gt_bbox": np.ones((1, 4)), "im_file": "a.jpg"}
    with pytest.raises(DataError, match=r"a\.jpg: .*height"):
        object_sizes(dataset, (400, 400))


def test_the_fit_by_hand():
    sizes = np.float64([[10, 10], [20, 20], [10, 40]])
    # best overlaps: 1; 100 / 400 and 400 / 800 -> 0.5; 100 / 400 and 400 / 800 -> 0.5
    fit = fit_of(sizes, np.float64([[10, 10], [20, 40]]), 0.5)
    assert fit.recall == pytest.approx(1 / 3) and fit.mean_iou == pytest.approx(2 / 3)
    assert fit_of(sizes, np.float64([[10, 10], [20, 40]]), 0.49).recall == 1


def clusters(rng, *centers):
    return np.concatenate([rng.normal(center, 0.4, (50, 2)) for center in centers])


def test_kmeans_finds_clusters():
    rng = np.random.default_rng(0)
    sizes = clusters(rng, (10, 14), (60, 30), (200, 260))
    centers = kmeans(sizes, 3, np.random.default_rng(1))
    expected = sizes.reshape(3, 50, 2).mean(axis=1)
    order = np.argsort(centers[:, 0])
    np.testing.assert_allclose(centers[order], expected)
    assert find_anchors(sizes, 3, generations=50).tolist() == [[10, 14], [60, 30], [200, 260]]


def test_refinement_never_fits_worse():
    rng = np.random.default_rng(0)
    sizes = rng.uniform(5, 300, (300, 2))
    start = rng.uniform(5, 300, (6, 2))
    before = fit_of(sizes, start, 0.5)
    refined = refine(sizes, start, 200, np.random.default_rng(0))
    assert fit_of(sizes, refined, 0.5).mean_iou > before.mean_iou + 0.02
    same = refine(sizes, start, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(same, start)


def test_the_threshold_counts():
    """More objects have an anchor, for a smaller mean overlap."""
    sizes = np.random.default_rng(0).uniform(5, 300, (300, 2))
    plain = fit_of(sizes, find_anchors(sizes, 4, generations=300), 0.5)
    found = fit_of(sizes, find_anchors(sizes, 4, threshold=0.5, generations=300), 0.5)
    assert found.recall > plain.recall + 0.01 and found.mean_iou < plain.mean_iou


def test_seed_present_anchors_and_too_few_objects():
    sizes = np.random.default_rng(0).uniform(5, 300, (200, 2))
    first = find_anchors(sizes, 4, seed=3, generations=20)
    np.testing.assert_array_equal(first, find_anchors(sizes, 4, seed=3, generations=20))
    assert first.dtype == np.int64 and (np.diff(first.prod(axis=1)) >= 0).all()
    best = find_anchors(sizes, 4, generations=500)
    again = find_anchors(sizes, 4, generations=0, present=best)
    assert fit_of(sizes, again, 0.5).mean_iou >= fit_of(sizes, best, 0.5).mean_iou
    with pytest.raises(DataError, match="found 1 objects of different sizes, needed: 2"):
        find_anchors(np.ones((9, 2)), 2)
