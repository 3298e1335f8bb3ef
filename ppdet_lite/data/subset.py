"""A part of a COCO data set that is like the whole, as COCO minitrain is.

The images are drawn at random and then exchanged, one by one, where that brings the number of
objects of each class and size closer to its share of the whole.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.files import read_text

SIZES = ("small", "medium", "large")
AREA_BOUNDS = (32.0**2, 96.0**2)
"""COCO's sizes of objects: areas in pixels of the annotation, up to 32 x 32 and up to 96 x 96."""

EXCHANGES, PARTNERS = 20_000, 64
"""Images that are looked at to be exchanged, and others that each is compared with."""


class CocoSet(NamedTuple):
    """A COCO annotation file and what is counted in it.

    Attributes:
        content: the file.
        class_names: in the order of its categories.
        counts: [N, C, 3] objects of each image, class and size; crowds do not count.
    """

    content: dict[str, Any]
    class_names: list[str]
    counts: np.ndarray


class Statistics(NamedTuple):
    """The objects of some images: their numbers [C, 3] by class and size."""

    images: int
    objects: np.ndarray

    @property
    def per_image(self) -> float:
        return float(self.objects.sum()) / max(self.images, 1)

    @property
    def size_shares(self) -> np.ndarray:
        """[3], of all objects."""
        return np.asarray(self.objects.sum(axis=0) / max(self.objects.sum(), 1))

    @property
    def class_shares(self) -> np.ndarray:
        """[C], of all objects."""
        return np.asarray(self.objects.sum(axis=1) / max(self.objects.sum(), 1))


def read_set(path: Path) -> CocoSet:
    """Reads an annotation file; a DataError if it is none that could be trained with."""
    categories = read_coco(path, use_polygons=False).categories
    content = json.loads(read_text(path))
    classes = {category["id"]: index for index, category in enumerate(categories)}
    rows = {image["id"]: index for index, image in enumerate(content["images"])}
    counts = np.zeros((len(rows), len(classes), len(SIZES)), np.float32)
    for item in content["annotations"]:
        if item.get("iscrowd") or item["category_id"] not in classes:
            continue
        area = item.get("area") or item["bbox"][2] * item["bbox"][3]
        size = int(np.searchsorted(AREA_BOUNDS, area))
        counts[rows[item["image_id"]], classes[item["category_id"]], size] += 1
    return CocoSet(content, [category["name"] for category in categories], counts)


def choose_images(counts: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Places of `number` images [number], rising, whose objects follow those of all.

    The measure is chi-square, (found - expected)^2 / expected, summed over every size of every
    class, the classes, the sizes, and all objects.

    Args:
        counts: [N, C, 3] objects of each image by class and size.
        seed: another one gives other images.
    """
    sums = [counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))[:, None]]
    counts = np.concatenate([counts.reshape(len(counts), -1), *sums], axis=1)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(counts))
    chosen, others = order[:number].copy(), order[number:].copy()
    if not len(others) or not number:
        return np.sort(chosen)
    expected = counts.sum(axis=0, dtype=np.float64) * (number / len(counts))
    weights = 1.0 / np.maximum(expected, 1.0)
    excess = counts[chosen].sum(axis=0, dtype=np.float64) - expected
    cost = float((excess**2 * weights).sum())
    for _ in range(EXCHANGES):
        place = rng.integers(len(chosen))
        partners = rng.integers(len(others), size=PARTNERS)
        found = excess - counts[chosen[place]] + counts[others[partners]]
        costs = (found**2) @ weights
        best = int(costs.argmin())
        if costs[best] < cost:
            cost, excess = float(costs[best]), found[best]
            partner = partners[best]
            chosen[place], others[partner] = others[partner], chosen[place]
    return np.sort(chosen)


def subset(
    whole: CocoSet, number: int, seed: int = 0, keep_empty: bool = False
) -> tuple[dict[str, Any], Statistics, Statistics]:
    """The content of a COCO file with `number` of the images, and the statistics of the images that
    were drawn from and of those chosen. `keep_empty` draws from images without objects, too.

    Raises:
        ConfigError: a `number` of `images` that the file does not have.
        DataError: it has none to draw from.
    """
    counts = whole.counts
    allowed = np.arange(len(counts)) if keep_empty else np.flatnonzero(counts.any(axis=(1, 2)))
    if not len(allowed):
        what = "images" if not len(counts) else "objects"
        raise DataError(f"found no {what} in the annotations, allowed: 1 or more")
    if not 1 <= number <= len(allowed):
        what = "images" if keep_empty else "images with objects"
        raise ConfigError(f"`images`: found {number}, allowed: 1 to {len(allowed)}, the {what}")
    chosen = allowed[choose_images(counts[allowed], number, seed)]
    images = [whole.content["images"][index] for index in chosen]
    ids = {image["id"] for image in images}
    annotations = [item for item in whole.content["annotations"] if item["image_id"] in ids]
    content = {**whole.content, "images": images, "annotations": annotations}
    return content, _statistics(whole, allowed), _statistics(whole, chosen)


def _statistics(whole: CocoSet, rows: np.ndarray) -> Statistics:
    return Statistics(len(rows), whole.counts[rows].sum(axis=0, dtype=np.float64))
