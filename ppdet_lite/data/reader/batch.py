"""Batches: samples prepared and put together (in a worker), then finished (in the main process)."""

import math
from collections import Counter
from functools import partial
from typing import Callable, NamedTuple, Optional, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError, ImageError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.pixels.pixel_source import UndecodableError
from ppdet_lite.data.reader.order import batch_rng, sample_rng
from ppdet_lite.data.reader.plan import Plan
from ppdet_lite.data.transforms.transform import Context

# A sample that cannot be read is replaced by another one; so many in a row end the run.
_REPLACEMENTS = 20

# Fields that do not go into a batch: known by other names there, or needed only by transforms.
_NOT_BATCHED = frozenset(("image", "im_file", "h", "w", "is_crowd", "difficult", "gt_poly"))
_GROUND_TRUTH = frozenset(("gt_bbox", "gt_class", "gt_score"))


class RawBatch(NamedTuple):
    """What a worker hands over.

    Attributes:
        fields: stacked arrays without the image, and `im_file`.
        image: pixels uint8 [B, H, W, 3], or float32 [B, 3, H, W] that needs nothing more.
        notes: things worth telling, counted.
        unreadable: file -> reason of the images that were replaced.
    """

    fields: dict
    image: np.ndarray
    notes: Counter
    unreadable: dict


