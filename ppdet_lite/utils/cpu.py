"""Facts about the processor and the memory, and settings with which Paddle makes use of them."""

import contextlib
import ctypes
import functools
import os
import sys
from typing import Optional, Sequence

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def core_count() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def cpu_info() -> str:
    """/proc/cpuinfo of the first core; empty where there is none (macOS, Windows)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return stream.read().partition("\n\n")[0]
    except OSError:
        return ""


def cpu_has_any(instruction_sets: Sequence[str]) -> bool:
    """True if the processor has one of the instruction sets, named as in /proc/cpuinfo."""
    return bool(set(instruction_sets) & set(cpu_info().split()))


INT8_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
"""Instruction sets that add products of eight bits, named as in /proc/cpuinfo."""


def int8_instructions() -> str:
    """Those that the processor has, with commas; "none" without any."""
    return ", ".join(name for name in INT8_INSTRUCTIONS if cpu_has_any((name,))) or "none"


def prefer_fast_blas() -> None:
    """Lets the MKL of Paddle's wheels use AVX2 on processors of AMD.

    That MKL (of 2019) takes its slowest kernels on processors that are not Intel's: a training step
    takes a quarter less time without them, a deformable convolution two thirds. Only this variable
    helps; it is read when MKL computes for the first time.
    """
    if "AuthenticAMD" in cpu_info() and cpu_has_any(("avx2",)):
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


@functools.cache
def keep_freed_memory() -> None:
    """Lets the C library reuse the memory of feature maps instead of returning it to the system.

    Paddle allocates large maps anew in every run, and the system clears every page that it gives
    out. Where the C library has no mallopt this does nothing.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)


def peak_resident_bytes() -> Optional[int]:
    """Highest resident size of this process so far; None where the system does not tell."""
    # Linux's getrusage counts what the process held that started this one.
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
