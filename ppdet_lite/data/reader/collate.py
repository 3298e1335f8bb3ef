"""From the samples of a batch to arrays (in a worker), and to a model's input (in the loop)."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.pixels.clock import Clock, no_clock
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.memory import RecycledArrays, Scratch
from ppdet_lite.data.reader.plan import Plan
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Transform

# Fields that do not go into a batch: known by other names there, or needed only by transforms.
_NOT_BATCHED = frozenset(("image", "im_file", "h", "w", "is_crowd", "difficult", "gt_poly"))
_GROUND_TRUTH = frozenset(("gt_bbox", "gt_class", "gt_score"))

_scratch = Scratch()


class RawBatch(NamedTuple):
    """A batch as a worker hands it over: stacked fields; the image (uint8 [B, H, W, 3]
    or finished float32 [B, 3, H, W]), None while it lies in shared memory; counts of `Context`.
    """

    fields: dict[str, Any]
    image: Optional[np.ndarray]
    notes: Counter[str]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class Collator:
    """Puts the samples of `plan` together.

    Attributes:
        training: keep ground truth.
        collate_batch: stack ground truth, whose lengths must be equal then; otherwise it is a list
            with one array per image (unless `PadBox` made the lengths equal).
        raw_pixels: leave uint8 pixels to whoever takes the batch.
    """

    plan: Plan
    training: bool = False
    collate_batch: bool = True
    raw_pixels: bool = False
    clock: Clock = no_clock

    def stack(
        self,
        samples: list[Sample],
        buffer: Optional[np.ndarray] = None,
        memory: Optional[RecycledArrays] = None,
    ) -> tuple[dict[str, Any], np.ndarray]:
        """`RawBatch.fields` and `RawBatch.image`, whose pixels lie in `buffer` (uint8) where that
        is enough. The image comes from `memory` otherwise, normalized at once unless `raw_pixels`.
        """
        image = self._image(samples, buffer, memory)
        with self.clock("stack"):
            return self._fields(samples), image

    def finish(self, raw: RawBatch, memory: Optional[RecycledArrays] = None) -> dict[str, Any]:
        """The batch as a model gets it: the image and, in training, ground truth and targets.

        `image` is float32 [B, 3, H, W], normalized. With `raw_pixels` it may be uint8 [B, H, W, 3],
        to be normalized as pixel * pixel_map[0] + pixel_map[1] (`pixel_map` float32 [2, 3]); then
        alone it may be part of `raw`. Large arrays come from `memory`.
        """
        with self.clock("finish"):
            memory = memory or RecycledArrays()
            assert raw.image is not None
            batch, is_uint8 = {"image": raw.image}, raw.image.dtype == np.uint8
            height, width = raw.image.shape[1:3] if is_uint8 else raw.image.shape[2:]
            if is_uint8 and self.raw_pixels:
                batch["pixel_map"] = self.plan.normalizer.pixel_map()
            elif is_uint8:
                batch["image"] = memory.empty("image", (len(raw.image), 3, height, width))
                for pixels, out in zip(raw.image, batch["image"]):
                    self._normalize(pixels, out)
            batch.update(raw.fields)
            for step in self.plan.deferred:
                if type(step).finish is not Transform.finish:  # others only change pixels
                    with self.clock(step.step_name):
                        step.finish(batch, (height, width), memory)
            return batch

    def _normalize(self, pixels: np.ndarray, out: np.ndarray) -> None:
        with self.clock("normalize"):
            self.plan.normalizer(pixels, out)

    def _fields(self, samples: list[Sample]) -> dict[str, Any]:
        left_out = _NOT_BATCHED if self.training else _NOT_BATCHED | _GROUND_TRUTH
        fields: dict[str, Any] = {"im_file": [str(s.get("im_file", "")) for s in samples]}
        for key in dict.fromkeys(key for sample in samples for key in sample):
            if key in left_out:
                continue
            if lacking := [s.get("im_file") for s in samples if key not in s]:
                raise DataError(f"{lacking[0]}: found no {key}, which others of its batch have")
            fields[key] = values = [np.asarray(sample[key]) for sample in samples]
            if key in _GROUND_TRUTH and not (self.collate_batch or self.plan.pads_objects):
                continue  # also where lengths happen to be equal: always one type
            if len({value.shape for value in values}) == 1:
                fields[key] = np.stack(values)
            elif self.collate_batch:
                raise DataError(
                    f"the samples of a batch have different numbers of {key}; add PadBox to "
                    "batch_transforms"
                )
        return fields

    def _image(
        self, samples: list[Sample], buffer: Optional[np.ndarray], memory: Optional[RecycledArrays]
    ) -> np.ndarray:
        """All images rendered into one array."""
        if any(sample.get("image") is None for sample in samples):
            raise ConfigError("sample_transforms: Decode is missing; the samples have no images")
        images = [sample["image"] for sample in samples]
        if not self.plan.permuted_early:  # pixels that a transform left as an array
            images = [LazyImage(one) if _is_pixels(one) else one for one in images]
        sizes = sorted({o.size_hw if isinstance(o, LazyImage) else o.shape for o in images})
        if len(sizes) > 1:
            raise DataError(
                f"images of different sizes in one batch, for instance {sizes[0]} and "
                f"{sizes[-1]} (height, width); use Resize with keep_ratio: false, Resize and Pad, "
                "BatchRandomResize, or batch_size 1"
            )
        if not isinstance(images[0], LazyImage):
            floats = np.stack([image.astype(np.float32, copy=False) for image in images])
            if self.plan.permuted_early:
                return floats
            return np.ascontiguousarray(floats.transpose(0, 3, 1, 2))
        height, width = sizes[0]
        if memory is not None and not self.raw_pixels:
            # One image after the other goes all the way, while its pixels are in the CPU's cache.
            result = memory.empty("image", (len(images), 3, height, width))
            pixels = _scratch.empty("pixels", (height, width, 3), np.uint8)
            for image, out in zip(images, result):
                self._normalize(image.render(pixels), out)
            return result
        shape = (len(images), height, width, 3)
        if buffer is not None and buffer.size >= math.prod(shape):
            result = buffer[: math.prod(shape)].reshape(shape)
        else:
            result = (memory or RecycledArrays()).empty("pixels", shape, np.uint8)
        for image, out in zip(images, result):
            image.render(out)
        return result


def _is_pixels(image: Any) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8
