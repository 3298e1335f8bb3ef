"""What is settled before a training starts: its seed, and that its steps and epochs make sense."""

import random
import secrets

import numpy as np
import paddle
from paddle import distributed

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.device.ranks import SINGLE_PROCESS, Ranks
from ppdet_lite.evaluate.checks import name_of
from ppdet_lite.utils.logger import get_logger


def set_seed(cfg, ranks: Ranks = SINGLE_PROCESS) -> int:
    """Seeds Python, numpy and Paddle from `cfg.seed`; draws and prints a seed when it is null.

    All processes end up with the same seed, so they also start from the same weights.
    """
    seed = cfg.get("seed")
    if seed is None:
        seed = secrets.randbelow(2**31)
        if ranks.world_size > 1:
            shared = paddle.to_tensor([seed], dtype="int64")
            distributed.broadcast(shared, src=0)
            seed = int(shared.item())
        get_logger().info("Seed %d (drawn; -o seed=%d repeats this run)", seed, seed)
    else:
        seed = int(seed)
        get_logger().info("Seed %d", seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)
    return seed


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Seeds Paddle's generator for one training step (DropBlock and the like).

    Seeding every step from (seed, rank, iteration) makes a resumed run draw what the uninterrupted
    one would have drawn, without any generator state in the checkpoint.
    """
    sequence = np.random.SeedSequence((seed, rank, iteration))
    paddle.seed(int(sequence.generate_state(1, np.uint32)[0] >> 1))


def warn_of_settings(reader, model, epochs: int) -> None:
    """Prints what the model remarks about settings that do not fit it."""
    mixes = any(getattr(t, "switched_by", "") == "mosaic_epoch" for t in reader.sample_transforms)
    for line in model.remarks(epochs, reader.mosaic_epoch if mixes else None):
        get_logger().warning(line)


def check_batches(reader, dataset, accumulate_steps: int) -> int:
    """Optimizer steps per epoch.

    Raises:
        ConfigError: there would be none; names the keys to change.
    """
    steps = len(reader) // accumulate_steps
    if steps == 0:
        raise ConfigError(
            f"{name_of(dataset)} has {len(dataset)} images: with TrainReader.batch_size="
            f"{reader.batch_size}, accumulate_steps={accumulate_steps} and "
            f"{getattr(reader, 'world_size', 1)} process(es) not one step per epoch is left. Use a "
            f"smaller TrainReader.batch_size, TrainReader.drop_last=false, or accumulate_steps=1."
        )
    return steps
