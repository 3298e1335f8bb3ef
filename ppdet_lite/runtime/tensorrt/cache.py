"""Folders of built TensorRT engines: one for each set of things that an engine depends on, and one
process at a time that writes into it."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any, Iterator, Optional

from ppdet_lite.core.errors import UserError
from ppdet_lite.utils.file_lock import lock_file

ABOUT_FILE = "about.json"
LOCK_FILE = "lock"


def make_folder(parent: Path, name: str, about: dict[str, Any]) -> Path:
    """`<parent>/<name>-<hash of about>`, with `about` in it as a file."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder = parent / f"{name}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"`cache_dir` {parent}: cannot be written ({error.strerror}); give a folder that can"
        ) from error
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder; waits for one that is at work in it."""
    with open(folder / LOCK_FILE, "a") as file:  # closing it ends the lock
        if not lock_file(file, wait=False):
            print(f"TensorRT: waiting for another run that is building engines in {folder}")
            lock_file(file)
        yield


def digest_of_files(*paths: Optional[Path]) -> str:
    """A hash of the content of files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in filter(None, paths):
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 22), b""):
                digest.update(block)
    return digest.hexdigest()
