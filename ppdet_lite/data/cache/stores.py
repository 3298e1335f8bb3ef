"""Stores of an image cache: shared memory, or a folder.

Both hold byte strings under keys within a budget, and may be filled by several threads and
processes at once: forked workers, and for the folder other runs too. An entry is seen whole or not
at all, also when its writer is killed.
"""

import contextlib
import hashlib
import os
import secrets
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

import numpy as np

from ppdet_lite.data.cache.shared_memory import shared_bytes

try:
    import fcntl
except ImportError:  # Windows, where nothing is forked and one process fills the store alone
    fcntl = None  # type: ignore[assignment]

_CHECKSUM_BYTES = 4
_HASH_WORDS = 2
_WORDS = 4  # of an index entry: hash (2), address + 1 (0: not finished), length


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).digest()


class Store:
    """Base of both stores: a budget of bytes, and the part that all processes have used."""

    def __init__(self, budget: int, used: int = 0, count: int = 0):
        self.budget = budget
        self._totals = shared_bytes(16).view(np.int64)
        self._totals[:] = used, count
        # A file without a name; in memory where the system can, which needs no writable folder.
        make = getattr(os, "memfd_create", None)
        self._file = os.fdopen(make("lock"), "w") if make else tempfile.TemporaryFile()  # noqa: SIM115
        self._threads = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes of content, as far as this run knows."""
        return int(self._totals[0])

    @property
    def count(self) -> int:
        """Number of entries, as far as this run knows."""
        return int(self._totals[1])

    def get(self, key: str) -> Optional[np.ndarray]:
        """The content as uint8 [n], read-only; None when it is not here."""
        raise NotImplementedError

    def put(self, key: str, parts: Sequence[Union[bytes, np.ndarray]]) -> bool:
        """Stores the concatenated `parts`; False where the budget forbids it.

        Raises:
            OSError: a file cannot be written.
        """
        raise NotImplementedError

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """A lock between forked processes; the system lifts it when its holder is killed."""
        with self._threads, contextlib.ExitStack() as held:
            if fcntl is not None:
                fcntl.lockf(self._file, fcntl.LOCK_EX)
                held.callback(fcntl.lockf, self._file, fcntl.LOCK_UN)
            yield


class MemoryStore(Store):
    """Anonymous shared memory, one copy for a reader and all its workers.

    Pages cost nothing before they are written, so the budget may be larger than what is stored.
    `entries` is the number of keys to expect.

    Raises:
        OSError: the system refuses so much memory.
    """

    def __init__(self, budget: int, entries: int):
        super().__init__(budget)
        slots = 1 << max(entries * 2, 64).bit_length()  # at most half full: few probes per key
        self._content = shared_bytes(max(budget, 1))
        self._index = shared_bytes(slots * _WORDS * 8).view(np.int64).reshape(slots, _WORDS)
        self._most = entries + slots // 4

    def get(self, key: str) -> Optional[np.ndarray]:
        slot, found = self._find(key)
        address, length = self._index[slot, 2:].tolist()
        if not found or not address:  # not here, or another process is writing it
            return None
        content = self._content[address - 1 : address - 1 + length]
        content.flags.writeable = False
        return content

    def put(self, key: str, parts: Sequence[Union[bytes, np.ndarray]]) -> bool:
        arrays = [np.frombuffer(part, np.uint8) for part in parts]
        length = sum(len(array) for array in arrays)
        with self._held():
            slot, found = self._find(key)
            if found:
                return True
            start = self.used
            if start + length > self.budget or self.count >= self._most:
                return False
            # Reserved first and copied outside of the lock: others go on meanwhile.
            self._index[slot, :_HASH_WORDS] = np.frombuffer(_digest(key), np.int64)
            self._index[slot, 3] = length
            self._totals += (length, 1)
        np.concatenate(arrays, out=self._content[start : start + length])
        with self._held():  # also makes the content visible before the address
            self._index[slot, 2] = start + 1
        return True

    def _find(self, key: str) -> tuple[int, bool]:
        """The slot of a key, and true if it is taken by it (or false if it is free)."""
        words = np.frombuffer(_digest(key), np.int64).tolist()
        slot = words[0] & (len(self._index) - 1)
        while True:
            found = self._index[slot, :_HASH_WORDS].tolist()
            if found == words or not any(found):
                return slot, found == words
            slot = (slot + 1) & (len(self._index) - 1)


class FolderStore(Store):
    """Files in a folder that later runs, and several at once, use as well.

    A file begins with a checksum of the rest, is written under another name and renamed when it is
    complete. What is in the folder when it is opened counts against the budget; what other runs add
    meanwhile does not.

    Raises:
        OSError: the folder cannot be made.
    """

    _SUFFIX = ".pixels"
    _LONGEST_WRITE = 3600.0  # seconds; older unfinished files are those of a killed writer

    def __init__(self, budget: int, folder: Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):  # another run opens the folder as well
                facts, is_part = entry.stat(), entry.name.endswith(f"{self._SUFFIX}.tmp")
                if entry.name.endswith(self._SUFFIX):
                    sizes.append(facts.st_size - _CHECKSUM_BYTES)
                elif is_part and facts.st_mtime < time.time() - self._LONGEST_WRITE:
                    os.unlink(entry.path)
        super().__init__(budget, sum(sizes), len(sizes))

    def get(self, key: str) -> Optional[np.ndarray]:
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        is_whole = content[:_CHECKSUM_BYTES] == _checksum(memoryview(content)[_CHECKSUM_BYTES:])
        return np.frombuffer(content, np.uint8)[_CHECKSUM_BYTES:] if is_whole else None

    def put(self, key: str, parts: Sequence[Union[bytes, np.ndarray]]) -> bool:
        content = np.concatenate([np.frombuffer(part, np.uint8) for part in parts])
        path, length = self._path(key), len(content)
        with self._held():
            if self.used + length > self.budget:
                return False
            self._totals += (length, 1)
        temporary = self.folder / f"{secrets.token_hex(16)}{self._SUFFIX}.tmp"
        try:
            with open(temporary, "xb") as stream:
                stream.write(_checksum(content.data))
                stream.write(content.data)
            with self._held():
                if path.exists():  # damaged, or another process was faster
                    self._totals -= (path.stat().st_size - _CHECKSUM_BYTES, 1)
                os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            with self._held():
                self._totals -= (length, 1)
            raise
        return True

    def _path(self, key: str) -> Path:
        return self.folder / f"{_digest(key).hex()}{self._SUFFIX}"


def _checksum(content: memoryview) -> bytes:
    return zlib.adler32(content).to_bytes(_CHECKSUM_BYTES, "big")
