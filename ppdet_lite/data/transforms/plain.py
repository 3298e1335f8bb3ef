"""Transforms of a user's own that derive from nothing, for instance those of PaddleDetection."""

import random
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform


class PlainTransform(Transform):
    """Renders the image before `entry` gets it, and goes on lazily from what it returns.

    Args:
        entry: called as `entry(sample, context)`, or with its method `apply`.
        whole_batch: it takes the list of the batch's samples.

    Raises:
        ConfigError: `entry` is no transform.
    """

    needs_partner = True

    def __init__(self, entry: Any, whole_batch: bool = False):
        self.entry = entry
        call = entry if callable(entry) else getattr(entry, "apply", None)
        if call is None:
            raise ConfigError(
                f"{type(entry).__name__}: found a class without __call__ and apply, allowed: a "
                "transform, which has one of them"
            )
        self.call = call
        self.whole_batch = whole_batch
        self.switched_by: Optional[str] = getattr(entry, "switched_by", "mixup_epoch")

    @property
    def step_name(self) -> str:
        return type(self.entry).__name__

    def apply(self, sample: Any, context: Context) -> Any:
        samples = sample if self.whole_batch else [sample]
        rendered = [_rendered(one) for one in samples]
        # Draws of `random` and `numpy.random` follow from the sample too: they must not depend on
        # the number of workers.
        seed, states = int(context.rng.integers(2**32)), (random.getstate(), np.random.get_state())
        random.seed(seed)
        np.random.seed(seed)
        try:
            results = self.call(rendered if self.whole_batch else rendered[0], context)
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
        given = samples[0].get("image")
        normalized = isinstance(given, np.ndarray) and given.dtype != np.uint8
        results = results if self.whole_batch else [results]
        results = [_lazy_again(result, normalized, context) for result in results]
        return results if self.whole_batch else results[0]


def _rendered(sample: Sample) -> Sample:
    image = sample.get("image")
    return {**sample, "image": image.render()} if isinstance(image, LazyImage) else sample


def _lazy_again(sample: Sample, normalized: bool, context: Context) -> Sample:
    """The sample with its pixels lazy again; normalized images stay arrays."""
    image = sample.get("image")
    if not isinstance(image, np.ndarray) or (normalized and image.dtype != np.uint8):
        return sample
    if image.dtype != np.uint8:
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return {**sample, "image": LazyImage(np.ascontiguousarray(image), context.clock)}
