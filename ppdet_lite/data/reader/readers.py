"""TrainReader, EvalReader, TestReader: batches of a data set, the same ones for any number of
workers and after starting in the middle of an epoch.
"""

import copy
import dataclasses
from typing import Any, Generator, Iterator, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, create_list, register
from ppdet_lite.data import kinds
from ppdet_lite.data.cache.image_cache import cache_settings
from ppdet_lite.data.pixels.clock import Clock
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.reader.batch import BatchBuilder
from ppdet_lite.data.reader.collate import Collator
from ppdet_lite.data.reader.data import ReaderData, Report
from ppdet_lite.data.reader.order import BatchOrder
from ppdet_lite.data.reader.plan import Plan
from ppdet_lite.data.reader.workers import WorkerPool, can_fork, nothing
from ppdet_lite.data.transforms.transform import Transform


class Reader:
    """The parts of a reader, put together once; a run takes it `bound` to its seed, rank and
    device. For the arguments see `TrainReader`.
    """

    __checked__ = True

    training = False
    dataset_section = ""
    __shared__ = ("num_classes", "worker_num")

    def __init__(
        self,
        sample_transforms: Optional[list[Transform]] = None,
        batch_transforms: Optional[list[Transform]] = None,
        batch_size: kinds.Count = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        drop_empty: bool = False,
        num_classes: Optional[kinds.Count] = None,
        collate_batch: bool = True,
        use_shared_memory: bool = True,
        worker_num: kinds.Whole = 0,
        mixup_epoch: int = -1,
        mosaic_epoch: int = -1,
        cutmix_epoch: Optional[int] = None,
        inputs_def: Optional[dict[str, Any]] = None,
        max_bad_fraction: kinds.Probability = 0.1,
        max_decode_seconds: kinds.Positive = 30.0,
        size_per_rank: bool = False,
        cache: Optional[dict[str, Any]] = None,
        seed: kinds.Whole = 0,
        dataset: Any = None,
    ):
        name, training = type(self).__name__, self.training
        self.sample_transforms = create_list(sample_transforms, None, (name, "sample_transforms"))
        self.batch_transforms = create_list(batch_transforms, None, (name, "batch_transforms"))
        self.plan = Plan(self.sample_transforms, self.batch_transforms, name)
        section, drop_empty = self.dataset_section or name, drop_empty and training
        self.data = ReaderData(dataset, name, section, cache_settings(cache), drop_empty)
        self.order = BatchOrder(batch_size, shuffle, drop_last, training, seed)
        self.collator = Collator(self.plan, training, collate_batch)
        self.num_classes = num_classes
        self.use_shared_memory = use_shared_memory
        self.worker_num = worker_num
        self.mixup_epoch = mixup_epoch
        self.mosaic_epoch = mosaic_epoch
        self.cutmix_epoch = mixup_epoch if cutmix_epoch is None else cutmix_epoch
        if cutmix_epoch is not None and not self.plan.has_switch("cutmix_epoch"):
            raise ConfigError(
                f"{name}.cutmix_epoch: found {cutmix_epoch}, allowed: only beside CutMix in "
                "sample_transforms"
            )
        self.inputs_def = inputs_def or {}
        self.max_bad_fraction = max_bad_fraction
        self.max_decode_seconds = max_decode_seconds
        self.size_per_rank = size_per_rank
        self.epochs: Optional[int] = None
        self._start()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("epoch", "seed", "rank", "world_size", "raw_pixels"):  # were set once
            raise AttributeError(
                f"{name}: a reader does not change; use bound(...), batches(epoch)"
            )
        super().__setattr__(name, value)

    @classmethod
    def from_config(cls, section: Any) -> dict[str, Any]:
        """Builds the transforms; the data set of the config is made on first need."""
        cfg = section.config
        arguments: dict[str, Any] = {
            key: create_list(section.get(key), cfg, (cls.__name__, key))
            for key in ("sample_transforms", "batch_transforms")
        }
        if cfg.get(cls.dataset_section) is not None:
            arguments["dataset"] = lambda: create(cls.dataset_section, cfg)
        return arguments

    def _start(self) -> None:
        self.report = Report(self.max_bad_fraction)
        areas = self.plan.sizes.areas if self.plan.sizes else [1]
        self._memory = RecycledArrays(headroom=max(areas) / min(areas))
        self._pools: list[WorkerPool] = []

    def bound(
        self,
        *,
        dataset: Any = None,
        cached: bool = True,
        worker_num: Optional[int] = None,
        raw_pixels: Optional[bool] = None,
        clock: Optional[Clock] = None,
        epochs: Optional[int] = None,
        **order: Any,
    ) -> "Reader":
        """A reader with the same settings but those given; its report is empty.

        Args:
            dataset: another data set; readers of the same one share its image cache.
            cached: without the image cache when false.
            raw_pixels: see `Collator`.
            clock: told when a step of the reader begins and ends, also in the workers.
            epochs: number of epochs that will be read, one after the other. Workers then live until
                `close`, and build the first batches of an epoch while the last ones of the epoch
                before are used. None: they live for one epoch.
            **order: `batch_size`, `seed`, `rank` or `world_size` of `BatchOrder`.
        """
        bound = copy.copy(self)
        bound.data = self.data.of(dataset, cached)
        bound.order = self.order._replace(**order)
        bound.epochs = self.epochs if epochs is None else epochs
        bound.worker_num = self.worker_num if worker_num is None else worker_num
        raw_pixels = self.collator.raw_pixels if raw_pixels is None else raw_pixels
        clock = clock or self.collator.clock
        bound.collator = dataclasses.replace(self.collator, raw_pixels=raw_pixels, clock=clock)
        bound._start()
        return bound

    def __call__(self, dataset: Any, worker_num: Optional[int] = None) -> "Reader":
        """`bound` to a data set."""
        return self.bound(dataset=dataset, worker_num=worker_num)

    @property
    def dataset(self) -> Any:
        """The data set, made from the configuration on first use."""
        return self.data.dataset

    @property
    def batch_size(self) -> int:
        """Images per batch and process."""
        return self.order.batch_size

    def __len__(self) -> int:
        return len(self.order.batches(self._samples(0), 0))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.batches(0)

    def batches(
        self, epoch: int, start: int = 0, stop: Optional[int] = None
    ) -> Generator[dict[str, Any], None, None]:
        """The batches of `epoch` from number `start` on, up to `stop` (not included; None: all).

        Raises:
            DataError: unusable data, too many unreadable images, or a worker that died.
        """
        build = self._builder(epoch)
        later = range(epoch + 1, (stop is None and self.epochs) or 0)
        stop = len(build.batches) if stop is None else min(stop, len(build.batches))
        pool = self._open_pool(build, range(start, stop), later)
        lives_on = False
        try:
            for number in range(start, stop):
                if pool is not None:
                    raw, release = pool.get(number)
                else:
                    raw, release = build(number, None, self._memory), nothing
                self.report.add(raw, len(self.dataset))
                batch = self.collator.finish(raw, self._memory)
                del raw
                release()
                yield batch
                del batch  # so that its memory can serve for the next one
            lives_on = True
        except GeneratorExit:  # the loop takes no more of this epoch
            lives_on = True
            raise
        finally:
            if pool is not None and not (lives_on and later):
                self._end(pool)
        self.report.say_totals()

    def close(self) -> None:
        """Ends all worker processes."""
        for pool in [*self._pools]:
            self._end(pool)

    def _end(self, pool: WorkerPool) -> None:
        pool.close()
        if pool in self._pools:
            self._pools.remove(pool)

    def input_sizes(self) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The configuration key of the network input's size, and all its (height, width)."""
        sizes = self.plan.sizes
        if sizes is None or sizes.keep_ratio:
            return "", ()
        return f"{type(self).__name__}.{sizes.set_by}", sizes.all_hw

    def preprocess_config(self) -> list[dict[str, Any]]:
        """The `Preprocess` list of infer_cfg.yml: how deployment prepares an image.

        Raises:
            ConfigError: deployment does not know a transform, or there is none.
        """
        name = type(self).__name__
        if not self.sample_transforms:
            raise ConfigError(
                f"{name}.sample_transforms: found none, needed: Decode, Resize, NormalizeImage and "
                "Permute as in EvalReader"
            )
        try:
            steps = [entry.export_step() for entry in self.plan.entries]
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
        return [step for step in steps if step is not None]

    def _samples(self, epoch: int) -> np.ndarray:
        return self.data.samples(self.order.seed, epoch) if self.training else self.data.indices

    def _builder(self, epoch: int) -> BatchBuilder:
        samples = self._samples(epoch)
        batches = self.order.batches(samples, epoch)
        names = "mixup_epoch", "mosaic_epoch", "cutmix_epoch"
        ends = {name: getattr(self, name) for name in names}
        mixing = frozenset(name for name, end in ends.items() if end == 0 or epoch < end)
        rank = self.order.rank if self.size_per_rank else 0
        draws = (self.order.seed, epoch, mixing, self.num_classes, self.data.cache, rank)
        builder = BatchBuilder(self.dataset, batches, self.collator, *draws)
        is_balanced = self.training and self.data.factors is not None
        return dataclasses.replace(builder, partners=samples) if is_balanced else builder

    def _open_pool(self, build: BatchBuilder, numbers: range, later: range) -> Optional[WorkerPool]:
        """The pool that builds these batches, None where they are made in this process."""
        if not self.worker_num or not numbers:
            return None
        for pool in [*self._pools] if self.epochs else ():
            is_whole = numbers.stop == len(build.batches)
            if is_whole and pool.go_to(build.epoch, numbers.start, numbers.stop):
                return pool
            self._end(pool)  # it is at another place
        if not can_fork():
            self.report.say_once("this system cannot fork: batches are made in the main process")
            return None
        slot_bytes, largest = None, self.plan.largest_pixels()
        if self.use_shared_memory and largest is not None:
            slot_bytes = max(map(len, build.batches)) * largest * 3
        settings = (slot_bytes, self.max_decode_seconds, self.report.say_once)
        pool = WorkerPool(
            build,
            numbers,
            self.worker_num,
            *settings,
            lends=self.collator.raw_pixels,
            later=later,
            builder_of=self._builder,
        )
        self._pools.append(pool)
        return self._pools[-1]


