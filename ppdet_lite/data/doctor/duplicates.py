"""Images that are there twice: files of one content, and images that look alike."""

import math
from collections import defaultdict
from typing import Sequence

import numpy as np

from ppdet_lite.data.doctor.image_facts import ImageFacts, looks_of

NEAR_BITS = 40
"""Perceptual hashes of 256 bits that differ in so many bits or fewer are those of one image. A copy
that was recompressed, resized or made brighter differs in 0 to 20 bits, one that lost 2 % at every
side in 25 to 50, two photos in 94 or more (measured on photos of COCO and of blood cells)."""

_KEYS = 64
"""Two hashes are compared if one of so many random choices of their bits is equal in both: of pairs
that differ in NEAR_BITS bits 99 % are found, of closer ones all."""

_WINDOW = 32
"""In a choice that too many images share, each is compared with so many of its neighbors in order
of the whole hash."""


def equal_files(facts: Sequence[ImageFacts]) -> list[list[int]]:
    """Places of the files of one content, groups of at least two."""
    groups = defaultdict(list)
    for place, fact in enumerate(facts):
        if fact.digest:
            groups[fact.digest].append(place)
    return [group for group in groups.values() if len(group) > 1]


def near_images(facts: Sequence[ImageFacts], most_bits: int = NEAR_BITS) -> list[tuple[int, int]]:
    """Pairs of places of images that look alike, the lower first, in order. Time and memory grow
    with the number of images, not with its square.
    """
    looks, places = looks_of(facts)
    if len(looks) < 2:
        return []
    bits = np.unpackbits(looks, axis=1)
    rng = np.random.default_rng(0)
    width = max(16, math.ceil(math.log2(len(looks))))
    order = np.lexsort(looks.T)  # neighbors in crowded keys are alike
    pairs = np.zeros((0, 2), np.int64)
    for _ in range(_KEYS):
        chosen = rng.choice(bits.shape[1], width, replace=False)
        keys = bits[order][:, chosen] @ (1 << np.arange(width, dtype=np.int64))
        rows = order[_candidates(keys)]
        differing = np.unpackbits(looks[rows[:, 0]] ^ looks[rows[:, 1]], axis=1).sum(axis=1)
        near = np.sort(rows[differing <= most_bits], axis=1)
        pairs = np.unique(np.concatenate([pairs, near]), axis=0)
    return [(int(a), int(b)) for a, b in places[pairs]]


def _candidates(keys: np.ndarray) -> np.ndarray:
    """Pairs [P, 2] of places with equal keys, at most _WINDOW later ones for each place."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    found = []
    for step in range(1, min(_WINDOW, len(keys) - 1) + 1):
        first = np.flatnonzero(ordered[step:] == ordered[:-step])
        if not len(first):
            break
        found.append(np.stack([order[first], order[first + step]], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def clusters(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The places that pairs connect, directly or by way of others; sorted."""
    root: dict[int, int] = {}

    def find(place: int) -> int:
        while root.setdefault(place, place) != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    groups = defaultdict(list)
    for place in sorted(root):
        groups[find(place)].append(place)
    return sorted(groups.values())
