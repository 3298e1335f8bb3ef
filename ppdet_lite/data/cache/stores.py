"""Stores of an image cache: shared memory, or a folder.

Both hold byte strings under keys, take no more than a budget, never give anything back before the
end, and may be filled by several processes at once: forked workers, and for the folder other runs
too. An entry is seen whole or not at all, also when its writer is killed.
"""

import contextlib
import hashlib
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

import numpy as np

from ppdet_lite.data.cache.shared_memory import shared_bytes

if sys.platform != "win32":  # there nothing is forked and one process fills the store alone
    import fcntl

_HASH_WORDS = 2
_WORDS = 4  # of an index entry: hash (2), address + 1 (0: not finished), length


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).digest()


class Store:
    """Base of both stores: a budget of bytes, and the share that all processes have used."""

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
        """Stores the concatenated `parts` unless they are here; False where the budget forbids it.

        Raises:
            OSError: a file cannot be written.
        """
        raise NotImplementedError

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """A lock between forked processes; the system lifts it when its holder is killed."""
        with self._threads:
            if sys.platform == "win32":
                yield
                return
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


class MemoryStore(Store):
    """Anonymous shared memory, one copy for a reader and all its workers; contents are not copied.

    Pages cost nothing before they are written, so the budget may be larger than what is stored.
    `entries` is the number of keys that will be asked for.

    Raises:
        OSError: the system refuses so much address space.
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

    A file is written under another name and renamed when it is complete. What is in the folder when
    it is opened counts against the budget; what other runs add meanwhile does not.

    Raises:
        OSError: the folder cannot be made.
    """

    _SUFFIX = ".pixels"

    def __init__(self, budget: int, folder: Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith(self._SUFFIX):
                sizes.append(entry.stat().st_size)
            elif entry.name.endswith(".tmp") and _writer_is_gone(entry.name):
                with contextlib.suppress(FileNotFoundError):  # another run cleans up as well
                    os.unlink(entry.path)
        super().__init__(budget, sum(sizes), len(sizes))

    def get(self, key: str) -> Optional[np.ndarray]:
        try:
            with open(self._path(key), "rb") as stream:
                return np.frombuffer(stream.read(), np.uint8)
        except FileNotFoundError:
            return None

    def put(self, key: str, parts: Sequence[Union[bytes, np.ndarray]]) -> bool:
        path = self._path(key)
        arrays = [np.frombuffer(part, np.uint8) for part in parts]
        length = sum(len(array) for array in arrays)
        with self._held():
            if path.exists():
                return True
            if self.used + length > self.budget:
                return False
            self._totals += (length, 1)
        temporary = path.with_name(f"{path.name}-{socket.gethostname()}-{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as stream:
                for array in arrays:
                    stream.write(array.data)
            with self._held():
                if path.exists():  # another process of this run was faster
                    os.unlink(temporary)
                    self._totals -= (length, 1)
                else:
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


def _writer_is_gone(name: str) -> bool:
    """True if the writer of `<hash>.pixels-<machine>-<pid>.tmp`, of this machine, has ended."""
    machine, _, pid = name[: -len(".tmp")].partition("-")[2].rpartition("-")
    if machine != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, for somebody else
        pass
    return False
