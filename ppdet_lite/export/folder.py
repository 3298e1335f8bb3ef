"""The folder of an export: room on the disk, and new files in the place of old ones in one step."""

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np
from paddle import nn

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.formats.format import Format, exported_files
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.utils.files import is_within
from ppdet_lite.utils.logger import get_logger

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

GRAPH_BYTES = 4 * 2**20
"""Room for all of an export but its weights."""


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Context of steps that only write to `target` or beside it; makes an OSError a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error


def check_apart(option: str, target: Path, export: Path) -> None:
    """Raises a UserError, which names the parameter `option`, where `target` is a file, or is,
    holds or lies in the folder of an export."""
    if target.exists() and not target.is_dir():
        raise UserError(f"`{option}` {target}: found a file, allowed: a folder")
    if is_within(target, export) or is_within(export, target):
        raise UserError(
            f"`{option}` {target}: found the export {export} there, allowed: a folder apart from it"
        )


@contextlib.contextmanager
def part_beside(target: Path, step: Callable) -> Iterator[Path]:
    """Context with a new hidden folder beside `target`, which is removed at its end unless it got
    the place of `target` before. Those of runs that were killed are removed, too. `step()` is a
    context that holds signals back. Raises a UserError if nothing can be written there."""
    stack = contextlib.ExitStack()
    try:
        with writing(target), step():
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target.parent):
                _remove_left_parts(target)
                part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
                stack.enter_context(_locked(part))
                stack.callback(shutil.rmtree, part, ignore_errors=True)
        yield part
    finally:
        with step():
            stack.close()


def _remove_left_parts(target: Path) -> None:
    """Removes hidden folders of runs that are gone: a living one holds a lock on its own.

    A folder with anything but files of an export stays; it may hold what is the user's.
    """
    name = re.compile(re.escape(f".{target.name}.") + "[a-z0-9_]{8}")  # as tempfile writes it
    files = exported_files()
    for folder in target.parent.iterdir():
        if not name.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        with _locked(folder, wait=False) as is_mine:
            # Formats may have folders of their own, made by tempfile, on the way.
            if is_mine and all(
                path.name in files or (path.is_dir() and path.name.startswith("tmp"))
                for path in folder.iterdir()
            ):
                get_logger().info("removing %s, which an earlier run left behind", folder)
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Context in which no other process has a lock on `folder`; gives False where it has one and
    `wait` is False, and where there are no locks."""
    with contextlib.ExitStack() as stack:
        is_mine = False
        with contextlib.suppress(OSError):  # another user's, taken, or no locks on this disk
            if fcntl is not None:
                handle = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                is_mine = True
        yield is_mine


def check_room(
    network: nn.Layer, folder: Path, options: ExportOptions, formats: Sequence[Format]
) -> None:
    """Raises a UserError where the disk has too little room: Paddle writes a cut file without a
    word when it gets full."""
    tensors = network.state_dict().values()
    weights = sum(int(np.prod(tensor.shape)) * tensor.element_size() for tensor in tensors)
    copies = sum(form.copies(network, options) for form in formats)
    needed, free = copies * (weights + GRAPH_BYTES), shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: the export needs about {needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB "
            "are free; make room or choose another `output_dir`"
        )


def move_into_place(part: Path, target: Path) -> None:
    """Makes `part` the folder `target`; files of an earlier export go, other files there stay.

    The earlier folder is renamed, and taken apart only when the new one has its name. If that
    fails, it gets its name back. Of exports at the same time the last one stays.

    Raises:
        OSError: the folder cannot be written.
        UserError: the new folder is there, but other files could not be moved into it.
    """
    part.chmod(0o755)  # temporary folders are private, an export is not
    with _locked(target.parent):
        if not target.exists():
            os.rename(part, target)
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        earlier = aside / target.name
        try:
            os.rename(target, earlier)
            os.rename(part, target)
        except BaseException:
            if earlier.exists():
                os.rename(earlier, target)
            aside.rmdir()
            raise
        # If this fails, the earlier folder stays, and the message names it: it is a hidden one.
        where = f"your own files that were not moved lie in {earlier}"
        try:
            for path in earlier.iterdir():
                if path.name not in exported_files():
                    os.replace(path, target / path.name)
        except OSError as error:
            raise UserError(
                f"{target}: holds the new export, but not all other files of the earlier folder "
                f"could be moved into it ({error.strerror or error}); {where}"
            ) from error
        except KeyboardInterrupt:
            get_logger().warning("%s: interrupted; %s", target, where)
            raise
        shutil.rmtree(aside, ignore_errors=True)
