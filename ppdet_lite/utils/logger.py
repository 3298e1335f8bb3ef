"""One logger for the whole package: plain lines on the terminal and, when asked for, in a file.

A line may have a shorter form for the terminal (`log_in_full`); the file gets all of it. Only rank
0 of a multi-process run prints. Progress bars appear on a terminal only; in a log file or a pipe
there are plain lines. Lines printed while a bar is on screen go above it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from typing import Any, NoReturn, Optional

from tqdm import tqdm

from ppdet_lite.utils.files import lock_file

_NAME = "ppdet_lite"
_FORMAT = "[%(asctime)s] %(levelname)s: %(message)s"
_DATE = "%m/%d %H:%M:%S"
_SHORT = "short"  # attribute of a record: its form on the terminal

COLUMNS = 100
"""Width of the longest line of progress."""
PREFIX = len("[23:59:59] ")
"""Columns of it that the time takes."""


class _TerminalHandler(logging.Handler):
    """Writes to the current standard error (looked up at each line), above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        short = getattr(record, _SHORT, None)
        if short == "":
            return
        line = self.format(record)
        if short is not None:
            line = f"[{time.strftime('%H:%M:%S', time.localtime(record.created))}] {short}"
        with contextlib.suppress(OSError):  # a full disk or a closed pipe, and nowhere to say it
            tqdm.write(line, file=sys.stderr)
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


def log_in_full(text: str, short: str) -> None:
    """Logs `text`; the terminal prints `short` in its place, and nothing where that is ""."""
    get_logger().info(text, extra={_SHORT: short})


class _LogFile(logging.FileHandler):
    """Goes on without the lines that cannot be written, on a full disk for instance."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._said:
            self._said = True
            text = "%s: cannot be written (%s); lines are lost there"
            get_logger().warning(text, self.baseFilename, error.strerror)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # reported by handleError
            super().close()


class FileInUse(Exception):
    """Another process holds the log file."""


def add_log_file(path: str, exclusive: bool = False) -> Optional[logging.Handler]:
    """Appends every line to `path` as well, on rank 0; returns the handler for `remove_log_file`.

    Args:
        exclusive: hold the file locked until `remove_log_file` or the end of the process.

    Raises:
        FileInUse: another process holds it.
        OSError: it cannot be written.
    """
    if process_rank() != 0:
        return None
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    if exclusive and not lock_file(handler.stream, wait=False, inherited=False):
        handler.close()
        raise FileInUse(path)
    handler.setFormatter(logging.Formatter(_FORMAT, _DATE))
    get_logger().addHandler(handler)
    return handler


def remove_log_file(handler: Optional[logging.Handler]) -> None:
    """Undoes `add_log_file`: closes the file and stops writing to it."""
    if handler is not None:
        get_logger().removeHandler(handler)
        handler.close()


def progress_bar(
    total: Optional[int] = None, desc: str = "", unit: str = "it", initial: int = 0
) -> tqdm[NoReturn]:
    """A tqdm bar on standard error, switched off where that is no terminal or the rank is not 0."""
    hidden = process_rank() != 0 or not sys.stderr.isatty()
    # Some containers' terminals say that they have 0 columns, which would make empty bars.
    knows_width = hidden or os.get_terminal_size(sys.stderr.fileno()).columns > 0
    size: dict[str, Any] = {"dynamic_ncols": True} if knows_width else {"ncols": 80, "nrows": 24}
    options = {"desc": desc, "unit": unit, "initial": initial, "disable": hidden, **size}
    options["unit_scale"] = unit == "B"  # bytes as 12.3 MB
    return tqdm(total=total, leave=False, file=sys.stderr, **options)
