"""One logger for the whole package: plain lines on the terminal and, when asked for, in a file.

Only rank 0 of a multi-process run prints. Progress bars appear on a terminal only; in a log file or
a pipe there are plain lines. Lines printed while a bar is on screen go above it.
"""

import errno
import logging
import os
import sys
from typing import Optional

from tqdm import tqdm

_NAME = "ppdet_lite"
_FORMAT = "[%(asctime)s] %(levelname)s: %(message)s"
_DATE = "%m/%d %H:%M:%S"


class _TerminalHandler(logging.Handler):
    """Writes to the current standard error (looked up at each line), above any progress bar."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stderr)
        sys.stderr.flush()


def process_rank() -> int:
    """Rank of this process as the launcher states it (0 outside a launcher)."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0") or 0)


def get_logger() -> logging.Logger:
    """The package's logger; silent except for errors on ranks other than 0."""
    logger = logging.getLogger(_NAME)
    if not any(isinstance(handler, _TerminalHandler) for handler in logger.handlers):
        handler = _TerminalHandler()
        handler.setFormatter(logging.Formatter(_FORMAT, _DATE))
        logger.addHandler(handler)
        logger.propagate = False  # Paddle puts a handler on the root logger: lines would come twice
        logger.setLevel(logging.INFO if process_rank() == 0 else logging.ERROR)
    return logger


class FileInUse(Exception):
    """Another process holds the log file."""


def add_log_file(path: str, exclusive: bool = False) -> Optional[logging.Handler]:
    """Also append every line to `path` (rank 0 only; its folder is made).

    Args:
        exclusive: hold the file locked until `remove_log_file` or the end of the process.

    Returns the handler, to be given to `remove_log_file`, or None on other ranks.

    Raises:
        FileInUse: another process holds it.
        OSError: it cannot be written.
    """
    if process_rank() != 0:
        return None
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    if exclusive and not _lock(handler.stream):
        handler.close()
        raise FileInUse(path)
    handler.setFormatter(logging.Formatter(_FORMAT, _DATE))
    get_logger().addHandler(handler)
    return handler


def _lock(stream) -> bool:
    """Whether this process now holds `stream`; True as well where files cannot be locked.

    A record lock belongs to the process alone: it ends with it, however it ends, and forked
    workers do not prolong it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # others: a file system without locks
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def remove_log_file(handler: Optional[logging.Handler]) -> None:
    """Undo `add_log_file`: close the file and stop writing to it."""
    if handler is not None:
        get_logger().removeHandler(handler)
        handler.close()


def progress_bar(total: Optional[int] = None, desc: str = "", unit: str = "it", initial: int = 0):
    """A tqdm bar on standard error, switched off where that is no terminal or the rank is not 0."""
    hidden = process_rank() != 0 or not sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=desc,
        unit=unit,
        initial=initial,
        disable=hidden,
        leave=False,
        file=sys.stderr,
        **({"dynamic_ncols": True} if hidden or _knows_its_width() else {"ncols": 80, "nrows": 24}),
    )


def _knows_its_width() -> bool:
    """False on the terminals of some containers, which say 0 columns: bars would be empty."""
    return os.get_terminal_size(sys.stderr.fileno()).columns > 0
