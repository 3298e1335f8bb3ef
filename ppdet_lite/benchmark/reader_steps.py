"""Where the time of a reader goes, step by step, and which files it decodes.

The functions of a sample's road are exchanged for timed ones while `timed` is active and put back
after it, so that a reader pays nothing for this when it is not asked for.
"""

import contextlib
import time
from collections import Counter
from typing import Callable

from ppdet_lite.data.pixels import image_ops, pixel_source
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.reader import batch as batch_module
from ppdet_lite.data.reader import readers as reader_module
from ppdet_lite.data.reader.plan import Plan
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

_THUMBNAIL = "thumbnail (mean gray of contrast)"


class StepClock:
    """Exclusive seconds by name: what a step hands to another timed step counts for that one.

    Attributes:
        seconds, calls: name -> total, in the order of first use.
        files: paths of the images that the samples need, one entry per use.
    """

    def __init__(self):
        self.seconds, self.calls = Counter(), Counter()
        self.files = []
        self._open = []  # names of the steps that are running now
        self._inner = []  # for each of them: seconds of the timed steps inside it

    def timed(self, function: Callable, name_of: Callable[..., str]) -> Callable:
        """`function`, with its time booked under name_of(*its arguments)."""

        def run(*args, **kwargs):
            name = name_of(*args, **kwargs)
            self._open.append(name)
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - began
                self._open.pop()
                self.seconds[name] += seconds - self._inner.pop()
                self.calls[name] += 1
                if self._inner:
                    self._inner[-1] += seconds

        return run

    def take_files(self) -> list[str]:
        """The files decoded since the last call."""
        files, self.files = self.files, []
        return files

    def _rendering(self, *rest, **more) -> str:
        """A thumbnail is rendered too, but not for the batch."""
        return _THUMBNAIL if _THUMBNAIL in self._open else "render"

    def _decoding(self, data, name: str, *rest, **more) -> str:
        self.files.append(name)
        return "decode (pixels)"


@contextlib.contextmanager
def timed_steps():
    """A `StepClock` that runs for every reader of this process (not its workers) inside `with`."""
    clock = StepClock()
    road = [
        (Plan, "_run_step", lambda plan, step, *rest, **more: type(step).__name__),
        (image_ops, "decode_bytes", clock._decoding),
        (pixel_source, "decode_bytes", clock._decoding),
        (LazyImage, "thumbnail", lambda *rest, **more: _THUMBNAIL),
        (LazyImage, "render", clock._rendering),
        (batch_module.BatchBuilder, "_stack_fields", lambda *rest, **more: "stack (ground truth)"),
        (image_ops.Normalizer, "__call__", lambda *rest, **more: "normalize and layout"),
        (Gt2YoloTarget, "finish", lambda *rest, **more: "Gt2YoloTarget"),
        (reader_module, "finish_batch", lambda *rest, **more: "finish the batch (the rest)"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in road]
    try:
        for owner, name, name_of in road:
            setattr(owner, name, clock.timed(getattr(owner, name), name_of))
        yield clock
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)
