"""The time of a reader step by step, and the files that it decodes."""

import contextlib
import time
from collections import Counter, defaultdict
from typing import Callable, Iterator

_LABELS = {
    "decode": "decode (pixels)",
    "thumbnail": "thumbnail (mean gray of contrast)",
    "stack": "stack (ground truth)",
    "normalize": "normalize and layout",
    "finish": "finish the batch (the rest)",
}


class StepClock:
    """Exclusive seconds by name: what a step hands to another timed step counts for that one.

    The `clock` of a reader (see `data.pixels.clock`) without workers.

    Attributes:
        seconds, calls: name -> total, in the order of first use.
        files: paths of the images that the samples need, one entry per use.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.files: list[str] = []
        self._inner: list[float] = []  # for each running step: seconds of the steps inside it

    @contextlib.contextmanager
    def __call__(self, step: str, path: str = "") -> Iterator[None]:
        """Books the time inside `with` under the name of a step."""
        if step == "batch":  # all of it is named more precisely
            yield
            return
        if step == "decode":
            self.files.append(path)
        name = _LABELS.get(step, step)
        self._inner.append(0.0)
        began = self._now()
        try:
            yield
        finally:
            seconds = self._now() - began
            self.seconds[name] += seconds - self._inner.pop()
            self.calls[name] += 1
            if self._inner:
                self._inner[-1] += seconds

    def take_files(self) -> list[str]:
        """The files decoded since the last call."""
        files, self.files = self.files, []
        return files
