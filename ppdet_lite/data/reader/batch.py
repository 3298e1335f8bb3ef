"""Samples and batches of one epoch, as functions of (seed, epoch, number) alone."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.data.cache.image_cache import ImageCache
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.pixels.pixel_source import UndecodableError
from ppdet_lite.data.reader.collate import Collator, RawBatch
from ppdet_lite.data.reader.order import batch_rng, extra_rng, sample_rng
from ppdet_lite.data.reader.plan import Partner
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context

# A sample that cannot be read is replaced by another one; so many in a row end the run.
_REPLACEMENTS = 20


@dataclass(frozen=True)
class BatchBuilder:
    """Makes the batches of one epoch. Unreadable images are replaced in training, otherwise an
    error.

    Attributes:
        batches: per batch the sample indices.
        mixing: settings whose transforms get partners now, see `Transform.switched_by`.
        num_classes: larger class indices are an error.
        draw_rank: makes the draws of the batch transforms this rank's own; 0: those of all ranks.
        partners: samples that the other images of mixup, mosaic and replacements are drawn from;
            None: all of the data set.
    """

    dataset: Dataset
    batches: list[np.ndarray]
    collator: Collator
    seed: int = 0
    epoch: int = 0
    mixing: frozenset[str] = frozenset()
    num_classes: Optional[int] = None
    cache: Optional[ImageCache] = None
    draw_rank: int = 0
    partners: Optional[np.ndarray] = None

    def __call__(
        self,
        number: int,
        buffer: Optional[np.ndarray] = None,
        memory: Optional[RecycledArrays] = None,
    ) -> RawBatch:
        """Batch `number`; `buffer` and `memory` as in `Collator.stack`.

        An image that turns out to be damaged only when it is rendered is refused, and the batch
        made anew: it becomes what it would be had that been known from the start.
        """
        training, clock = self.collator.training, self.collator.clock
        refused: dict[str, str] = {}
        rng = partial(batch_rng, self.seed, self.epoch, number, self.draw_rank)
        while True:
            context = Context(rng, self.epoch, training, self.cache, refused, clock)
            context.seed, context.batch, context.batches = self.seed, number, len(self.batches)
            try:
                with clock("batch"):
                    samples = [self._sample(i, context) for i in self._indices(number, context)]
                    samples = self.collator.plan.run_batch(samples, context)
                    fields, image = self.collator.stack(samples, buffer, memory)
                return RawBatch(fields, image, context.notes, context.unreadable)
            except UndecodableError as error:
                if not training or error.path in refused:
                    raise
                refused[error.path] = str(error)

    def _indices(self, number: int, context: Context) -> list[int]:
        """The samples of batch `number`, with those that a step asks for."""
        own = self.batches[number]
        count = len(own)
        for step in self.collator.plan.batch_steps:
            count = max(count, step.images_at(context, count))
        more = extra_rng(self.seed, self.epoch, number).choice(
            np.concatenate(self.batches) if count > len(own) else own, count - len(own)
        )
        return [*own.tolist(), *more.tolist()]

    def _sample(self, index: int, batch_context: Context) -> Sample:
        """Sample `index`, or a replacement drawn from its own generator."""
        rng = partial(sample_rng, self.seed, self.epoch, index)
        context, steps = replace(batch_context, make_rng=rng), self.collator.plan.sample_steps

        def make_partner(steps_before: int) -> Sample:
            own_context = replace(context, make_rng=context.rng)
            return self._readable(None, own_context, steps[:steps_before])

        return self._readable(index, context, steps, make_partner)

    def _readable(
        self,
        index: Optional[int],
        context: Context,
        steps: Sequence[Any],
        make_partner: Optional[Partner] = None,
    ) -> Sample:
        """The sample `index` (None: a random one) after `steps`, replaced while unreadable."""
        for _ in range(_REPLACEMENTS):
            if index is None:
                index = self._any_index(context.rng)
            record = self.dataset.record(index % len(self.dataset))
            try:
                self._check_classes(record)
                run = self.collator.plan.run_sample
                return run(record, context, steps, make_partner, self.mixing)
            except ImageError as error:
                if not context.training or isinstance(error, UndecodableError):
                    raise
                context.unreadable[str(record.get("im_file", index))] = str(error)
                index = None
        *_, last = context.unreadable.values()
        raise DataError(f"{_REPLACEMENTS} images in a row cannot be read; the last: {last}")

    def _any_index(self, rng: np.random.Generator) -> int:
        if self.partners is None:
            return int(rng.integers(len(self.dataset)))
        return int(self.partners[rng.integers(len(self.partners))])

    def _check_classes(self, record: Sample) -> None:
        if not self.collator.training or not self.num_classes:
            return
        highest = int(np.max(record.get("gt_class", ()), initial=0))
        if highest >= self.num_classes:
            raise DataError(
                f"{record.get('im_file')}: class index {highest} does not fit num_classes "
                f"{self.num_classes}; set num_classes to the number of classes of the data set"
            )
