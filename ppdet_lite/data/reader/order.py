"""The samples of each batch, for every epoch and every process of a distributed run."""

from typing import NamedTuple

import numpy as np

from ppdet_lite.core.errors import DataError

# First number of the seed of each kind of draw, so that they never share a stream.
_SAMPLE, _BATCH, _SHUFFLE, _EXTRA, _COPIES = 0, 1, 2, 3, 4


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Everything random about sample `index` of the data set in `epoch`."""
    return np.random.default_rng((_SAMPLE, seed, epoch, index))


def batch_rng(seed: int, epoch: int, number: int, rank: int = 0) -> np.random.Generator:
    """Everything random about the global batch `number`, for all ranks or one `rank` above 0."""
    own = (rank,) if rank else ()
    return np.random.default_rng((_BATCH, seed, epoch, number, *own))


def extra_rng(seed: int, epoch: int, number: int) -> np.random.Generator:
    """The samples that a batch gets beside its own."""
    return np.random.default_rng((_EXTRA, seed, epoch, number))


def with_copies(
    indices: np.ndarray, factors: np.ndarray, size: int, seed: int, epoch: int
) -> np.ndarray:
    """The samples of `epoch` where sample `indices[i]` comes `factors[i]` times on average: as
    often as its whole part says, and once more with the probability of the rest.

    Every epoch has the same number of samples, the sum of the factors rounded down: the rests lie
    one behind the other in a random order, and a comb of step 1 at a random place picks those that
    come once more; of one too many a random one is dropped.

    Args:
        size: length of the data set. Copy k of sample i is i + k * size, so that copies differ in
            what is drawn for them.
    """
    rng = np.random.default_rng((_COPIES, seed, epoch))
    counts = np.floor(factors).astype(np.int64)
    rests = factors - counts
    order = rng.permutation(len(factors))
    teeth = np.floor(np.cumsum(rests[order]) + rng.random()).astype(np.int64)
    more = np.zeros(len(factors), np.int64)
    more[order] = np.diff(teeth, prepend=0)
    wanted = int(rests.sum() + 1e-6)
    for change in (-1, 1):  # sums in another order may round to a neighbor
        while change * (wanted - more.sum()) > 0:
            free = np.flatnonzero(more > 0 if change < 0 else (more == 0) & (rests > 0))
            more[rng.choice(free)] += change
    counts += more
    copies = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen: np.ndarray = np.repeat(indices, counts) + copies * size
    return chosen


class BatchOrder(NamedTuple):
    """The batches of one rank as indices of samples.

    In training, rank r has its part of every global batch of `batch_size` x `world_size` samples.
    All ranks get the same number of batches, and without `drop_last` every sample comes once: a
    last short batch is shared out evenly, or joins the batch before it when it has fewer samples
    than there are ranks. In evaluation, ranks may have different numbers of batches.
    """

    batch_size: int
    shuffle: bool = False
    drop_last: bool = False
    training: bool = False
    seed: int = 0
    rank: int = 0
    world_size: int = 1

    def batches(self, indices: np.ndarray, epoch: int) -> list[np.ndarray]:
        """The batches of `epoch` out of `indices`; a DataError where training has none."""
        if self.shuffle:
            indices = np.random.default_rng((_SHUFFLE, self.seed, epoch)).permutation(indices)
        if self.training:
            return self._training_batches(indices)
        own, size = indices[self.rank :: self.world_size], self.batch_size
        return [own[start : start + size] for start in range(0, len(own), size)]

    def _training_batches(self, order: np.ndarray) -> list[np.ndarray]:
        size, ranks = self.batch_size, self.world_size
        whole, rest = divmod(len(order), size * ranks)
        starts = [(number * ranks + self.rank) * size for number in range(whole)]
        batches = [order[start : start + size] for start in starts]
        if rest and not self.drop_last:
            share = np.array_split(order[len(order) - rest :], ranks)[self.rank]
            if rest >= ranks:
                batches.append(share)
            elif batches:
                batches[-1] = np.concatenate([batches[-1], share])
        if not batches:
            advice = "set drop_last: false or use a smaller batch_size"
            raise DataError(
                f"{len(order)} training images make no batch of {size} on each of {ranks} "
                f"process(es); {advice if self.drop_last else 'use fewer'}"
            )
        return batches
