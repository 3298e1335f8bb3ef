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


def warn_of_last_epochs(reader, model, epochs: int) -> None:
    """Says so when YOLOX's L1 term does not begin in the epoch in which mosaics end, or when the
    training is over before: PaddleDetection's keys state the same moment twice, and `epoch` moves
    neither.
    """
    l1_epoch = getattr(model, "l1_epoch", None)
    mosaic_epoch = reader.mosaic_epoch
    mixes = any(getattr(t, "switched_by", "") == "mosaic_epoch" for t in reader.sample_transforms)
    if l1_epoch is None or not mixes or mosaic_epoch < 0:
        return
    mosaics_end = min(mosaic_epoch or epochs, epochs)  # 0: never
    keys = (
        f"{type(reader).__name__}.mosaic_epoch is {mosaic_epoch}, YOLOXHead.l1_epoch is {l1_epoch} "
        f"and epoch is {epochs}"
    )
    if mosaics_end != min(l1_epoch, epochs):
        get_logger().warning(
            "%s: the L1 term is meant to begin where mosaics end. Give both keys the same epoch.",
            keys,
        )
    elif mosaic_epoch >= epochs:
        get_logger().warning(
            "%s: the training ends before mosaics do, and before the L1 term begins. YOLOX trains "
            "its last 15 epochs without mosaics and with the term; lower both keys for that.",
            keys,
        )


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
