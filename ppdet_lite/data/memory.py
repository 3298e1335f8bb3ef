"""Large arrays without the cost of fresh memory.

The system hands out fresh memory page by page and zeroes each page at its first use. For the tens
of megabytes of a batch that takes longer than computing their content, so memory that nobody uses
any more is used again.
"""

import sys
from typing import Sequence

import numpy as np


class RecycledArrays:
    """Hands out arrays, each in memory that nothing else refers to.

    A block is used again when its reference count says that every array made from it, slices and
    reshaped views included, has been given up: whoever keeps an array keeps its memory.

    Args:
        keep: blocks that are remembered per name; arrays beyond it have memory of their own.
    """

    def __init__(self, keep: int = 4):
        self.keep = keep
        self._blocks = {}

    def empty(self, name: str, shape: Sequence[int], dtype=np.float32) -> np.ndarray:
        """An array with undefined content; arrays of the same name share blocks."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        blocks = self._blocks.setdefault(name, [])
        unused = [i for i in range(len(blocks)) if _references(blocks, i) <= _UNUSED]
        fitting = [i for i in unused if blocks[i].nbytes >= size]
        if fitting:
            block = blocks[fitting[0]]
        else:  # unused blocks that are too small give way to a larger one
            block = np.empty(size, np.uint8)
            used = [blocks[i] for i in range(len(blocks)) if i not in unused]
            self._blocks[name] = [*used, block][: self.keep]
        return block[:size].view(dtype).reshape(shape)

    def zeros(self, name: str, shape: Sequence[int], dtype=np.float32) -> np.ndarray:
        """The same, filled with zeros."""
        array = self.empty(name, shape, dtype)
        array.fill(0)
        return array


def _references(blocks: list, index: int) -> int:
    return sys.getrefcount(blocks[index])


# What an array counts that only its list refers to; this depends on the interpreter.
_UNUSED = _references([np.empty(0, np.uint8)], 0)
