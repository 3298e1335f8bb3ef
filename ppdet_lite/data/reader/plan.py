"""A reader's transform lists, sorted into who does what.

The entries run in the order of the YAML. Those that derive from `Transform` only describe what
happens to the image; some wait for the whole batch (see `Transform.defers_to_batch`). Any other
entry becomes a `PlainTransform`; what can no longer wait then, because such an entry comes later,
is done on the spot.
"""

import functools
import random
from typing import Any, Callable, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, ImageSizes, Transform

Partner = Callable[[int], Sample]
"""Makes another sample with the first n steps of a list."""

_OPPOSITE = {"fractions": "pixels", "centers": "corners", "targets": "padded"}


class Plan:
    """See the module.

    Attributes:
        entries: all of them, in their order.
        sample_steps, batch_steps: the work for a sample and for a batch.
        deferred: what is left for the finished batch.
        normalizer: for the uint8 pixels of the finished batch.
        sizes: of the images in a batch; None when the lists do not fix them.
        pads_objects: all images of a batch have the same number of objects.
        rendered_by: names of the entries that make images be rendered early.

    Raises:
        ConfigError: an entry cannot work on what the one before it makes.
    """

    def __init__(
        self, sample_transforms: Sequence[Any], batch_transforms: Sequence[Any], reader: str = ""
    ):
        count = len(sample_transforms)
        self.entries: list[Transform] = [
            entry if isinstance(entry, Transform) else PlainTransform(entry, index >= count)
            for index, entry in enumerate([*sample_transforms, *batch_transforms])
        ]
        self._keys: dict[int, str] = {}  # id of an entry -> where it stands, for messages
        for index, entry in enumerate(self.entries):
            group, place = ("sample", index) if index < count else ("batch", index - count)
            self._keys[id(entry)] = f"{group}_transforms.{place}.{entry.step_name}"
        self._reader = reader
        plain = [i for i, entry in enumerate(self.entries) if isinstance(entry, PlainTransform)]
        self.rendered_by = [self.entries[index].step_name for index in plain]
        self.sample_steps: list[Transform] = []
        self.batch_steps: list[Transform] = []
        self.deferred: list[Transform] = []
        for index, entry in enumerate(self.entries):
            waits = not plain or index > plain[-1]
            if waits and entry.defers_to_batch(self.entries[index + 1 :]):
                self.deferred.append(entry)
            else:
                (self.sample_steps if index < count else self.batch_steps).append(entry)
        self.normalizer = Normalizer.identity()
        for entry in self.deferred:
            self.normalizer = entry.normalizer or self.normalizer
        self.permuted_early = any(e.channels_first for e in self.sample_steps + self.batch_steps)
        self.pads_objects = any(entry.pads_objects for entry in self.entries)
        self.sizes = self._final_sizes()
        self._check_order()

    def _check_order(self) -> None:
        """Refuses an entry in the wrong list, or one that works on another form of boxes than the
        entries before it leave.
        """
        for entry in self.sample_steps:
            if entry.whole_batch:
                key = self._keys[id(entry)]
                raise ConfigError(f"{key}: found in sample_transforms, allowed: batch_transforms")
        for entry in self.batch_steps:
            if entry.switched_by and not entry.whole_batch:
                key = self._keys[id(entry)]
                raise ConfigError(f"{key}: found in batch_transforms, allowed: sample_transforms")
        form, by = {"pixels", "corners"}, "at first"
        for entry in self.entries:
            if lacking := [word for word in entry.takes_boxes if word not in form]:
                found = ", ".join(sorted(form))
                raise ConfigError(
                    f"{self._keys[id(entry)]}: found boxes that are {found} ({by}), allowed: boxes "
                    f"that are {' and '.join(lacking)}; change the order or add the step that "
                    "makes them so (NormalizeBox, PadBox, BboxXYXY2XYWH)"
                )
            if entry.makes_boxes:
                form -= {_OPPOSITE.get(entry.makes_boxes, "")}
                form, by = form | {entry.makes_boxes}, f"after {entry.step_name}"

    def _final_sizes(self) -> Optional[ImageSizes]:
        """The sizes of images after all entries, with the list's name in front of `set_by`."""
        sizes = None
        for entry in self.entries:
            before, key = sizes, self._keys[id(entry)]
            try:
                sizes = entry.output_sizes(before)
            except ConfigError as error:
                raise ConfigError([f"{key}.{problem}" for problem in error.problems]) from error
            if sizes is not None and sizes is not before:
                sizes = sizes._replace(set_by=f"{key.partition('.')[0]}.{sizes.set_by}")
        return sizes

    def has_switch(self, setting: str) -> bool:
        """True if a transform gets partners by this setting, see `Transform.switched_by`."""
        return any(step.switched_by == setting for step in self.sample_steps)

    def largest_pixels(self) -> Optional[int]:
        """Pixels of the largest image in a batch, None when the lists do not fix it."""
        return max(self.sizes.areas) if self.sizes else None

    def run_sample(
        self,
        sample: Sample,
        context: Context,
        steps: Sequence[Transform],
        make_partner: Optional[Partner] = None,
        mixing: frozenset[str] = frozenset(),
    ) -> Sample:
        """Runs `steps` on one sample; while one of the settings `mixing` is on, its transforms get
        partners.
        """
        for number, step in enumerate(steps):
            context.partner = None
            is_on = step.switched_by is None or step.switched_by in mixing
            if make_partner is not None and step.needs_partner and is_on:
                context.partner = functools.partial(make_partner, number)
            sample = self._run(step, sample, context)
        return sample

    def run_batch(self, samples: list[Sample], context: Context) -> list[Sample]:
        """Runs the batch steps on a list of samples."""
        for step in self.batch_steps:
            if step.whole_batch:
                samples = self._run(step, samples, context)
            else:
                samples = [self._run(step, sample, context) for sample in samples]
        return samples

    def _run(self, step: Transform, samples: Any, context: Context) -> Any:
        """One step on a sample or a list of samples; failures name the step and the files."""
        is_one = isinstance(samples, dict)
        try:
            with context.clock(step.step_name, str(samples.get("im_file", "")) if is_one else ""):
                return step(samples, context)
        except ConfigError as error:
            key = f"{self._reader}.{self._keys[id(step)]}".lstrip(".")
            raise ConfigError([f"{key}: {problem}" for problem in error.problems]) from error
        except UserError:
            raise
        except Exception as error:
            names = [str(one.get("im_file", "?")) for one in ([samples] if is_one else samples)]
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            key = f"{self._reader}.{self._keys[id(step)]}".lstrip(".")
            raise RuntimeError(f"{key} failed on {', '.join(names[:4])}{more}") from error


class PlainTransform(Transform):
    """A transform that derives from nothing, for instance one of PaddleDetection: it gets the image
    rendered, and what it returns is lazy again.

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
        given = samples[0].get("image")
        normalized = isinstance(given, np.ndarray) and given.dtype != np.uint8
        rendered = [
            {**one, "image": one["image"].render()}
            if isinstance(one.get("image"), LazyImage)
            else one
            for one in samples
        ]
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
        if self.whole_batch:
            return [_lazy_again(result, normalized, context) for result in results]
        return _lazy_again(results, normalized, context)


def _lazy_again(sample: Sample, normalized: bool, context: Context) -> Sample:
    """The sample with its pixels lazy again; normalized images stay arrays."""
    if not isinstance(sample, dict):
        raise TypeError(f"returned {type(sample).__name__}, expected the sample, a dict")
    image = sample.get("image")
    if not isinstance(image, np.ndarray) or (normalized and image.dtype != np.uint8):
        return sample
    if image.dtype != np.uint8:
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return {**sample, "image": LazyImage(np.ascontiguousarray(image), context.clock)}
