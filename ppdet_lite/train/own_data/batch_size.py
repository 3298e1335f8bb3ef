"""The largest batch that fits into memory."""

from __future__ import annotations

import gc
import logging
from typing import Any, Callable, Optional

import numpy as np
import paddle

from ppdet_lite.core.config import Config, merge_config
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.cache.shared_memory import available_bytes
from ppdet_lite.data.kinds import height_width
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.train.loop import Trainer
from ppdet_lite.train.run import build_trainer
from ppdet_lite.utils.logger import get_logger

FEWEST_STEPS = 4
"""Steps per epoch that a batch must leave."""
CPU_BYTES_PER_PIXEL = 3000
"""Memory of a training step on a CPU per pixel of the batch: PP-YOLOv2 R50 takes 2600."""
GPU_SHARE = 0.92
"""Share of a GPU's memory that the largest batch may take: other sizes leave gaps in it."""
_OUT_OF_MEMORY = ("ResourceExhausted", "Out of memory", "out of memory", "bad_alloc")


def most_for_images(images: int) -> int:
    """The largest batch that leaves FEWEST_STEPS steps per epoch."""
    return max(1, images // FEWEST_STEPS)


def largest_input(cfg: Config) -> int:
    """Pixels of the largest image that the training reader of a configuration makes."""
    sizes = create("TrainReader", cfg).plan.sizes
    return int(max(sizes.areas)) if sizes else 640 * 640


def cpu_batch(most: int, pixels: int, free_bytes: Optional[int] = None) -> tuple[int, str]:
    """The batch for a CPU, by rule: half of the free memory, CPU_BYTES_PER_PIXEL for each pixel of
    the largest images; and a line that says so.

    Args:
        most: upper bound of the batch.
        pixels: of an image of the largest size.
        free_bytes: free memory; by default that of this machine or container.
    """
    free = available_bytes() if free_bytes is None else free_bytes
    if free is None:
        return 1, "this system does not tell its free memory"
    fitting = int(free / 2 // (pixels * CPU_BYTES_PER_PIXEL))
    batch = max(1, min(most, fitting))
    each = pixels * CPU_BYTES_PER_PIXEL / 2**30
    rule = f"half of {free / 2**30:.1f} GiB free memory, {each:.2f} GiB per image of"
    return batch, f"{rule} {pixels / 1e6:.2f} megapixels, at most {most}"


def measured_batch(most: int, fits: Callable[[int], bool]) -> int:
    """The first of most, most / 2, most / 4, ... that fits.

    Raises:
        UserError: not even one image does.
    """
    batch = most
    while not fits(batch):
        if batch == 1:
            raise UserError(
                "not even one image per batch fits into the memory of this GPU; use a smaller "
                "network, or smaller sizes in TrainReader.batch_transforms"
            )
        batch //= 2
    return batch


def fits_on_gpu(cfg: Config, device: str, batch: int) -> bool:
    """True if a whole step (forward, backward, update) with the largest images fits."""
    trial = merge_config(
        cfg,
        {
            "pretrain_weights": None,
            "check_images": "none",
            "worker_num": 0,
            "report": False,
            "LearningRate": {"allow_long_warmup": True},
            "TrainReader": {"batch_size": batch, **_largest_only(cfg)},
        },
        source="measuring the batch size",
    )
    logger, level = get_logger(), get_logger().level
    logger.setLevel(logging.ERROR)
    try:
        _train_one_step(build_trainer(trial, device, SINGLE_PROCESS))
        total = paddle.device.cuda.get_device_properties().total_memory
        return bool(paddle.device.cuda.max_memory_reserved() <= GPU_SHARE * total)
    except (MemoryError, RuntimeError) as error:
        if not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        return False
    finally:
        logger.setLevel(level)
        gc.collect()
        if device.startswith("gpu"):
            paddle.device.cuda.empty_cache()
            paddle.device.cuda.reset_max_memory_reserved()


class _OneBatch:
    """A reader of a single batch."""

    def __init__(self, batch: dict[str, Any]):
        self.batch = batch

    def batches(self, epoch: int, start: int = 0) -> Any:
        yield self.batch

    def close(self) -> None:
        """Nothing is open."""


def _train_one_step(trainer: Trainer) -> None:
    """A step with the largest batch among the first few."""
    batches = trainer.reader.batches(0)
    found = [next(batches) for _ in range(min(4, len(trainer.reader)))]
    batches.close()
    trainer.reader.close()
    largest = max(found, key=lambda batch: np.prod(batch["image"].shape))
    trainer.reader = _OneBatch(largest)  # type: ignore[assignment]
    trainer.epochs = trainer.steps_per_epoch = trainer.accumulate_steps = 1
    trainer.hooks = ()
    trainer.run()


def _largest_only(cfg: Config) -> dict[str, Any]:
    """The lists of transforms with BatchRandomResize at its largest size."""
    changes: dict[str, Any] = {}
    for key in ("sample_transforms", "batch_transforms"):
        entries = []
        for entry in (cfg.get("TrainReader") or {}).get(key) or []:
            arguments = entry.get("BatchRandomResize") if isinstance(entry, dict) else None
            if arguments and arguments.get("random_size", True):
                largest = max(
                    arguments["target_size"], key=lambda size: np.prod(height_width(size))
                )
                entry = {"BatchRandomResize": {**arguments, "target_size": [largest]}}
            entries.append(entry)
        if entries:
            changes[key] = entries
    return changes
