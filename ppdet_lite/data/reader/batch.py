"""Samples and batches of one epoch, as functions of (seed, epoch, number) alone."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.data.cache.image_cache import ImageCache
from ppdet_lite.data.pixels.clock import Clock, no_clock
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.pixels.pixel_source import UndecodableError
from ppdet_lite.data.reader.collate import Collator, RawBatch
from ppdet_lite.data.reader.order import batch_rng, sample_rng
from ppdet_lite.data.reader.plan import Partner, Plan
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, MakeRng

# A sample that cannot be read is replaced by another one; so many in a row end the run.
_REPLACEMENTS = 20


class _Log:
    """What happens while one batch is made, see `RawBatch` and `Context`."""

    def __init__(self, refused: dict[str, str]):
        self.refused = refused
        self.notes: Counter[str] = Counter()
        self.unreadable: dict[str, str] = {}


@dataclass(frozen=True)
class SampleMaker:
    """Makes the samples of one epoch.

    Attributes:
        dataset: see `ppdet_lite.data.sources`.
        plan: the transform lists.
        seed, epoch: what the random draws depend on.
        mixing: the settings whose transforms get partners in this epoch, see
            `Transform.switched_by`.
        training: replace unreadable images; otherwise these are an error.
        num_classes: larger class indices are an error.
        cache: of the data set, None without.
    """

    dataset: Dataset
    plan: Plan
    seed: int = 0
    epoch: int = 0
    mixing: frozenset[str] = frozenset()
    training: bool = False
    num_classes: Optional[int] = None
    cache: Optional[ImageCache] = None
    clock: Clock = no_clock

    def context(self, rng: MakeRng, log: _Log) -> Context:
        """What transforms get besides samples."""
        return Context(
            rng, self.epoch, None, self.cache, self.training, log.refused, log.notes, self.clock
        )

    def sample(self, index: int, log: _Log) -> Sample:
        """Sample `index`, or a replacement drawn from its own generator."""
        context = self.context(partial(sample_rng, self.seed, self.epoch, index), log)
        steps = self.plan.sample_steps

        def make_partner(steps_before: int) -> Sample:
            own = self.context(context.rng, log)
            return self._readable(None, own, log, steps[:steps_before])

        return self._readable(index, context, log, steps, make_partner)

    def _readable(
        self,
        index: Optional[int],
        context: Context,
        log: _Log,
        steps: Sequence[Any],
        make_partner: Optional[Partner] = None,
    ) -> Sample:
        """The sample `index` (None: a random one) after `steps`, replaced while unreadable."""
        for _ in range(_REPLACEMENTS):
            if index is None:
                index = int(context.rng.integers(len(self.dataset)))
            record = self.dataset.record(index)
            try:
                self._check_classes(record)
                return self.plan.run_sample(record, context, steps, make_partner, self.mixing)
            except ImageError as error:
                if not self.training or isinstance(error, UndecodableError):
                    raise
                log.unreadable[str(record.get("im_file", index))] = str(error)
                index = None
        raise DataError(
            f"{_REPLACEMENTS} images in a row cannot be read; the last: "
            f"{list(log.unreadable.values())[-1]}"
        )

    def _check_classes(self, record: Sample) -> None:
        labels = record.get("gt_class")
        if self.training and self.num_classes and labels is not None and labels.size:
            highest = int(labels.max())
            if highest >= self.num_classes:
                raise DataError(
                    f"{record.get('im_file')}: class index {highest} does not fit num_classes "
                    f"{self.num_classes}; set num_classes to the number of classes of the data set"
                )


@dataclass(frozen=True)
class BatchBuilder:
    """Makes the batches of one epoch.

    Attributes:
        samples: makes the samples.
        batches: per batch the sample indices.
        collator: puts them together.
        draw_rank: makes the draws of the batch transforms this rank's own; 0: those of all ranks.
    """

    samples: SampleMaker
    batches: list[np.ndarray]
    collator: Collator
    draw_rank: int = 0

    def __call__(
        self,
        number: int,
        buffer: Optional[np.ndarray] = None,
        memory: Optional[RecycledArrays] = None,
    ) -> RawBatch:
        """Batch `number`; `buffer` and `memory` as in `Collator.stack`.

        An image that turns out to be damaged only when it is rendered is refused, and the batch is
        made anew: it becomes what it would be had that been known from the start.
        """
        refused: dict[str, str] = {}
        while True:
            try:
                with self.samples.clock("batch"):
                    return self._attempt(number, buffer, memory, _Log(refused))
            except UndecodableError as error:
                if not self.samples.training or error.path in refused:
                    raise
                refused[error.path] = str(error)

    def _attempt(
        self,
        number: int,
        buffer: Optional[np.ndarray],
        memory: Optional[RecycledArrays],
        log: _Log,
    ) -> RawBatch:
        maker = self.samples
        samples = [maker.sample(int(index), log) for index in self.batches[number]]
        rng = partial(batch_rng, maker.seed, maker.epoch, number, self.draw_rank)
        samples = maker.plan.run_batch(samples, maker.context(rng, log))
        fields, image = self.collator.stack(samples, buffer, memory)
        return RawBatch(fields, image, log.notes, log.unreadable)
