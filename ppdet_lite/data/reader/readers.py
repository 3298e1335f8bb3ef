"""TrainReader, EvalReader, TestReader: batches of a data set, one epoch after the other.

Every sample is a function of (seed, epoch, index) and every batch of (seed, epoch, number): the
same batches come for any number of workers and after starting in the middle of an epoch.
"""

import copy
import logging
import time
from collections import Counter
from typing import Any, Callable, Iterator, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import create, create_list, register
from ppdet_lite.data.cache.image_cache import ImageCache, cache_settings
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.reader.batch import BatchBuilder, RawBatch, finish_batch
from ppdet_lite.data.reader.order import epoch_order, evaluation_batches, training_batches
from ppdet_lite.data.reader.plan import Plan
from ppdet_lite.data.reader.workers import WorkerPool, can_fork
from ppdet_lite.data.transforms.transform import Transform, cannot_be_exported

logger = logging.getLogger("ppdet_lite.reader")


class Reader:
    """What the three readers share.

    Attributes:
        epoch, seed, rank, world_size: set by the engine before iterating.
        raw_pixels: images come as uint8 pixels with a `pixel_map`, for a device that normalizes
            them (see `finish_batch`); set by the engine; counts from the next iteration on.
        wait_seconds: how long the loop waited for the latest batch; total_wait_seconds: for all of
            the epoch.
        notes: things said once, with their counts since the reader was made.
        unreadable: file -> reason of the images that were skipped.
        cache: the settings of the image cache, None without one.
    """

    training = False
    dataset_section = ""
    __shared__ = ("num_classes", "worker_num")

    def __init__(
        self,
        sample_transforms: Optional[list[Transform]] = None,
        batch_transforms: Optional[list[Transform]] = None,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        drop_empty: bool = False,
        num_classes: Optional[int] = None,
        collate_batch: bool = True,
        use_shared_memory: bool = True,
        worker_num: int = 0,
        mixup_epoch: int = -1,
        mosaic_epoch: int = -1,
        inputs_def: Optional[dict] = None,
        max_bad_fraction: float = 0.1,
        size_per_rank: bool = False,
        cache: Optional[dict] = None,
        seed: int = 0,
        dataset: Any = None,
    ):
        if batch_size < 1:
            raise ConfigError(f"batch_size: found {batch_size}, allowed: 1 or more")
        if worker_num < 0:
            raise ConfigError(f"worker_num: found {worker_num}, allowed: 0 or more")
        if not 0 <= max_bad_fraction <= 1:
            raise ConfigError(f"max_bad_fraction: found {max_bad_fraction}, allowed: 0 to 1")
        name = type(self).__name__
        self.sample_transforms = create_list(sample_transforms, None, (name, "sample_transforms"))
        self.batch_transforms = create_list(batch_transforms, None, (name, "batch_transforms"))
        self.plan = Plan(self.sample_transforms, self.batch_transforms)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.drop_empty = drop_empty
        self.num_classes = num_classes
        self.collate_batch = collate_batch
        self.use_shared_memory = use_shared_memory
        self.worker_num = worker_num
        self.mixup_epoch = mixup_epoch
        self.mosaic_epoch = mosaic_epoch
        self.inputs_def = inputs_def or {}
        self.max_bad_fraction = max_bad_fraction
        self.size_per_rank = size_per_rank
        self.cache = cache_settings(cache)
        self.seed = seed
        self.epoch, self.rank, self.world_size = 0, 0, 1
        self.raw_pixels = False
        self._dataset = dataset
        self._forget()

    @classmethod
    def from_config(cls, section) -> dict:
        """Builds the transforms; the data set of the config is made on first need."""
        cfg = section.config
        arguments = {
            key: create_list(section.get(key), cfg, (cls.__name__, key))
            for key in ("sample_transforms", "batch_transforms")
        }
        if cfg.get(cls.dataset_section) is not None:
            arguments["dataset"] = lambda: create(cls.dataset_section, cfg)
        return arguments

    def __call__(self, dataset, worker_num: Optional[int] = None) -> "Reader":
        """A reader with the same settings for another data set; the cache is shared when it is
        the same one.
        """
        bound = copy.copy(self)
        image_cache = self._image_cache if dataset is self._dataset else None
        bound._dataset = dataset
        bound._forget()
        bound._image_cache = image_cache
        if worker_num is not None:
            bound.worker_num = worker_num
        return bound

    def _forget(self) -> None:
        """Drop everything that belongs to a data set or an iteration."""
        self.wait_seconds = self.total_wait_seconds = 0.0
        self.notes, self.unreadable, self._totalled = Counter(), {}, set()
        self._said = set()
        self._pools = []
        self._memory = RecycledArrays(headroom=self.plan.largest_to_smallest())
        self._image_cache = None
        self._indices = None
        self._order_of = (None, None)

    @property
    def dataset(self):
        """The data set, made from the configuration on first use."""
        if self._dataset is None:
            name = self.dataset_section or type(self).__name__
            raise DataError(f"{type(self).__name__} has no data set; set {name} in the config")
        if callable(self._dataset) and not hasattr(self._dataset, "record"):
            self._dataset = self._dataset()
        return self._dataset

    def __len__(self) -> int:
        return len(self._batches_of(self.epoch))

    def __iter__(self) -> Iterator[dict]:
        return self.batches(self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration is for."""
        self.epoch = epoch

    def batches(self, epoch: int, start: int = 0, stop: Optional[int] = None) -> Iterator[dict]:
        """The batches of `epoch` from number `start` on, up to `stop` (not included; None: all).

        Raises:
            DataError: unusable data, too many unreadable images, or a worker that died.
        """
        build = self._builder(epoch)
        stop = len(build.batches) if stop is None else min(stop, len(build.batches))
        self.total_wait_seconds = 0.0
        source = self._source(build, start, stop)
        try:
            for number in range(start, stop):
                began = time.perf_counter()
                raw, release = source(number)
                self._note(raw)
                batch = finish_batch(raw, self.plan, self._memory, build.raw_pixels)
                del raw
                release()
                self.wait_seconds = time.perf_counter() - began
                self.total_wait_seconds += self.wait_seconds
                yield batch
                del batch  # so that its memory can serve for the next one
        finally:
            if isinstance(getattr(source, "__self__", None), WorkerPool):
                self._close(source.__self__)
        self._say_totals()

    def open_cache(self) -> Optional[ImageCache]:
        """The image cache, made (and its expected size said) on first use; None without one."""
        if self.cache is not None and self._image_cache is None:
            where = f"{type(self).__name__}.cache"
            self._image_cache = ImageCache(self.cache, self.dataset, logger.info, where)
        return self._image_cache

    def close(self) -> None:
        """End all worker processes."""
        for pool in list(self._pools):
            self._close(pool)

    def input_sizes(self) -> tuple[str, tuple]:
        """The configuration key of the network input's size, and all its (height, width).

        No sizes where the transforms do not fix them.
        """
        sizes = self.plan.sizes
        if sizes is None or sizes.keep_ratio:
            return "", ()
        return f"{type(self).__name__}.{sizes.set_by}", sizes.all_hw

    def preprocess_config(self) -> list[dict]:
        """The `Preprocess` list of infer_cfg.yml: how deployment prepares an image.

        Raises:
            ConfigError: the sample transforms hold something that deployment does not know, or
                nothing, which would be a network input without any preparation.
        """
        if not self.sample_transforms:
            raise ConfigError(
                f"{type(self).__name__}.sample_transforms: found none, needed: Decode, Resize, "
                "NormalizeImage and Permute as in EvalReader"
            )
        result = []
        for entry in self.sample_transforms + self.batch_transforms:
            try:
                is_known = isinstance(entry, Transform)
                step = entry.export_step() if is_known else cannot_be_exported(entry)
            except ConfigError as error:
                raise ConfigError(f"{type(self).__name__}: {error}") from error
            if step is not None:
                result.append(step)
        return result

    def _builder(self, epoch: int) -> BatchBuilder:
        mixing = [
            name
            for name in ("mixup_epoch", "mosaic_epoch")
            if getattr(self, name) == 0 or epoch < getattr(self, name)
        ]
        return BatchBuilder(
            self.dataset,
            self.plan,
            self._batches_of(epoch),
            self.seed,
            epoch,
            frozenset(mixing),
            self.training,
            self.num_classes,
            self.collate_batch,
            draw_rank=self.rank if self.size_per_rank else 0,
            cache=self.open_cache(),
            raw_pixels=self.raw_pixels,
        )

    def _batches_of(self, epoch: int) -> list[np.ndarray]:
        key = (epoch, self.seed, self.rank, self.world_size, self.batch_size)
        if self._order_of[0] != key:
            order = epoch_order(self._usable(), self.shuffle, self.seed, epoch)
            share = (self.rank, self.world_size)
            if self.training:
                made = training_batches(order, self.batch_size, self.drop_last, *share)
            else:
                made = evaluation_batches(order, self.batch_size, *share)
            self._order_of = (key, made)
        return self._order_of[1]

    def _usable(self) -> np.ndarray:
        """Indices of the samples that take part, without the empty ones when `drop_empty`."""
        if self._indices is None:
            indices = np.arange(len(self.dataset))
            if self.drop_empty and self.training:
                filled = [len(self.dataset.record(int(i))["gt_bbox"]) > 0 for i in indices]
                indices = indices[np.array(filled, bool)]
                logger.info(
                    "drop_empty: %d of %d images have no objects and are left out",
                    len(self.dataset) - len(indices),
                    len(self.dataset),
                )
            self._indices = indices
        return self._indices

    def _source(self, build: BatchBuilder, start: int, stop: int) -> Callable:
        """A function from batch number to (RawBatch, release)."""
        largest = self.plan.largest_pixels()
        count = max((len(batch) for batch in build.batches), default=0)
        size = None if largest is None else count * largest * 3
        workers = self.worker_num
        if workers and not can_fork():
            self._say_once("this system cannot fork: batches are made in the main process")
            workers = 0
        if workers and start < stop:
            shared = size if self.use_shared_memory else None
            settings = (build.epoch, self._say_once, build.raw_pixels)
            pool = WorkerPool(build, start, stop, workers, shared, *settings)
            self._pools.append(pool)
            return pool.get
        return lambda number: (build(number, None, self._memory), _nothing)

    def _close(self, pool: WorkerPool) -> None:
        pool.close()
        if pool in self._pools:
            self._pools.remove(pool)

    def _note(self, raw: RawBatch) -> None:
        """Count and say what a batch reports."""
        for text, count in raw.notes.items():
            if text not in self.notes:
                logger.warning("%s (%d in this batch; further ones are only counted)", text, count)
            self.notes[text] += count
        for path, reason in raw.unreadable.items():
            if path not in self.unreadable:
                self.unreadable[path] = reason
                logger.warning("skipped: %s (%d so far)", reason, len(self.unreadable))
        allowed = self.max_bad_fraction * len(self.dataset)
        if len(self.unreadable) > allowed:
            some = "\n  ".join(list(self.unreadable.values())[:5])
            raise DataError(
                f"{len(self.unreadable)} of {len(self.dataset)} images cannot be read, more than "
                f"max_bad_fraction {self.max_bad_fraction:g} allows:\n  {some}"
            )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            logger.warning("%s", text)
        self._said.add(text)

    def _say_totals(self) -> None:
        """At the end of the first epoch with something to tell: how often it has happened."""
        for text, count in self.notes.items():
            if text not in self._totalled:
                logger.info("%s: %d by the end of this epoch", text, count)
                self._totalled.add(text)


def _nothing() -> None:
    """Releasing a batch that was made in this process."""


@register
class TrainReader(Reader):
    """Shuffled, augmented batches with ground truth.

    Args:
        sample_transforms: list of transforms per image, `Decode` first.
        batch_transforms: list of transforms per batch.
        batch_size: images per batch and GPU.
        shuffle: another order in each epoch.
        drop_last: leave out the last, short batch.
        drop_empty: leave out images without objects.
        num_classes: classes of the model, checked against the labels.
        collate_batch: stack ground truth; otherwise it is a list with one array per image.
        use_shared_memory: pixels from workers through shared memory instead of pipes.
        worker_num: reader processes; 0 makes batches in the main process.
        mixup_epoch: `Mixup` is on in epochs below this number; 0 always, -1 never.
        mosaic_epoch: the same for `Mosaic`. Both hold from the epoch they name (in PaddleDetection
            one later, because its workers are made before they are told the epoch).
        inputs_def: kept for PaddleDetection's files, for instance num_max_boxes.
        max_bad_fraction: share of unreadable images above which training stops.
        size_per_rank: each process of a distributed run draws its own sizes and interpolations, as
            PaddleDetection does; otherwise all use one size per step, so that none waits for the
            one with the largest images.
        cache: keep images where they are read faster: {kind: encoded, decoded or disk, budget_mb:
            2048, max_side: 1024, folder: of kind disk}, see `image_cache`.
        seed: of all random draws; the engine sets it.
        dataset: a data set, or a function that makes it.
    """

    training = True
    dataset_section = "TrainDataset"


@register
class EvalReader(Reader):
    """Every image of the evaluation set once, in order; parameters as `TrainReader`.

    Ranks of a distributed run share the images without repeating or leaving out any. An image
    that cannot be read is an error.
    """

    dataset_section = "EvalDataset"


@register
class TestReader(Reader):
    """The images of an inference run, in order; parameters as `TrainReader`.

    `inputs_def.image_shape` is the input shape [3, height, width] of an exported model.
    """

    __test__ = False  # not a test case, whatever pytest thinks of its name
    dataset_section = "TestDataset"
