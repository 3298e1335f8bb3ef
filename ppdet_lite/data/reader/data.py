"""The data set of a reader, and what the reader finds in it."""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.cache.image_cache import CacheSettings, ImageCache
from ppdet_lite.data.reader.collate import RawBatch
from ppdet_lite.data.reader.order import with_copies
from ppdet_lite.data.sources.dataset import Dataset, as_dataset

logger = logging.getLogger("ppdet_lite.reader")


@dataclass(frozen=True)
class ReaderData:
    """A data set with its image cache and the samples that take part.

    Attributes:
        given: a data set, or a function that makes it.
        reader, section: class of the reader and section of its data set, for messages.
        drop_empty: leave out samples without objects.
    """

    given: Any
    reader: str
    section: str
    cache_settings: Optional[CacheSettings] = None
    drop_empty: bool = False

    @cached_property
    def dataset(self) -> Dataset:
        """The data set; a DataError where there is none."""
        if self.given is None:
            raise DataError(f"{self.reader} has no data set; set {self.section} in the config")
        is_function = callable(self.given) and not hasattr(self.given, "record")
        return as_dataset(self.given() if is_function else self.given)

    @cached_property
    def cache(self) -> Optional[ImageCache]:
        """The image cache; its expected size is logged."""
        if self.cache_settings is None:
            return None
        return ImageCache(self.cache_settings, self.dataset, logger.info, f"{self.reader}.cache")

    @cached_property
    def indices(self) -> np.ndarray:
        """The samples that take part."""
        count = len(self.dataset)
        if not self.drop_empty:
            return np.arange(count)
        indices = np.flatnonzero([len(self.dataset.record(i)["gt_bbox"]) for i in range(count)])
        text = "drop_empty: %d of %d images have no objects and are left out"
        logger.info(text, count - len(indices), count)
        return indices

    @cached_property
    def factors(self) -> Optional[np.ndarray]:
        """Times that each of `indices` comes per epoch on average; None: once.

        Raises:
            DataError: the data set gives other numbers than one of 0 or more for each sample.
        """
        factors = self.dataset.repeat_factors()
        if factors is None:
            return None
        factors = np.asarray(factors, np.float64)
        if factors.shape != (len(self.dataset),) or not (factors >= 0).all():
            raise DataError(
                f"{self.section}: repeat_factors: found an array of {list(factors.shape)}, "
                f"allowed: {len(self.dataset)} numbers of 0 or more"
            )
        own: np.ndarray = factors[self.indices]
        return own

    def samples(self, seed: int, epoch: int) -> np.ndarray:
        """The samples of an epoch of training, with copies where the data set is balanced: sample s
        is record s modulo the length of the data set.
        """
        if self.factors is None:
            return self.indices
        return with_copies(self.indices, self.factors, len(self.dataset), seed, epoch)

    def of(self, dataset: Any = None, cached: bool = True) -> "ReaderData":
        """The same for another data set (None: this one) and perhaps without a cache."""
        is_same = dataset is None or dataset is self.given or dataset is vars(self).get("dataset")
        if is_same and (cached or self.cache_settings is None):
            return self
        given = vars(self).get("dataset", self.given) if is_same else dataset
        return replace(self, given=given, cache_settings=self.cache_settings if cached else None)


class Report:
    """Notes (with counts) and unreadable images (with reasons) of one reader, of which a share of
    `max_bad_fraction` is allowed. Each is logged once.
    """

    def __init__(self, max_bad_fraction: float):
        self.max_bad_fraction = max_bad_fraction
        self.notes: Counter[str] = Counter()
        self.unreadable: dict[str, str] = {}
        self._said: set[str] = set()

    def add(self, raw: RawBatch, images: int) -> None:
        """Counts and logs the findings of a batch of a data set of so many `images`; a DataError
        where too many are unreadable.
        """
        for text, count in raw.notes.items():
            kind = text.partition(" (first: ")[0]  # notes of one kind may name different files
            self.say_once(f"{text} ({count} in this batch; further ones are only counted)", kind)
            self.notes[kind] += count
        for path, reason in raw.unreadable.items():
            if path not in self.unreadable:
                self.unreadable[path] = reason
                logger.warning("skipped: %s (%d so far)", reason, len(self.unreadable))
        if len(self.unreadable) > self.max_bad_fraction * images:
            some = "; ".join(list(self.unreadable.values())[:5])
            raise DataError(
                f"{len(self.unreadable)} of {images} images cannot be read, more than "
                f"max_bad_fraction {self.max_bad_fraction:g} allows: {some}"
            )

    def say_once(self, text: str, key: str = "") -> None:
        """Warns with a line, unless one of this `key` (the text itself without) has been logged."""
        if (key or text) not in self._said:
            self._said.add(key or text)
            logger.warning("%s", text)

    def say_totals(self) -> None:
        """Logs the counts at the end of the first epoch that has a finding."""
        for text, count in self.notes.items():
            if f"total: {text}" not in self._said:
                self._said.add(f"total: {text}")
                logger.info("%s: %d by the end of this epoch", text, count)
