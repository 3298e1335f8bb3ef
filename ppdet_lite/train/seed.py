"""The seed of a run and of each of its steps."""

import random
import secrets
from typing import Optional

import numpy as np
import paddle
from paddle import distributed

from ppdet_lite.device.ranks import SINGLE_PROCESS, Ranks
from ppdet_lite.utils.logger import get_logger


def set_seed(seed: Optional[int], ranks: Ranks = SINGLE_PROCESS) -> int:
    """Seeds Python, numpy and Paddle; draws and prints a seed when it is None.

    All processes end up with the same seed, so they also start from the same weights.
    """
    if seed is None:
        seed = secrets.randbelow(2**31)
        if ranks.world_size > 1:
            shared = paddle.to_tensor([seed], dtype="int64")
            distributed.broadcast(shared, src=0)
            seed = int(shared.item())
        get_logger().info("Seed %d (drawn; seed=%d repeats this run)", seed, seed)
    else:
        get_logger().info("Seed %d", seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)
    return seed


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Seeds Paddle's generator for one training step (DropBlock and the like), so that a resumed
    run draws what the uninterrupted one would have drawn.
    """
    sequence = np.random.SeedSequence((seed, rank, iteration))
    paddle.seed(int(sequence.generate_state(1, np.uint32)[0] >> 1))
