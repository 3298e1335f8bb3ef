"""Which samples make up which batch, for every epoch and every process of a distributed run."""

import numpy as np

from ppdet_lite.core.errors import DataError

# First number of the seed of each kind of draw, so that they never share a stream.
_SAMPLE, _BATCH, _SHUFFLE = 0, 1, 2


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Everything random about sample `index` of the data set in `epoch`."""
    return np.random.default_rng((_SAMPLE, seed, epoch, index))


def batch_rng(seed: int, epoch: int, number: int, rank: int = 0) -> np.random.Generator:
    """Everything random about the global batch `number`: the same on all ranks, unless they give
    their own `rank`.
    """
    own = (rank,) if rank else ()
    return np.random.default_rng((_BATCH, seed, epoch, number, *own))


def epoch_order(indices: np.ndarray, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
    """The samples in the order of the epoch, the same on all ranks."""
    if not shuffle:
        return indices
    return np.random.default_rng((_SHUFFLE, seed, epoch)).permutation(indices)


def training_batches(
    order: np.ndarray, batch_size: int, drop_last: bool, rank: int = 0, world_size: int = 1
) -> list[np.ndarray]:
    """This rank's part of every global batch of `batch_size` x `world_size` samples.

    All ranks get the same number of batches, no sample is repeated and, without `drop_last`, none
    is left out: a last short batch is shared out evenly, and when it has fewer samples than there
    are ranks, its samples join the batch before it.

    Raises:
        DataError: no batch can be made.
    """
    whole, rest = divmod(len(order), batch_size * world_size)
    starts = [(number * world_size + rank) * batch_size for number in range(whole)]
    batches = [order[start : start + batch_size] for start in starts]
    tail = order[len(order) - rest :]
    if rest and not drop_last:
        shares = np.array_split(tail, world_size)
        if rest >= world_size:
            batches.append(shares[rank])
        elif batches:
            batches[-1] = np.concatenate([batches[-1], shares[rank]])
    if not batches:
        advice = "set drop_last: false or use a smaller batch_size" if drop_last else "use fewer"
        raise DataError(
            f"{len(order)} training images make no batch of {batch_size} on each of {world_size} "
            f"process(es); {advice}"
        )
    return batches


def evaluation_batches(
    order: np.ndarray, batch_size: int, rank: int = 0, world_size: int = 1
) -> list[np.ndarray]:
    """Every sample exactly once over all ranks; ranks may have different numbers of batches."""
    own = order[rank::world_size]
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
