"""The limit on the images that a server works on."""

import contextlib
import math
from typing import Callable, Iterator

from ppdet_lite.serve.refused import Refused

_WEIGHT = 0.1
"""Of the last run in the average of seconds per image."""


class Admission:
    """Counts the images that were taken and not yet answered; used in the event loop only.

    Args:
        limit: the largest number of images.
        on_change: called with the number after every change.
    """

    def __init__(self, limit: int, on_change: Callable[[int], None] = lambda images: None):
        self.limit, self._on_change = limit, on_change
        self.images = 0
        self._seconds_per_image = 0.1

    def note_run(self, images: int, seconds: float) -> None:
        """A run of the network, for the time that is given to those who are refused."""
        self._seconds_per_image += _WEIGHT * (seconds / images - self._seconds_per_image)

    @contextlib.contextmanager
    def take(self, images: int) -> Iterator[None]:
        """Context in which so many more images are worked on.

        Raises:
            Refused: 429 with Retry-After, the seconds that those before are expected to take.
        """
        if self.images + images > self.limit:
            seconds = max(1, math.ceil(self.images * self._seconds_per_image))
            raise Refused(
                429,
                f"{self.images} images are waiting, allowed: {self.limit}; try again in "
                f"{seconds} s",
                {"Retry-After": str(seconds)},
            )
        self._add(images)
        try:
            yield
        finally:
            self._add(-images)

    def _add(self, images: int) -> None:
        self.images += images
        self._on_change(self.images)
