"""Training steps of a network: images per second, waiting for data, memory, finite losses."""

import math
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import paddle

from ppdet_lite.benchmark.gpu_check.cases import Case, Setup
from ppdet_lite.benchmark.gpu_check.inference import Note
from ppdet_lite.benchmark.gpu_check.networks.network_set import NetworkSet
from ppdet_lite.benchmark.process_memory import memory_of
from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.synthetic.demo_set import make_demo_data
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.device.select import prepare_device
from ppdet_lite.modeling.layers.norm import synchronize_norms
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.train.hooks.finite_check import FiniteCheckHook
from ppdet_lite.train.loop import Trainer
from ppdet_lite.train.run import build_trainer

REPO = Path(__file__).resolve().parents[3]
TRAINING_IMAGES = 48
CLASSES = 5
"""Of the drawn images."""

WARM_UP_SHARE = 0.2
"""Steps at the start that do not count: memory is taken, kernels are chosen."""


class Way(NamedTuple):
    """A way of training.

    Attributes:
        overrides: of the configuration.
        synchronized: batch norms take their statistics over all GPUs, even over a single one.
        needs_gpu: the reason, where it does.
    """

    overrides: tuple[str, ...] = ()
    synchronized: bool = False
    needs_gpu: str = ""


_NO_AMP = "Paddle's mixed precision has no effect on a CPU"
WAYS = {
    "fp32": Way(),
    "amp_o1": Way(("amp=true", "amp_level=O1"), needs_gpu=_NO_AMP),
    "amp_o2": Way(("amp=true", "amp_level=O2"), needs_gpu=_NO_AMP),
    "sync_bn": Way(synchronized=True, needs_gpu="Paddle's SyncBatchNorm is for GPUs"),
}
"""All with batches of bytes that are normalized on the device."""


class RepeatedDataset(Dataset):
    """A data set over and over, so that an epoch is as long as is wanted."""

    def __init__(self, dataset: Dataset, length: int):
        super().__init__(dataset.name, dataset.class_names, dataset.category_ids)
        self.dataset, self.length = dataset, length

    def __len__(self) -> int:
        return self.length

    def record(self, index: int) -> dict[str, Any]:
        """One of the data set's own."""
        return self.dataset.record(index % len(self.dataset))


class StepTimes(Hook):
    """Keeps the seconds of each step, those of waiting in them, the losses, and the type of the
    batches' pixels."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.waiting: list[float] = []
        self.losses: list[float] = []
        self.pixels = ""
        self._last = 0.0

    def before_epoch(self, run: Run) -> None:
        self._last = time.perf_counter()

    def after_step(self, run: Run, record: StepRecord) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self.waiting.append(record.data_cost)
        self.pixels = record.batches[0]["image"].dtype.name
        self.losses.append(record.mean_losses()["loss"])
        self._last = now


def measure_training(case: Case, setup: Setup, note: Note) -> None:
    """Trains `setup.steps` steps on drawn images."""
    way = WAYS[case.engine]
    on_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if way.needs_gpu and not on_gpu:
        note(skipped=way.needs_gpu)
        return
    trainer = make_trainer(case, setup, way, on_gpu)
    times = StepTimes()
    trainer.hooks = [FiniteCheckHook(), times]
    note(runs_on=paddle.get_device(), batch_size=case.batch)
    trainer.run()
    first = math.ceil(WARM_UP_SHARE * setup.steps)
    seconds, waiting = times.seconds[first:], times.waiting[first:]
    memory = paddle.device.cuda.max_memory_allocated() if on_gpu else memory_of().peak
    note(
        steps=len(times.seconds),
        images_per_s=case.batch / statistics.median(seconds),
        waiting_share=sum(waiting) / sum(seconds),
        memory_bytes=memory,
        first_loss=times.losses[0],
        last_loss=times.losses[-1],
        pixels=times.pixels,
        is_finite=all(map(math.isfinite, times.losses)),
    )


def make_trainer(case: Case, setup: Setup, way: Way, on_gpu: bool) -> Trainer:
    """A training of the network as tools/train.py builds it, for one epoch of `setup.steps`."""
    facts = NetworkSet.read(setup.networks).networks[case.network]
    side = max(facts["input_hw"])
    data = make_demo_data(
        setup.output / "training_images", train=TRAINING_IMAGES, val=1, size=max(side, 64)
    )
    cfg = training_config(facts, data, case, setup, on_gpu, way)
    device = prepare_device(on_gpu, setup.threads)
    trainer = build_trainer(cfg, device, SINGLE_PROCESS)
    if way.synchronized:
        synchronize_norms(trainer.state.model)
    dataset = RepeatedDataset(trainer.reader.dataset, setup.steps * case.batch)
    trainer.reader = trainer.reader.bound(dataset=dataset, raw_pixels=True)
    trainer.steps_per_epoch = setup.steps
    return trainer


def training_config(
    facts: dict[str, Any], data: Path, case: Case, setup: Setup, on_gpu: bool, way: Way
) -> Config:
    """The network's configuration for the drawn images and a single size of input."""
    height, width = facts["input_hw"]
    overrides = [
        *facts["overrides"],
        *way.overrides,
        "TrainDataset.name=COCODataSet",
        f"TrainDataset.dataset_dir={data}",
        "TrainDataset.image_dir=train",
        "TrainDataset.anno_path=annotations/train.json",
        f"TrainReader.batch_size={case.batch}",
        f"TrainReader.batch_transforms.BatchRandomResize.target_size=[[{height}, {width}]]",
        f"num_classes={CLASSES}",
        f"worker_num={setup.threads}",
        f"use_gpu={str(on_gpu).lower()}",
        f"save_dir={setup.output / 'training'}",
        "pretrain_weights=null",
        "epoch=1",
        "LearningRate.allow_long_warmup=true",  # only the time of steps counts
        "seed=0",
    ]
    return load_config(REPO / facts["config"], overrides)
