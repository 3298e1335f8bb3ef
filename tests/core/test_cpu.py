import os

import pytest

from ppdet_lite.core import cpu


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
