"""Locks on files against other processes, where the system and the file system have them."""

from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock_file(file: Any, wait: bool = True, inherited: bool = True) -> bool:
    """Locks an open file until it is closed.

    Args:
        inherited: forked processes hold the lock too; otherwise it ends with this process.

    Returns:
        False if another process has it and `wait` is off; True also where there are no locks.
    """
    if fcntl is None:
        return True
    lock = fcntl.flock if inherited else fcntl.lockf
    try:
        lock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        pass
    return True
