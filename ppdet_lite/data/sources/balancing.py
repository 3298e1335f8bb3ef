"""Repeat factors of images, so that rare classes are seen more often (LVIS, arXiv:1908.03195)."""

import numpy as np


def repeat_factors(
    images: np.ndarray, classes: np.ndarray, count: int, threshold: float
) -> np.ndarray:
    """Times that each image is to come per epoch on average, float64 [count], 1 or more.

    A class that a share f of the images has gets max(1, sqrt(threshold / f)), and an image the
    largest factor of its classes.

    Args:
        images: row of the image of each object [N].
        classes: class index of each object [N].
        count: images, those without objects included.
        threshold: share of the images below which a class is repeated.
    """
    factors = np.ones(count)
    if not len(images):
        return factors
    pairs = np.unique(np.stack([images, classes]), axis=1)
    shares = np.bincount(pairs[1]) / count
    by_class = np.sqrt(threshold / np.maximum(shares, 1 / count)).clip(min=1)
    np.maximum.at(factors, pairs[0], by_class[pairs[1]])
    return factors
