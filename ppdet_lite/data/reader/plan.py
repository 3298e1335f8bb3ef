"""A reader's transform lists, sorted into who does what.

The entries run in the order of the YAML. Those that derive from `Transform` only describe what
happens to the image; some are left for the whole batch (see `Transform.defers_to_batch`). Before
any other entry the image is rendered to an array, after it the list goes on lazily from that array.
What can no longer be left for the batch then, because such an entry comes later, is done on the
spot.
"""

import contextlib
import functools
import random
from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, ImageSizes, Transform

Partner = Callable[[int], Sample]
"""Makes another sample with the first n steps of a list."""


class Plan:
    """See the module.

    Attributes:
        sample_steps, batch_steps: what a worker runs per sample and per batch.
        deferred: what is left for the finished batch.
        normalizer: for the uint8 pixels of the finished batch.
        sizes: of the images in a batch; None when the lists do not fix them.
        pads_objects: all images of a batch have the same number of objects.
        rendered_by: names of the entries that make images be rendered early.

    Raises:
        ConfigError: an entry that cannot work on what the one before it makes; its key starts with
            the list that it stands in.
    """

    def __init__(self, sample_transforms: Sequence[Any], batch_transforms: Sequence[Any]):
        entries = [*sample_transforms, *batch_transforms]
        own = [index for index, entry in enumerate(entries) if not isinstance(entry, Transform)]
        self.rendered_by = [type(entries[index]).__name__ for index in own]
        self.pads_objects = any(getattr(entry, "pads_objects", False) for entry in entries)
        after = own[-1] + 1 if own else 0
        waits = {
            index
            for index in range(after, len(entries))
            if entries[index].defers_to_batch(entries[index + 1 :])
        }
        count = len(sample_transforms)
        kept = [(index, entry) for index, entry in enumerate(entries) if index not in waits]
        self.sample_steps = [entry for index, entry in kept if index < count]
        self.batch_steps = [entry for index, entry in kept if index >= count]
        self.deferred = [entries[index] for index in sorted(waits)]
        early = [entry for _, entry in kept if isinstance(entry, Transform)]
        self.normalized_early = any(entry.normalizer is not None for entry in early)
        self.permuted_early = any(entry.channels_first for entry in early)
        normalizers = [entry.normalizer for entry in self.deferred if entry.normalizer is not None]
        self.normalizer = normalizers[-1] if normalizers else Normalizer.identity()
        self.sizes = _final_sizes(
            {"sample_transforms": sample_transforms, "batch_transforms": batch_transforms}
        )

    def largest_pixels(self) -> Optional[int]:
        """Pixels of the largest image in a batch, None when the lists do not fix it."""
        return max(self._areas()) if self.sizes else None

    def largest_to_smallest(self) -> float:
        """Pixels of the largest image in a batch : pixels of the smallest; 1 when unknown."""
        return max(self._areas()) / min(self._areas()) if self.sizes else 1.0

    def _areas(self) -> list[int]:
        return [height * width for height, width in self.sizes.all_hw] if self.sizes else []

    def run_sample(
        self,
        sample: Sample,
        context: Context,
        steps: Sequence[Any],
        make_partner: Optional[Partner] = None,
        mixing: frozenset[str] = frozenset(),
    ) -> Sample:
        """Run `steps` on one sample.

        Args:
            make_partner: for the transforms that mix; None without.
            mixing: the settings (`Transform.switched_by`) whose transforms get partners.
        """
        for number, step in enumerate(steps):
            context.partner = None
            if make_partner is not None and _mixes(step, mixing):
                context.partner = functools.partial(make_partner, number)
            try:
                sample = self._run_step(step, sample, context)
            except UserError:
                raise
            except Exception as error:
                raise RuntimeError(_failure(step, [sample])) from error
        return sample

    def run_batch(self, samples: list[Sample], context: Context) -> list[Sample]:
        """Run the batch steps on a list of samples."""
        for step in self.batch_steps:
            try:
                if isinstance(step, Transform) and not step.whole_batch:
                    samples = [self._run_step(step, sample, context) for sample in samples]
                else:
                    samples = self._run_step(step, samples, context)
            except UserError:
                raise
            except Exception as error:
                raise RuntimeError(_failure(step, samples)) from error
        return samples

    def _run_step(self, step: Any, samples: Any, context: Context) -> Any:
        """One entry on a sample or a list of samples."""
        with context.clock(type(step).__name__):
            if isinstance(step, Transform):
                return step(samples, context)
            call = step if callable(step) else step.apply
            single = isinstance(samples, dict)
            rendered = [_rendered(sample) for sample in ([samples] if single else samples)]
            with _seeded_globals(context.rng):
                results = call(rendered[0] if single else rendered, context)
            if single:
                return self._wrapped(results, context)
            return [self._wrapped(result, context) for result in results]

    def _wrapped(self, sample: Sample, context: Context) -> Sample:
        """The sample with its uint8 image lazy again; normalized images stay arrays."""
        image = sample.get("image")
        is_finished = self.normalized_early and getattr(image, "dtype", np.uint8) != np.uint8
        if not isinstance(image, np.ndarray) or is_finished:
            return sample
        if image.dtype != np.uint8:
            image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return {**sample, "image": LazyImage(np.ascontiguousarray(image), context.clock)}


def _final_sizes(groups: dict[str, Sequence[Any]]) -> Optional[ImageSizes]:
    """The sizes of images after all entries, with the list's name in front of `set_by`."""
    sizes = None
    for group, entries in groups.items():
        for index, entry in enumerate(entries):
            before = sizes
            try:
                sizes = entry.output_sizes(before) if isinstance(entry, Transform) else None
            except ConfigError as error:
                key = f"{group}.{index}.{type(entry).__name__}"
                raise ConfigError([f"{key}.{problem}" for problem in error.problems]) from error
            if sizes is not None and sizes is not before:
                sizes = sizes._replace(set_by=f"{group}.{sizes.set_by}")
    return sizes


def _mixes(step: Any, mixing: frozenset[str]) -> bool:
    """True if a step gets partners while the settings `mixing` are on."""
    if not isinstance(step, Transform):  # PaddleDetection's only setting of this kind
        return getattr(step, "switched_by", "mixup_epoch") in mixing
    return step.needs_partner and (step.switched_by is None or step.switched_by in mixing)


def _rendered(sample: Sample) -> Sample:
    image = sample.get("image")
    return {**sample, "image": image.render()} if isinstance(image, LazyImage) else sample


def _failure(step: Any, samples: Sequence[Sample]) -> str:
    names = ", ".join(str(sample.get("im_file", "?")) for sample in samples[:4])
    more = f" and {len(samples) - 4} more" if len(samples) > 4 else ""
    return f"{type(step).__name__} failed on {names}{more}"


@contextlib.contextmanager
def _seeded_globals(rng: np.random.Generator) -> Iterator[None]:
    """Seeds `random` and `numpy.random` from the sample's generator while a user's transform runs,
    so that it too gives the same result for any number of workers; the old states come back.
    """
    seed, states = int(rng.integers(2**32)), (random.getstate(), np.random.get_state())
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
