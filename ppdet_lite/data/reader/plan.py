"""A reader's transform lists, sorted into who does what.

The entries run in the order of the YAML. This project's transforms only describe what happens to
the image; `NormalizeImage`, `Permute` and a last `Gt2YoloTarget` are left for the whole batch.
Any other entry is a user's own: before it the image is rendered to an array, after it the list
goes on lazily from that array. What can no longer be left for the batch then, because a user's
entry comes later, is done on the spot.
"""

import functools
import random
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.box_formats import PadBox
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad, PadResize
from ppdet_lite.data.transforms.resize import BatchRandomResize, Resize
from ppdet_lite.data.transforms.transform import Context, Transform
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

_PIXEL_ENDINGS = (NormalizeImage, Permute)


class Plan:
    """See the module.

    Attributes:
        sample_steps, batch_steps: what a worker runs per sample and per batch.
        normalizer: for the uint8 pixels of the finished batch.
        target: the `Gt2YoloTarget` that runs on the finished batch, None without.
        pads_boxes: whether `PadBox` gives all images the same number of objects.
        rendered_by: names of the entries that make images be rendered early.
    """

    def __init__(self, sample_transforms, batch_transforms):
        entries = [*sample_transforms, *batch_transforms]
        own = [index for index, entry in enumerate(entries) if not isinstance(entry, Transform)]
        self.rendered_by = [type(entries[index]).__name__ for index in own]
        self.pads_boxes = any(isinstance(entry, PadBox) for entry in entries)
        after = own[-1] + 1 if own else 0
        postponed = set()
        for index in range(len(entries) - 1, after - 1, -1):
            rest_is_pixels = all(isinstance(e, _PIXEL_ENDINGS) for e in entries[index + 1 :])
            is_last_target = isinstance(entries[index], Gt2YoloTarget) and rest_is_pixels
            if isinstance(entries[index], _PIXEL_ENDINGS) or is_last_target:
                postponed.add(index)
        count = len(sample_transforms)
        kept = [(index, entry) for index, entry in enumerate(entries) if index not in postponed]
        self.sample_steps = [entry for index, entry in kept if index < count]
        self.batch_steps = [entry for index, entry in kept if index >= count]
        done_early = [e for _, e in kept if isinstance(e, _PIXEL_ENDINGS)]
        self.normalized_early = any(isinstance(e, NormalizeImage) for e in done_early)
        self.permuted_early = any(isinstance(e, Permute) for e in done_early)
        self.normalizer = Normalizer.identity()
        self.target = None
        for index in sorted(postponed):
            if isinstance(entries[index], NormalizeImage):
                self.normalizer = entries[index].normalizer
            elif isinstance(entries[index], Gt2YoloTarget):
                self.target = entries[index]

    def final_resize(self) -> Optional[Transform]:
        """The step that decides about the size of the images in a batch, with its `sizes`; None
        without one and when a user's own entry, or padding to no fixed size, comes later.
        """
        for step in reversed([*self.sample_steps, *self.batch_steps]):
            if isinstance(step, (BatchRandomResize, Resize, PadResize)):
                return step
            if isinstance(step, Pad):
                return step if step.sizes else None
            if not isinstance(step, Transform):
                return None
        return None

    def largest_pixels(self) -> Optional[int]:
        """Pixels of the largest image in a batch, None when the lists do not fix it."""
        step = self.final_resize()
        return None if step is None else max(height * width for height, width in step.sizes)

    def largest_to_smallest(self) -> float:
        """Pixels of the largest image in a batch : pixels of the smallest; 1 when unknown."""
        step = self.final_resize()
        areas = [1] if step is None else [height * width for height, width in step.sizes]
        return max(areas) / min(areas)

    def run_sample(
        self, sample: dict, context: Context, steps, make_partner=None, mixing=frozenset()
    ) -> dict:
        """Run `steps` on one sample.

        Args:
            make_partner: makes a partner sample with the first n steps, in a context of its own.
            mixing: the settings (`Transform.switched_by`) whose transforms get partners.
        """
        for number, step in enumerate(steps):
            context.partner = None
            if getattr(step, "switched_by", Transform.switched_by) in mixing:
                context.partner = functools.partial(make_partner, number)
            try:
                sample = self._run_step(step, sample, context)
            except UserError:
                raise
            except Exception as error:
                raise RuntimeError(_failure(step, [sample])) from error
        return sample

    def run_batch(self, samples: list[dict], context: Context) -> list[dict]:
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

    def _run_step(self, step, samples, context: Context):
        """One entry on a sample or a list of samples."""
        if isinstance(step, Transform):
            return step(samples, context)
        call = step if callable(step) else step.apply
        single = isinstance(samples, dict)
        rendered = [_rendered(sample) for sample in ([samples] if single else samples)]
        with _seeded_globals(context.rng):
            results = call(rendered[0] if single else rendered, context)
        results = [results] if single else results
        results = [self._wrapped(result) for result in results]
        return results[0] if single else results

    def _wrapped(self, sample: dict) -> dict:
        """The sample with its uint8 image lazy again; normalized images stay arrays."""
        image = sample.get("image")
        if not isinstance(image, np.ndarray) or self._is_finished(image):
            return sample
        if image.dtype != np.uint8:
            image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return {**sample, "image": LazyImage(np.ascontiguousarray(image))}

    def _is_finished(self, image: np.ndarray) -> bool:
        return self.normalized_early and image.dtype != np.uint8


def _rendered(sample: dict) -> dict:
    image = sample.get("image")
    return {**sample, "image": image.render()} if isinstance(image, LazyImage) else sample


def _failure(step, samples) -> str:
    names = ", ".join(str(sample.get("im_file", "?")) for sample in samples[:4])
    more = f" and {len(samples) - 4} more" if len(samples) > 4 else ""
    return f"{type(step).__name__} failed on {names}{more}"


class _seeded_globals:
    """Seeds `random` and `numpy.random` from the sample's generator while a user's transform runs,
    so that it too gives the same result for any number of workers; the old states come back.
    """

    def __init__(self, rng: np.random.Generator):
        self.seed = int(rng.integers(2**32))

    def __enter__(self):
        self.states = random.getstate(), np.random.get_state()
        random.seed(self.seed)
        np.random.seed(self.seed)

    def __exit__(self, *error):
        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
