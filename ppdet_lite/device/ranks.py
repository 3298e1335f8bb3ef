"""The processes of one run, started by `python -m paddle.distributed.launch`."""

import contextlib
import os
from typing import Iterator, NamedTuple

import paddle
from paddle import distributed

from ppdet_lite.core.errors import UserError


class Ranks(NamedTuple):
    """This process among those that work together."""

    rank: int = 0
    world_size: int = 1


SINGLE_PROCESS = Ranks()


def launched_processes() -> int:
    """Number of processes that the launcher states; 1 without a launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1") or 1)


def launched_rank() -> int:
    """Number of this process that the launcher states; 0 without a launcher."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0") or 0)


def init_ranks() -> Ranks:
    """Joins the other processes, if a launcher started several."""
    if launched_processes() > 1 and not distributed.is_initialized():
        distributed.init_parallel_env()
    return current_ranks()


def current_ranks() -> Ranks:
    """This process among those that `init_ranks` joined."""
    if not distributed.is_initialized():
        return SINGLE_PROCESS
    return Ranks(distributed.get_rank(), distributed.get_world_size())


@contextlib.contextmanager
def all_processes() -> Iterator[None]:
    """Context of an exchange between the processes; a UserError if one of them has gone."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"another process of this run has ended: {reason}") from error


def true_anywhere(flag: bool) -> bool:
    """True in every process if `flag` is true in one of them; all must call it."""
    total = paddle.to_tensor([int(flag)], dtype="int32")
    with all_processes():
        distributed.all_reduce(total, op=distributed.ReduceOp.MAX)
    return bool(total.item())
