"""The memory that processes hold, shared pages told apart from their own.

Forked workers share their parent's pages until one of them writes, so their resident sizes count
the same memory again and again. Linux says per process how much is its own (USS) and what its fair
part of the shared pages is (PSS, which can be added up); elsewhere only the resident size is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from ppdet_lite.utils.cpu import peak_resident_bytes


class Memory(NamedTuple):
    """In bytes; None where the system does not tell.

    Attributes:
        peak: highest resident size, shared pages included (VmHWM).
        pss: own pages plus this process's part of the shared ones.
        uss: own pages only: what the end of this process would give back.
    """

    peak: Optional[int] = None
    pss: Optional[int] = None
    uss: Optional[int] = None

    def largest(self, other: Memory) -> Memory:
        """The larger of each number."""
        pairs = zip(self, other)
        return Memory(*(max((v for v in pair if v is not None), default=None) for pair in pairs))

    def as_dict(self) -> dict[str, Optional[int]]:
        """By the names in results: `peak_bytes` and so on."""
        return {f"{name}_bytes": value for name, value in self._asdict().items()}


def memory_of(pid: Optional[int] = None) -> Memory:
    """The memory of a process (None: this one); all None when it has gone."""
    status, rollup = (_table(pid, name) for name in ("status", "smaps_rollup"))
    peak = status.get("VmHWM", None if pid else peak_resident_bytes())
    clean, dirty = rollup.get("Private_Clean"), rollup.get("Private_Dirty")
    uss = None if clean is None or dirty is None else clean + dirty
    return Memory(peak, rollup.get("Pss"), uss)


def resident_bytes() -> Optional[int]:
    """Bytes that this process has in memory now, shared pages included; None where unknown."""
    return _table(None, "status").get("VmRSS")


def forget_peak() -> bool:
    """Lets the peak of this process start again from its present size, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _table(pid: Optional[int], name: str) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file of /proc in bytes; empty without the file."""
    try:
        lines = Path(f"/proc/{pid or 'self'}/{name}").read_text().splitlines()
    except OSError:  # no such system, or the process has ended
        return {}
    rows = (line.split() for line in lines)
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if row[2:] == ["kB"]}
