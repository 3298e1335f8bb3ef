"""Keeping a piece of the network in float32 under mixed precision."""

import contextlib
from contextlib import AbstractContextManager

import paddle
from paddle import Tensor


def full_precision() -> AbstractContextManager:
    """Context in which automatic mixed precision is off; without effect in a static graph.

    Inputs that are already half precision must still be cast with `to_float32`.
    """
    if paddle.in_dynamic_mode():
        return paddle.amp.auto_cast(enable=False)
    return contextlib.nullcontext()


def to_float32(tensor: Tensor) -> Tensor:
    """`tensor` itself when it is float32, else a float32 copy."""
    return tensor if tensor.dtype == paddle.float32 else tensor.astype("float32")