class BatchBuilder:
    """Makes the batches of one epoch; a function of (seed, epoch, number) alone.

    Args:
        dataset: see `ppdet_lite.data.sources`.
        plan: the transform lists.
        batches: per batch the sample indices.
        seed, epoch: what the random draws depend on.
        mixing: the settings whose transforms get partners in this epoch, see
            `Transform.switched_by`.
        training: keep ground truth and replace unreadable images; otherwise these are an error.
        num_classes: larger class indices are an error.
        collate_batch: stack ground truth, whose lengths must be equal then; otherwise it is a list
            with one array per image (unless `PadBox` made the lengths equal).
        draw_rank: makes the draws of the batch transforms this rank's own; 0: those of all ranks.
        cache: the `ImageCache` of the data set, None without.
        raw_pixels: leave uint8 pixels to whoever takes the batch.
    """

    def __init__(
        self,
        dataset,
        plan: Plan,
        batches: list[np.ndarray],
        seed: int,
        epoch: int,
        mixing: frozenset[str],
        training: bool,
        num_classes: Optional[int] = None,
        collate_batch: bool = True,
        draw_rank: int = 0,
        cache=None,
        raw_pixels: bool = False,
    ):
        self.dataset = dataset
        self.plan = plan
        self.batches = batches
        self.seed = seed
        self.epoch = epoch
        self.mixing = mixing
        self.training = training
        self.num_classes = num_classes
        self.collate_batch = collate_batch
        self.draw_rank = draw_rank
        self.cache = cache
        self.raw_pixels = raw_pixels
        self._scratch = RecycledArrays()

    def __call__(
        self,
        number: int,
        buffer: Optional[np.ndarray] = None,
        memory: Optional[RecycledArrays] = None,
    ) -> RawBatch:
        """Batch `number`.

        An image that turns out to be damaged only when it is rendered is refused, and the batch is
        made anew: it becomes what it would be had that been known from the start.

        Args:
            buffer: uint8 memory for the pixels, used when it is enough.
            memory: where the image comes from otherwise. It is normalized at once then, unless
                `raw_pixels`.
        """
        refused = {}
        while True:
            try:
                return self._attempt(number, buffer, memory, refused)
            except UndecodableError as error:
                if not self.training or error.path in refused:
                    raise
                refused[error.path] = str(error)

    def _attempt(self, number: int, buffer, memory, refused: dict) -> RawBatch:
        notes, unreadable = Counter(), {}
        samples = []
        for index in self.batches[number]:
            context = self._context(partial(sample_rng, self.seed, self.epoch, int(index)), refused)
            samples.append(self._sample(int(index), context, unreadable))
            if context.notes:
                notes.update(context.notes)
        rng = batch_rng(self.seed, self.epoch, number, self.draw_rank)
        context = self._context(rng, refused)
        samples = self.plan.run_batch(samples, context)
        notes.update(context.notes)
        image = self._stack_images(samples, buffer, memory)
        return RawBatch(self._stack_fields(samples), image, notes, unreadable)

    def _context(self, rng: Union[np.random.Generator, Callable], refused: dict) -> Context:
        return Context(rng, self.epoch, None, self.cache, self.training, refused)

    def _sample(self, index: int, context: Context, unreadable: dict) -> dict:
        """Sample `index`, or a replacement drawn from its own generator."""

        def make_partner(steps_before: int) -> dict:
            steps = self.plan.sample_steps[:steps_before]
            own_context = self._context(context.rng, context.refused)
            partner = self._readable(None, own_context, steps, None, frozenset(), unreadable)
            if own_context.notes:
                context.notes.update(own_context.notes)
            return partner

        steps = self.plan.sample_steps
        return self._readable(index, context, steps, make_partner, self.mixing, unreadable)

    def _readable(
        self, index, context: Context, steps, make_partner, mixing, unreadable: dict
    ) -> dict:
        """The sample `index` (None: a random one) after `steps`, replaced while unreadable."""
        for _ in range(_REPLACEMENTS):
            if index is None:
                index = int(context.rng.integers(len(self.dataset)))
            record = self.dataset.record(index)
            try:
                self._check_classes(record)
                return self.plan.run_sample(record, context, steps, make_partner, mixing)
            except ImageError as error:
                if not self.training or isinstance(error, UndecodableError):
                    raise
                unreadable[str(record.get("im_file", index))] = str(error)
                index = None
        raise DataError(
            f"{_REPLACEMENTS} images in a row cannot be read; the last: "
            f"{list(unreadable.values())[-1]}"
        )

    def _check_classes(self, record: dict) -> None:
        labels = record.get("gt_class")
        if self.training and self.num_classes and labels is not None and labels.size:
            highest = int(labels.max())
            if highest >= self.num_classes:
                raise DataError(
                    f"{record.get('im_file')}: class index {highest} does not fit num_classes "
                    f"{self.num_classes}; set num_classes to the number of classes of the data set"
                )

    def _stack_fields(self, samples: list[dict]) -> dict:
        left_out = _NOT_BATCHED if self.training else _NOT_BATCHED | _GROUND_TRUTH
        fields = {"im_file": [str(sample.get("im_file", "")) for sample in samples]}
        for key in samples[0]:
            if key in left_out:
                continue
            values = [np.asarray(sample[key]) for sample in samples]
            if key in _GROUND_TRUTH and not (self.collate_batch or self.plan.pads_objects):
                fields[key] = values  # also where lengths happen to be equal: always one type
            elif len({value.shape for value in values}) == 1:
                fields[key] = np.stack(values)
            elif self.collate_batch:
                raise DataError(
                    f"the samples of a batch have different numbers of {key}; add PadBox to "
                    "batch_transforms"
                )
            else:
                fields[key] = values
        return fields

    def _stack_images(
        self,
        samples: list[dict],
        buffer: Optional[np.ndarray],
        memory: Optional[RecycledArrays],
    ) -> np.ndarray:
        """Render all images into one array, see `__call__` and `RawBatch.image`."""
        if samples[0].get("image") is None:
            raise ConfigError("sample_transforms: Decode is missing; the samples have no images")
        images = [self._lazy(sample["image"]) for sample in samples]
        if not isinstance(images[0], LazyImage):
            floats = np.stack([image.astype(np.float32, copy=False) for image in images])
            if self.plan.permuted_early:
                return floats
            return np.ascontiguousarray(floats.transpose(0, 3, 1, 2))
        sizes = sorted({image.size_hw for image in images})
        if len(sizes) > 1:
            raise DataError(
                f"images of different sizes in one batch, for instance {sizes[0]} and "
                f"{sizes[-1]} (height, width); use Resize with keep_ratio: false, Resize and Pad, "
                "BatchRandomResize, or batch_size 1"
            )
        if memory is not None and not self.raw_pixels:
            return self._normalized(images, memory.empty("image", (len(images), 3, *sizes[0])))
        shape = (len(images), *sizes[0], 3)
        if buffer is not None and buffer.size >= math.prod(shape):
            result = buffer[: math.prod(shape)].reshape(shape)
        else:
            memory = RecycledArrays() if memory is None else memory
            result = memory.empty("pixels", shape, np.uint8)
        for image, out in zip(images, result):
            image.render(out)
        return result

    def _lazy(self, image):
        """Pixels that a transform has left as an array are lazy again; floats stay as they are."""
        is_pixels = isinstance(image, np.ndarray) and image.dtype == np.uint8
        return LazyImage(image) if is_pixels and not self.plan.permuted_early else image

    def _normalized(self, images: list[LazyImage], out: np.ndarray) -> np.ndarray:
        """One image after the other goes all the way, while its pixels are in the cache."""
        pixels = self._scratch.empty("pixels", (*images[0].size_hw, 3), np.uint8)
        for image, floats in zip(images, out):
            self.plan.normalizer(image.render(pixels), floats)
        return out


def finish_batch(
    raw: RawBatch, plan: Plan, memory: Optional[RecycledArrays] = None, raw_pixels: bool = False
) -> dict:
    """The batch as the engine gets it: the image and, in training, targets.

    `image` is float32 [B, 3, H, W], normalized. With `raw_pixels` it may be uint8 [B, H, W, 3];
    `pixel_map` float32 [2, 3] says then how it is normalized: pixel * pixel_map[0] + pixel_map[1].

    Large arrays come from `memory`; but for raw pixels, nothing of the result is part of `raw`.
    """
    memory = RecycledArrays() if memory is None else memory
    image, size_hw, more = raw.image, raw.image.shape[2:], {}
    if image.dtype == np.uint8:
        size_hw = image.shape[1:3]
        if raw_pixels:
            more = {"pixel_map": plan.normalizer.pixel_map()}
        else:
            image = memory.empty("image", (len(raw.image), 3, *size_hw))
            for pixels, out in zip(raw.image, image):
                plan.normalizer(pixels, out)
    batch = {"image": image, **more, **raw.fields}
    for step in plan.deferred:
        step.finish(batch, size_hw, memory)
    return batch
