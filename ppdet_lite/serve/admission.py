"""The limits on what a server works on at once."""

import asyncio
import contextlib
import math
from typing import AsyncIterator, Callable, Iterator

from ppdet_lite.serve.refused import Refused

_WEIGHT = 0.1
"""Of the last run in the average of seconds per image."""


class Admission:
    """Counts the images that were taken and not yet answered, and the bytes of their requests; used
    in the event loop only.

    Args:
        limit, limit_bytes: the largest numbers of both.
        on_change: called with the number of images after every change.
    """

    def __init__(
        self,
        limit: int,
        limit_bytes: int,
        on_change: Callable[[int], None] = lambda images: None,
    ):
        self.limit, self.limit_bytes, self._on_change = limit, limit_bytes, on_change
        self.images = self.bytes = 0
        self._seconds_per_image = 0.1

    def note_run(self, images: int, seconds: float) -> None:
        """A run of the network, for the time that is given to those who are refused."""
        self._seconds_per_image += _WEIGHT * (seconds / images - self._seconds_per_image)

    @contextlib.contextmanager
    def take(self, images: int, size: int = 0, taken: int = 0) -> Iterator[None]:
        """Context in which so many more images, of `size` bytes, are worked on; `taken` others of
        the same request are already.

        Raises:
            Refused: 429 with Retry-After, the seconds that those before are expected to take.
        """
        seconds = max(1, math.ceil(self.images * self._seconds_per_image))
        found = ""
        if self.images + images > self.limit:
            sent = f"this request has {images + taken}"
            found = f"{self.images - taken} images are waiting and {sent}, allowed: {self.limit}"
        elif self.bytes + size > self.limit_bytes:
            sent = f"this request may have {size}"
            found = f"{self.bytes} bytes are waiting and {sent}, allowed: {self.limit_bytes}"
        if found:
            headers = {"Retry-After": str(seconds)}
            raise Refused(429, f"{found}; try again in {seconds} s", headers)
        self._add(images, size)
        try:
            yield
        finally:
            self._add(-images, -size)

    def _add(self, images: int, size: int) -> None:
        self.images += images
        self.bytes += size
        self._on_change(self.images)


class Places:
    """Places for decoded images, which requests take in their order; made and used in the event
    loop."""

    def __init__(self, count: int):
        self._free = count
        self._turn, self._changed = asyncio.Lock(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        """Context with so many places; waits for them, and for those who came before."""
        async with self._turn:
            while self._free < count:
                self._changed.clear()
                await self._changed.wait()
            self._free -= count
        try:
            yield
        finally:
            self._free += count
            self._changed.set()