@register
class TrainReader(Reader):
    """Shuffled, augmented batches with ground truth.

    Args:
        sample_transforms: per image, `Decode` first.
        batch_size: images per batch and GPU.
        drop_last: leave out the last, short batch.
        drop_empty: leave out images without objects.
        num_classes: classes of the model, checked against the labels.
        collate_batch: stack ground truth; otherwise it is a list with one array per image.
        use_shared_memory: pixels from workers through shared memory instead of pipes.
        worker_num: reader processes; 0 makes batches in the main process.
        mixup_epoch: `Mixup` is on in epochs below this number; 0 always, -1 never.
        mosaic_epoch: the same for `Mosaic`. Both hold from the epoch they name (in PaddleDetection
            one later).
        cutmix_epoch: the same for `CutMix`; None takes mixup_epoch.
        inputs_def: kept for PaddleDetection's files, for instance num_max_boxes.
        max_bad_fraction: share of unreadable images above which training stops.
        max_decode_seconds: a worker that reads and decodes a file for longer is an error.
        size_per_rank: each process of a distributed run draws its own sizes, as in PaddleDetection;
            otherwise all use one size per step, so that none waits.
        cache: keep images where they are read faster: {kind: encoded, decoded or disk, budget_mb:
            2048, max_side: 1024, folder: of kind disk}, see `image_cache`.
        seed: of all random draws; a training sets it.
        dataset: a data set, or a function that makes it.
    """

    training = True
    dataset_section = "TrainDataset"


@register
class EvalReader(Reader):
    """Every image of the evaluation set once, in order; parameters as `TrainReader`.

    Ranks share the images without repeating or leaving out any. Unreadable ones are an error.
    """

    dataset_section = "EvalDataset"


@register
class TestReader(Reader):
    """The images of an inference run, in order; parameters as `TrainReader`.
    `inputs_def.image_shape` is the input shape [3, height, width] of an exported model.
    """

    __test__ = False  # not a test case, whatever pytest thinks of its name
    dataset_section = "TestDataset"
