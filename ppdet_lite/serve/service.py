"""Images in, detections out, for any number of requests at once."""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread
from typing import Callable, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.core.errors import ImageError, UserError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import Arrays
from ppdet_lite.serve.admission import Admission, Places
from ppdet_lite.serve.batcher import Batcher, Found
from ppdet_lite.serve.bodies import SentImage
from ppdet_lite.serve.metrics import Metrics
from ppdet_lite.serve.refused import Refused
from ppdet_lite.serve.settings import ServeSettings
from ppdet_lite.utils.opencv_log import silence_opencv

GRAY = np.full((480, 640, 3), 128, np.uint8)
"""An image for tries."""

RUNS_AHEAD = 4
"""Runs of the network for which images may be decoded."""


@dataclass(frozen=True)
class Detected:
    """An image with its detections.

    Attributes:
        name: of the file.
        size_hw: of the upright image.
        rows: [M, 6] class, score, x1, y1, x2, y2 in its pixels.
        decode_s, queue_s, network_s: seconds of decoding and resizing, of waiting for the network,
            and of the run with `batch` images.
    """

    name: str
    size_hw: tuple[int, int]
    rows: np.ndarray
    decode_s: float
    queue_s: float
    network_s: float
    batch: int


class _Decoded(NamedTuple):
    size_hw: tuple[int, int]
    sample: Arrays
    seconds: float


class Service:
    """A detector that is shared by requests.

    Args:
        open_detector: opens the detector; `start` calls it in a thread, as it may take minutes.
        on_error: called in that thread if it raised, after `error` was set.

    Attributes:
        metrics, admission: figures, and the limit on images.
        error: raised by `open_detector`; None for none.
    """

    def __init__(
        self,
        settings: ServeSettings,
        open_detector: Callable[[], Detector],
        on_error: Callable[[], None] = lambda: None,
    ):
        self.settings, self._open, self._on_error = settings, open_detector, on_error
        self.metrics = Metrics()
        self.admission = Admission(
            settings.max_queue, settings.max_queue_bytes, self.metrics.queue.set
        )
        self._places: Optional[Places] = None
        self.error: Optional[BaseException] = None
        self._detector: Optional[Detector] = None
        self._images = 0
        self._batcher: Optional[Batcher] = None
        self._pool = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._thread = Thread(target=self._load, name="load", daemon=True)

    def start(self) -> None:
        """Begins to load the model; called in the event loop."""
        # Decoded images take more memory than files: few wait for the network beside those in it.
        ahead = max(RUNS_AHEAD * self.settings.max_batch, self.settings.max_images)
        self._places = Places(ahead)
        cv2.setNumThreads(1)  # several images are decoded at once
        silence_opencv()  # anybody may send damaged files
        self._thread.start()

    def wait(self) -> None:
        """Waits until the model is loaded, or has failed to."""
        self._thread.join()

    @property
    def detector(self) -> Detector:
        """The detector; a `Refused` with 503 while it is being loaded."""
        if self._detector is None:
            raise Refused(503, "the model is being loaded", {"Retry-After": "1"})
        return self._detector

    @property
    def is_healthy(self) -> bool:
        """False if it can answer no more, and has to be started again."""
        return self.error is None and (self._batcher is None or self._batcher.is_alive)

    @property
    def max_batch(self) -> int:
        """The largest number of images of a run."""
        return self.detector.fixed_batch or self.settings.max_batch

    async def detect(self, images: Sequence[SentImage]) -> list[Detected]:
        """Detections of all images of a request.

        Raises:
            Refused: 422 names the images that cannot be decoded, 503 where the network cannot be
                run, 504 after `max_seconds`.
        """
        work = self._detect_all(images)
        try:
            return await asyncio.wait_for(work, self.settings.max_seconds)
        except asyncio.TimeoutError:
            limit = f"{self.settings.max_seconds:g} s"
            raise Refused(504, f"no result in {limit}", {"Retry-After": "1"}) from None

    async def in_pool(self, work: Callable, *arguments: object) -> bytes:
        """The result of work on pixels, done in one of the threads for it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def close(self) -> None:
        """Finishes what was taken and closes the detector."""
        self.wait()
        if self._batcher is not None:
            self._batcher.close()
        if self._detector is not None:
            self._detector.close()
            print(f"stopped after {self._images} images", file=sys.stderr, flush=True)
        self._pool.shutdown()

    def _load(self) -> None:
        try:
            detector = self._open()
            detector.predict([GRAY])  # the first run prepares kernels and memory
        except BaseException as error:
            self.error = error
            self._on_error()
            return
        size = detector.fixed_batch or self.settings.max_batch
        wait_s = self.settings.max_wait_ms / 1000
        self._batcher = Batcher(detector.run, size, wait_s, self._note_run, self._check_engine)
        self._detector = detector

    def _check_engine(self, error: Exception) -> None:
        """Logs an error of the engine, and ends the server where the network cannot run any image
        any more, as after its process was killed."""
        if self.error is not None:
            return
        try:
            self.detector.predict([GRAY])
        except Exception:
            self.error = error
            self._on_error()
            return
        if isinstance(error, UserError):
            print(f"warning: {error}", file=sys.stderr, flush=True)

    def _note_run(self, images: int, seconds: float) -> None:
        self.admission.note_run(images, seconds)
        self.metrics.batches.observe(images)

    async def _detect_all(self, images: Sequence[SentImage]) -> list[Detected]:
        if self._batcher is None or self._places is None:
            raise Refused(503, "the model is being loaded", {"Retry-After": "1"})
        async with self._places.take(len(images)):
            return await self._detect_now(images, self._batcher)

    async def _detect_now(self, images: Sequence[SentImage], batcher: Batcher) -> list[Detected]:
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._pool, self._decode, image) for image in images]
        # All of them are decoded before one is run, as one bad image refuses its whole request.
        decoded = await asyncio.gather(*jobs, return_exceptions=True)
        for one in decoded:
            if isinstance(one, BaseException) and not isinstance(one, ImageError):
                raise one
        if bad := [str(one) for one in decoded if isinstance(one, ImageError)]:
            raise Refused(422, "; ".join(bad))
        good = [one for one in decoded if isinstance(one, _Decoded)]
        try:
            runs = [batcher.submit(one.sample) for one in good]
        except UserError as error:  # it is stopping
            raise Refused(503, str(error), {"Retry-After": "1"}) from None
        try:
            found = await asyncio.gather(*map(asyncio.wrap_future, runs))
        except UserError:  # see `_check_engine`
            text = "the network cannot be run; the log of the server tells more"
            raise Refused(503, text, {"Retry-After": "1"}) from None
        return [self._detected(*row) for row in zip(images, good, found)]

    def _decode(self, image: SentImage) -> _Decoded:
        start = time.perf_counter()
        pixels = decode_image(image.content, self.settings.max_pixels, image.name)
        sample = self.detector.preprocess(pixels)
        seconds = time.perf_counter() - start
        height, width = pixels.shape[:2]
        return _Decoded((height, width), sample, seconds)

    def _detected(self, image: SentImage, one: _Decoded, found: Found) -> Detected:
        times = (one.seconds, found.queue_s, found.network_s)
        for stage, seconds in zip(("decode", "queue", "network"), times):
            self.metrics.stages.labels(stage).observe(seconds)
        self.metrics.images.inc()
        self._images += 1
        return Detected(image.name, one.size_hw, found.rows, *times, found.batch)
