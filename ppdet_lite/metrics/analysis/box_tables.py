"""Labels and detections of a data set as flat arrays, in the order in which COCO's metric takes
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ppdet_lite.metrics.metric import CocoDict, DetectionMetric

MOST_DETECTIONS = 100
"""Detections of a class in an image that count, the best ones."""


class Labels(NamedTuple):
    """The labeled objects, ordered by image.

    Attributes:
        images: int64 [N], place of the image in the list of images.
        classes: int64 [N], class index.
        boxes_xywh_px: float64 [N, 4].
        areas: float64 [N] in square pixels, for the ranges of sizes.
        is_crowd: bool [N], a region with many objects.
        is_ignored: bool [N], crowds and difficult objects: neither found nor missed.
        rows: int64 [N], place in the list that the table was made from.
    """

    images: np.ndarray
    classes: np.ndarray
    boxes_xywh_px: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray
    is_ignored: np.ndarray
    rows: np.ndarray


class Found(NamedTuple):
    """The detections, ordered by image and from high to low score; see `Labels`."""

    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    boxes_xywh_px: np.ndarray


class Boxes(NamedTuple):
    """Labels and detections of `image_ids`, which are sorted."""

    image_ids: list[int]
    class_names: list[str]
    labels: Labels
    found: Found

    @classmethod
    def of_coco(
        cls,
        truth: CocoDict,
        results: Sequence[dict[str, Any]],
    ) -> Boxes:
        """The tables of COCO annotations, whose categories are the classes in their order, and COCO
        results of these images and categories.
        """
        place_of, class_of = _places(truth)
        count = len(results)
        found = Found(
            np.fromiter((place_of[r["image_id"]] for r in results), np.int64, count),
            np.fromiter((class_of[r["category_id"]] for r in results), np.int64, count),
            np.fromiter((r["score"] for r in results), np.float64, count),
            _boxes(results),
        )
        return cls.of(truth, found)

    @classmethod
    def of_metric(cls, metric: DetectionMetric, truth: CocoDict) -> Boxes:
        """The same of what a metric has collected, and the labels of its data."""
        images = [image for image in truth["images"] if image["id"] in metric.image_ids]
        items = [item for item in truth["annotations"] if item["image_id"] in metric.image_ids]
        truth = {**truth, "images": images, "annotations": items}
        owners, rows = metric.arrays()
        place_of, _ = _places(truth)
        boxes = rows[:, 2:6].astype(np.float64)
        boxes[:, 2:] += metric.bias - boxes[:, :2]
        places = np.fromiter((place_of[owner] for owner in owners.tolist()), np.int64, len(owners))
        scores = rows[:, 1].astype(np.float64)
        return cls.of(truth, Found(places, rows[:, 0].astype(np.int64), scores, boxes))

    @classmethod
    def of(cls, truth: CocoDict, found: Found) -> Boxes:
        """The same of detections in any order."""
        names = [str(category["name"]) for category in truth["categories"]]
        place_of, class_of = _places(truth)
        items = truth["annotations"]
        count = len(items)
        boxes = _boxes(items)
        areas = [item.get("area") for item in items]
        crowd = np.fromiter((bool(a.get("iscrowd")) for a in items), bool, count)
        labels = Labels(
            np.fromiter((place_of[a["image_id"]] for a in items), np.int64, count),
            np.fromiter((class_of[a["category_id"]] for a in items), np.int64, count),
            boxes,
            np.array([b[2] * b[3] if a is None else a for a, b in zip(areas, boxes)], np.float64),
            crowd,
            crowd | np.fromiter((bool(a.get("ignore")) for a in items), bool, count),
            np.arange(count),
        )
        order = np.argsort(labels.images, kind="stable")
        return cls([*place_of], names, Labels(*(each[order] for each in labels)), best_of(found))

    def by_image(self) -> Iterator[tuple[slice, slice]]:
        """The labels and the detections of every image that has some of either, as slices."""
        places = np.arange(len(self.image_ids) + 1)
        labels = np.searchsorted(self.labels.images, places).tolist()
        found = np.searchsorted(self.found.images, places).tolist()
        for image in range(len(self.image_ids)):
            pair = slice(*labels[image : image + 2]), slice(*found[image : image + 2])
            if any(part.stop > part.start for part in pair):
                yield pair

    def overlaps(self, labels: slice, found: slice) -> np.ndarray:
        """IoU [detections, labels]; for a crowd the share of the detection that is inside it."""
        ours, theirs = self.found.boxes_xywh_px[found], self.labels.boxes_xywh_px[labels]
        return overlap_matrix(ours, theirs, self.labels.is_crowd[labels])


def best_of(found: Found) -> Found:
    """The detections that count, in their order."""
    order = np.lexsort((-found.scores, found.classes, found.images))  # stable, as COCO's
    images, classes = found.images[order], found.classes[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (images[1:] != images[:-1]) | (classes[1:] != classes[:-1])
    starts = np.flatnonzero(is_first)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    kept = np.sort(order[rank < MOST_DETECTIONS])
    kept = kept[np.lexsort((-found.scores[kept], found.images[kept]))]
    return Found(*(each[kept] for each in found))


def overlap_matrix(
    found_xywh: np.ndarray, labeled_xywh: np.ndarray, is_crowd: np.ndarray
) -> np.ndarray:
    """IoU of every pair of boxes [M, 4] and [N, 4] with the roundings of pycocotools: [M, N]. For a
    crowd, is_crowd bool [N], the common area over that of the detection.
    """
    x, y, width, height = found_xywh.T[:, :, None]
    left, top, across, down = labeled_xywh.T
    common = np.maximum(np.minimum(x + width, left + across) - np.maximum(x, left), 0)
    common = common * np.maximum(np.minimum(y + height, top + down) - np.maximum(y, top), 0)
    area = width * height
    union = np.where(is_crowd, area, area + across * down - common)
    result: np.ndarray = common / np.where(union > 0, union, 1)
    return result


def _places(truth: CocoDict) -> tuple[dict[int, int], dict[int, int]]:
    """Image id -> its place among the sorted ones; category id -> class index."""
    ids = sorted(int(image["id"]) for image in truth["images"])
    class_of = {category["id"]: index for index, category in enumerate(truth["categories"])}
    return {number: place for place, number in enumerate(ids)}, class_of


def _boxes(items: Sequence[dict[str, Any]]) -> np.ndarray:
    flat = (float(value) for item in items for value in item["bbox"])
    return np.fromiter(flat, np.float64, 4 * len(items)).reshape(-1, 4)
