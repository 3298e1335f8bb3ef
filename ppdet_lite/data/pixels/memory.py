"""Large arrays without the cost of fresh memory, which the system hands out page by page and
zeroes: for the tens of megabytes of a batch that takes longer than computing their content.
"""

import contextlib
import math
import mmap
import sys
import threading
from dataclasses import dataclass, field
from typing import Optional, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

# MADV_WIPEONFORK of Linux, which Python has no name for. Without it, every page that is written
# while a reader's workers run would be copied first.
_WIPE_ON_FORK = 18 if sys.platform == "linux" else None


def _references(arrays: list[np.ndarray], index: int) -> int:
    return sys.getrefcount(arrays[index])


# What is counted for an array that only its list refers to; this depends on the interpreter.
_UNUSED = _references([np.empty(0, np.uint8)], 0)


def is_unused(arrays: list[np.ndarray], index: int) -> bool:
    """True if nothing but the list refers to arrays[index], views of it included."""
    return _references(arrays, index) <= _UNUSED


@dataclass(eq=False)
class _Block:
    """Memory for one array: uint8 [bytes] in a list of one, zeros but at the float32 positions
    `written` (None: anywhere).
    """

    arrays: list[np.ndarray]
    written: Optional[np.ndarray]


class Scratch(threading.local):
    """Memory of one thread for pixels on their way, which its next image uses again."""

    def __init__(self) -> None:
        self.known: dict[str, np.ndarray] = {}

    def empty(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
        size = math.prod(shape)
        if name not in self.known or self.known[name].size < size:
            self.known[name] = np.empty(size, dtype)
        return self.known[name][:size].reshape(shape)


@dataclass(eq=False)
class RecycledArrays(threading.local):
    """Hands out arrays, each in memory that nothing else refers to; each thread has its own.

    A block is used again when its reference count says that every array made from it, views
    included, has been given up: whoever keeps an array keeps its memory.

    Args:
        keep: blocks that are remembered per name; arrays beyond it have memory of their own.
        headroom: blocks are made for arrays so many times as large as the one that is asked for;
            what is not touched takes no memory.
    """

    keep: int = 4
    headroom: float = 1.0
    _blocks: dict[str, list[_Block]] = field(default_factory=dict)

    def empty(self, name: str, shape: Sequence[int], dtype: DTypeLike = np.float32) -> np.ndarray:
        """An array with undefined content; arrays of the same name share blocks."""
        block, size = self._block(name, shape, dtype, huge_pages=True)
        block.written = None
        return block.arrays[0][:size].view(dtype).reshape(shape)

    def sparse(
        self, name: str, shape: Sequence[int], positions: np.ndarray, values: ArrayLike
    ) -> np.ndarray:
        """A read-only float32 array of zeros in which `values` stand at the flat `positions`; the
        last value counts where a position is repeated. Only what was written is cleared before the
        next use.
        """
        block, size = self._block(name, shape, np.float32, huge_pages=False)
        whole = block.arrays[0].view(np.float32)
        whole[... if block.written is None else block.written] = 0
        whole[positions] = values
        block.written = positions
        result = whole[: size // 4].reshape(shape)
        result.flags.writeable = False
        return result

    def _block(
        self, name: str, shape: Sequence[int], dtype: DTypeLike, huge_pages: bool
    ) -> tuple[_Block, int]:
        """An unused block, a new one when there is none, and how many of its bytes are needed."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        known = self._blocks.setdefault(name, [])
        unused = [block for block in known if is_unused(block.arrays, 0)]
        for block in unused:
            if block.arrays[0].nbytes >= size:
                return block, size
        # Unused blocks that are too small give way to a larger one.
        memory = _zeros(-(-int(size * self.headroom) // 16) * 16, huge_pages)
        block = _Block([memory], np.zeros(0, np.int64))
        used = [other for other in known if other not in unused]
        self._blocks[name] = [*used, block][: self.keep]
        return block, size


def _zeros(size: int, huge_pages: bool) -> np.ndarray:
    """uint8 [size] of zeros; a process that is forked sees zeros there, whatever was written.

    `huge_pages` are for memory that is written from end to end: elsewhere one value would cost the
    zeroing of 2 MB.
    """
    if not size or not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros(size, np.uint8)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (_WIPE_ON_FORK, getattr(mmap, "MADV_HUGEPAGE", None) if huge_pages else None):
        if advice is not None:
            with contextlib.suppress(OSError):  # advice that this system does not take
                block.madvise(advice)
    return np.frombuffer(block, np.uint8)
