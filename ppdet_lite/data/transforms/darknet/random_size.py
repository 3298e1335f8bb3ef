"""DarknetRandomSize: a new size of the network's input every few iterations."""

from dataclasses import dataclass
from typing import Optional

import numpy as np

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.transforms.darknet.iteration import Draw, iteration, shared_rng
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.resize import resize_sample
from ppdet_lite.data.transforms.transform import CORNERS, Context, ImageSizes, Transform


@register
@dataclass(eq=False)
class DarknetRandomSize(Transform):
    """One size for all images of `every` iterations, as darknet draws it (`random=1`).

    A factor f is drawn from U(1, factor), or is 1 over such a number; each side becomes
    (round(f * side / stride) + 1) * stride, but `target_size` where f < 1 and that is larger. The
    first draw and those of the last 100 iterations give the largest size. All processes share it.

    Args:
        target_size: side of a square, or [height, width].
        factor: largest factor.
        stride: sides are multiples of it.
        every: iterations from draw to draw.
        largest_at_end: iterations at the end of training that have the largest size.
        dynamic_minibatch: fill the memory that the largest size needs: a batch of b images has b *
            largest area / area of them, or 0.8 of that where it is still more than b (darknet). The
            others are drawn at random; steps per epoch and rate stay.
        epoch, accumulate_steps: epochs of the training, and batches of an iteration.
    """

    __shared__ = ("accumulate_steps", "epoch")

    takes_boxes = CORNERS
    whole_batch = True

    target_size: kinds.Size
    factor: kinds.Factor = 1.4
    stride: kinds.Count = 32
    every: kinds.Count = 10
    largest_at_end: kinds.Whole = 100
    dynamic_minibatch: bool = False
    epoch: Optional[Count] = None
    accumulate_steps: Count = 1

    def __post_init__(self) -> None:
        self.net_hw = kinds.height_width(self.target_size)
        self.largest_hw = self._scaled(self.factor)

    def apply(self, samples: list[Sample], context: Context) -> list[Sample]:
        size_hw = self.size_at(context)
        return [resize_sample(sample, size_hw, False, 1) for sample in samples]

    def size_at(self, context: Context) -> SizeHW:
        """(height, width) of the batch of the context."""
        drawn = iteration(context, self.accumulate_steps) // self.every
        if drawn == 0:
            return self.largest_hw
        if self.epoch is not None:
            total = self.epoch * max(context.batches // self.accumulate_steps, 1)
            if drawn * self.every >= total - self.largest_at_end:
                return self.largest_hw
        return self.draw_size(shared_rng(context, Draw.SIZE, drawn))

    def images_at(self, context: Context, count: int) -> int:
        if not self.dynamic_minibatch:
            return count
        (height, width), (largest_h, largest_w) = self.size_at(context), self.largest_hw
        filled = count * largest_h * largest_w // (height * width)
        smaller = int(filled * 0.8)
        return smaller if smaller > count else filled

    def draw_size(self, rng: np.random.Generator) -> SizeHW:
        """A random size."""
        factor = float(rng.uniform(1, self.factor))
        return self._scaled(factor if rng.random() < 0.5 else 1 / factor)

    def _scaled(self, factor: float) -> SizeHW:
        height, width = (
            int(factor * side / self.stride + 1 + 0.5) * self.stride for side in self.net_hw
        )
        if factor < 1 and (height > self.net_hw[0] or width > self.net_hw[1]):
            return self.net_hw
        return height, width

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        factors = np.linspace(1 / self.factor, self.factor, 4001)
        every_hw = dict.fromkeys(self._scaled(float(factor)) for factor in factors)
        return ImageSizes(
            tuple(dict.fromkeys([*every_hw, self.net_hw, self.largest_hw])),
            f"{type(self).__name__}.target_size",
        )
