"""How much memory processes hold, shared pages told apart from their own.

Forked workers share their parent's pages until one of them writes, so their resident sizes count
the same memory again and again. Linux says per process how much is its own (USS) and what its fair
part of the shared pages is (PSS, which can be added up); elsewhere only the resident size is known.
"""

import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import Iterator, NamedTuple, Optional


class Memory(NamedTuple):
    """In bytes; None where the system does not tell.

    Attributes:
        peak: highest resident size, shared pages included (VmHWM).
        pss: own pages plus this process's part of the shared ones.
        uss: own pages only: what the end of this process would give back.
    """

    peak: Optional[int]
    pss: Optional[int] = None
    uss: Optional[int] = None

    def largest(self, other: "Memory") -> "Memory":
        """The larger of each number."""
        pairs = zip(self, other)
        return Memory(*(max((v for v in pair if v is not None), default=None) for pair in pairs))

    def as_dict(self) -> dict:
        return {f"{name}_bytes": value for name, value in self._asdict().items()}


def memory_of(pid: Optional[int] = None) -> Memory:
    """The memory of a process (None: this one); all None when it has gone."""
    pid = os.getpid() if pid is None else pid
    status, rollup = _table(f"/proc/{pid}/status"), _table(f"/proc/{pid}/smaps_rollup")
    peak = status.get("VmHWM")
    if peak is None and pid == os.getpid():
        peak = _own_peak()
    own = [rollup.get(key) for key in ("Private_Clean", "Private_Dirty")]
    return Memory(peak, rollup.get("Pss"), None if None in own else sum(own))


def resident_bytes() -> Optional[int]:
    """What this process has in memory now, shared pages included; None where unknown."""
    return _table("/proc/self/status").get("VmRSS")


def forget_peak() -> bool:
    """Lets the peak of this process start again from its present size, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


class ForkedMemory:
    """Children forked inside `with` tell their memory here; for a few thousand notes.

    A note is one write of some bytes to a pipe, so notes of several children never mix.
    """

    _NOTE = struct.Struct("3q")  # the three numbers, -1 for None

    def __enter__(self) -> "ForkedMemory":
        self._parent = os.getpid()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        return self

    def __exit__(self, *error):
        os.close(self._read)
        os.close(self._write)

    def note(self) -> None:
        """Called in a child: tells its memory as it is now. Does nothing in the parent."""
        if os.getpid() != self._parent:
            numbers = (-1 if value is None else value for value in memory_of())
            with contextlib.suppress(BlockingIOError):  # the pipe is full: enough is known
                os.write(self._write, self._NOTE.pack(*numbers))

    def notes(self) -> Iterator[Memory]:
        """Called in the parent: every note since the last call."""
        while True:
            try:
                content = os.read(self._read, self._NOTE.size)
            except BlockingIOError:
                return
            numbers = self._NOTE.unpack(content)
            yield Memory(*(None if number < 0 else number for number in numbers))


def _table(path: str) -> dict:
    """The lines `Name:  123 kB` of a file of /proc in bytes; empty without the file."""
    try:
        text = Path(path).read_text()
    except OSError:  # no such system, or the process has ended
        return {}
    rows = (line.split() for line in text.splitlines())
    return {
        row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"
    }


def _own_peak() -> Optional[int]:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
