"""Dividing images among splits so that each has its share of every class."""

from __future__ import annotations

from typing import Mapping

import numpy as np

from ppdet_lite.data.sources.dataset import Dataset


def stratified_split(
    counts: np.ndarray, shares: Mapping[str, float], seed: int = 0
) -> dict[str, np.ndarray]:
    """Divides images by iterative stratification (Sechidis et al., ECML 2011).

    The class with the fewest images left is divided first: each of its images goes where most of
    that class is missing. Images without objects count as a class of their own.

    Args:
        counts: objects of every class in every image, [images, C].
        shares: name of a split -> its share of the images; they sum up to 1.
        seed: of the order in which images are looked at.

    Returns:
        Name -> places of its images, ascending; no split is empty where there are enough images.
    """
    names = list(shares)
    labels = np.column_stack([counts > 0, counts.sum(axis=1) == 0])
    share = np.array([shares[name] for name in names])
    missing = share[:, None] * labels.sum(axis=0)  # [splits, C + 1] images still wanted
    room = share * len(labels)
    owner = np.full(len(labels), -1)
    order = np.random.default_rng(seed).permutation(len(labels))
    while (owner < 0).any():
        left = labels[owner < 0].sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, len(labels) + 1)))
        for image in order[(owner[order] < 0) & labels[order, rarest]]:
            best = int(np.lexsort((-room, -missing[:, rarest]))[0])
            owner[image] = best
            missing[best, labels[image]] -= 1
            room[best] -= 1
    _fill_empty(owner, order, share)
    return {name: np.flatnonzero(owner == index) for index, name in enumerate(names)}


def _fill_empty(owner: np.ndarray, order: np.ndarray, share: np.ndarray) -> None:
    """Gives a split without an image one of the largest."""
    for index in np.flatnonzero(share > 0):
        sizes = np.bincount(owner, minlength=len(share))
        if sizes[index] == 0 and sizes.max() > 1:
            owner[order[owner[order] == sizes.argmax()][0]] = index


def class_counts(dataset: Dataset) -> np.ndarray:
    """Number of objects of every class in every image, crowds not counted, int64 [images, C]."""
    counts = np.zeros((len(dataset), len(dataset.class_names)), np.int64)
    for index in range(len(dataset)):
        record = dataset.record(index)
        classes = record["gt_class"][record["is_crowd"] == 0]
        counts[index] += np.bincount(classes, minlength=counts.shape[1])
    return counts
