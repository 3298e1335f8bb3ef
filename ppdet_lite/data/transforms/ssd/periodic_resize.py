"""PeriodicRandomResize: a new size of the network's input every few iterations."""

from dataclasses import dataclass
from typing import Optional

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.darknet.iteration import Draw, iteration, shared_rng
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.resize import BatchRandomResize, resize_sample
from ppdet_lite.data.transforms.transform import Context


@register
@dataclass(eq=False)
class PeriodicRandomResize(BatchRandomResize):
    """`BatchRandomResize` with one size for `every` iterations, in all processes; the last epochs
    have the last of the sizes. Interpolations are drawn for each image.

    Args:
        every: iterations from draw to draw.
        fixed_epochs: epochs at the end with the last size.
        epoch, accumulate_steps: epochs of the training, and batches of an iteration.
    """

    __shared__ = ("accumulate_steps", "epoch")

    every: kinds.Count = 10
    fixed_epochs: kinds.Whole = 10
    epoch: Optional[Count] = None
    accumulate_steps: Count = 1

    def apply(self, samples: list[Sample], context: Context) -> list[Sample]:
        rng = context.rng
        number = iteration(context, self.accumulate_steps) // self.every
        shared = shared_rng(context, Draw.SIZE, number)
        size_hw = self.sizes[int(shared.integers(len(self.sizes)))]
        if self.epoch is not None and context.epoch >= self.epoch - self.fixed_epochs:
            size_hw = self.sizes[-1]
        interps = rng.integers(5, size=len(samples)).tolist()
        return [
            resize_sample(sample, size_hw, False, drawn if self.random_interp else self.interp)
            for sample, drawn in zip(samples, interps)
        ]
