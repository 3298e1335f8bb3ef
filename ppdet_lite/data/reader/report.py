"""Findings of a reader about the data; each is logged once and counted."""

import logging
from collections import Counter

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.reader.collate import RawBatch

logger = logging.getLogger("ppdet_lite.reader")


class Report:
    """Notes (with counts) and unreadable images (with reasons) of one reader, of which a share of
    `max_bad_fraction` is allowed.
    """

    def __init__(self, max_bad_fraction: float):
        self.max_bad_fraction = max_bad_fraction
        self.notes: Counter[str] = Counter()
        self.unreadable: dict[str, str] = {}
        self._said: set[str] = set()
        self._totalled: set[str] = set()

    def add(self, raw: RawBatch, images: int) -> None:
        """Counts and says what a batch of a data set of so many `images` reports; a DataError where
        too many are unreadable.
        """
        for text, count in raw.notes.items():
            if text not in self.notes:
                logger.warning("%s (%d in this batch; further ones are only counted)", text, count)
            self.notes[text] += count
        for path, reason in raw.unreadable.items():
            if path not in self.unreadable:
                self.unreadable[path] = reason
                logger.warning("skipped: %s (%d so far)", reason, len(self.unreadable))
        if len(self.unreadable) > self.max_bad_fraction * images:
            some = "\n  ".join(list(self.unreadable.values())[:5])
            raise DataError(
                f"{len(self.unreadable)} of {images} images cannot be read, more than "
                f"max_bad_fraction {self.max_bad_fraction:g} allows:\n  {some}"
            )

    def say_once(self, text: str) -> None:
        """Warns with a line that has not been said before."""
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)

    def say_totals(self) -> None:
        """At the end of the first epoch with something to tell: how often it has happened."""
        for text, count in self.notes.items():
            if text not in self._totalled:
                self._totalled.add(text)
                logger.info("%s: %d by the end of this epoch", text, count)
