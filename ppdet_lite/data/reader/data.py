"""The data set of a reader and what is made of it on first use."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.cache.image_cache import CacheSettings, ImageCache
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
        """The image cache, whose expected size is said when it is made."""
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

    def of(self, dataset: Any = None, cached: bool = True) -> "ReaderData":
        """The same for another data set (None: this one) and perhaps without a cache."""
        is_same = dataset is None or dataset is self.given or dataset is vars(self).get("dataset")
        if is_same and (cached or self.cache_settings is None):
            return self
        cache_settings = self.cache_settings if cached else None
        given = vars(self).get("dataset", self.given) if is_same else dataset
        return replace(self, given=given, cache_settings=cache_settings)
