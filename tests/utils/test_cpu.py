import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ppdet_lite.utils import cpu


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx avx2\n", "5"),
        ("vendor_id : AuthenticAMD\nflags : avx\n", None),
        ("vendor_id : GenuineIntel\nflags : avx avx2\n", None),
        ("", None),
    ],
)
def test_fast_blas_is_chosen_on_amd_only(monkeypatch, info, expected):
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE", raising=False)
    monkeypatch.setattr(cpu, "cpu_info", lambda: info)
    cpu.prefer_fast_blas()
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == expected


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "4")
    monkeypatch.setattr(cpu, "cpu_info", lambda: "vendor_id : AuthenticAMD\nflags : avx2\n")
    cpu.prefer_fast_blas()
    assert os.environ["MKL_DEBUG_CPU_TYPE"] == "4"


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch):
    asked = []
    library = SimpleNamespace(mallopt=lambda *setting: asked.append(setting))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    cpu.keep_freed_memory.__wrapped__()  # without the memory of having been called
    assert asked == [(-4, 0), (-1, 2**31 - 1)]  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    cpu.keep_freed_memory.__wrapped__()


def test_the_peak_is_not_that_of_who_started_the_process(repo):
    if not os.path.exists("/proc/self/status"):
        pytest.skip("getrusage alone, which is right outside of Linux")
    held = bytearray(b"x" * 300_000_000)
    script = "from ppdet_lite.utils.cpu import peak_resident_bytes as p; print(p())"
    found = subprocess.run([sys.executable, "-c", script], cwd=repo, capture_output=True, text=True)
    assert 5_000_000 < int(found.stdout) < 150_000_000 < len(held)
