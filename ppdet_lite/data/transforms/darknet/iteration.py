"""Draws that all batches of one iteration share, in all processes."""

from enum import IntEnum

import numpy as np

from ppdet_lite.data.transforms.transform import Context


class Draw(IntEnum):
    """First number of the seed of each kind of draw; those of `reader/order.py` are smaller."""

    MOSAIC, MIXUP, SIZE, CUTMIX = 10, 11, 12, 13


def iteration(context: Context, accumulate_steps: int = 1) -> int:
    """The optimizer step that the batch of the context belongs to, from 0."""
    per_epoch = max(context.batches // accumulate_steps, 1)
    return context.epoch * per_epoch + context.batch // accumulate_steps


def shared_rng(context: Context, draw: Draw, number: int) -> np.random.Generator:
    """The generator of one draw, for instance that of iteration `number`."""
    return np.random.default_rng((int(draw), context.seed, number))
