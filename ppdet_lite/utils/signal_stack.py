"""The stack that a thread's signal handlers run on, kept across a library that changes it."""

import contextlib
import ctypes
import sys
from typing import Iterator


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = [
        ("pointer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """Gives this thread, at the end, the stack for signal handlers that it had at the start.

    Each `Core` of OpenVINO sets one when it loads its CPU plugin, and unmaps it when it goes, still
    in use: the next Ctrl-C would be a segmentation fault (seen with 2026.4, on Linux).
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    set_stack, before = ctypes.CDLL(None).sigaltstack, _Stack()
    set_stack(None, ctypes.byref(before))
    try:
        yield
    finally:
        set_stack(ctypes.byref(before), None)
