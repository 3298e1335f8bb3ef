"""Memory for the pixels of the batches in flight, shared by a reader and its forked workers.

It is anonymous, so the size of /dev/shm does not matter. Too little memory is found here, before
the first batch, instead of by a killed worker later.
"""

import mmap
from pathlib import Path
from typing import Callable, Optional

import numpy as np

SLOTS = 2
"""Batches in flight per worker: one that is built, one that waits to be fetched."""

_MEGABYTE = 2**20


def shared_bytes(count: int) -> np.ndarray:
    """uint8 memory that forked children share, zero-filled; an OSError where it cannot be had."""
    return np.frombuffer(mmap.mmap(-1, count), np.uint8)


def batch_slots(
    workers: int, slot_bytes: int, report: Callable[[str], None]
) -> list[list[np.ndarray]]:
    """Per worker the memory of its batches in flight: `SLOTS`, or one where these are too much, or
    none: images then go through pipes. `report` is called with a line if there are fewer.
    """
    reasons: list[str] = []
    slots: list[list[np.ndarray]] = [[] for _ in range(workers)]
    instead = "they go through pipes instead, which is slower"
    for per_worker in range(SLOTS, 0, -1):
        free = available_bytes()
        try:
            if free is not None and workers * per_worker * slot_bytes > free:
                raise OSError(f"only {free // _MEGABYTE} MB of memory are free")
            slots = [[shared_bytes(slot_bytes) for _ in range(per_worker)] for _ in slots]
            instead = f"{per_worker} each instead"
            break
        except OSError as error:
            reasons.append(str(error.strerror or error))
    if reasons:
        report(
            f"no {workers * SLOTS * slot_bytes / _MEGABYTE:.0f} MB of shared memory for {SLOTS} "
            f"batches of each of {workers} workers ({reasons[0]}): {instead}; a smaller worker_num "
            "or batch_size needs less"
        )
    return slots


def available_bytes(root: Path = Path("/")) -> Optional[int]:
    """Memory that can be used without swapping: of the machine, within the limit of the container
    (cgroup); None where the system does not tell. `proc` and `sys` lie in `root`.
    """
    lines = _text(root / "proc/meminfo").splitlines()
    machine = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    folder, names = root / "sys/fs/cgroup", ("memory.limit_in_bytes", "memory.usage_in_bytes")
    groups = [_cgroup(folder, "memory.max", "memory.current"), _cgroup(folder / "memory", *names)]
    return min((value for value in machine + groups if value is not None), default=None)


def _cgroup(folder: Path, limit_name: str, usage_name: str) -> Optional[int]:
    """Bytes left under the limit; cached file pages do not count as used."""
    limit, usage = _text(folder / limit_name).strip(), _text(folder / usage_name).strip()
    if not limit.isdigit() or not usage.isdigit():  # no such file, or "max"
        return None
    stat = dict(line.split()[:2] for line in _text(folder / "memory.stat").splitlines())
    droppable = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    return max(int(limit) - int(usage) + droppable, 0)


def _text(path: Path) -> str:
    """The content of a small file of the system, empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
