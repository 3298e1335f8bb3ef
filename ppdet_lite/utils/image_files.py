"""The images to work on."""

import os
from pathlib import Path
from typing import Optional, Union

from ppdet_lite.core.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""File name endings that count as images when a folder is walked."""


def list_images(folder: Union[str, Path], skip: Optional[Union[str, Path]] = None) -> list[Path]:
    """All images below `folder`, sub-folders included, in a stable order.

    Files with another ending, hidden files and folders, and the folder `skip` (results of an
    earlier run) are left out.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {reason}")
    skipped = Path(skip).resolve() if skip else None
    found = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name for name in folders if name[0] != "." and (here / name).resolve() != skipped
        )
        names = (n for n in files if n[0] != "." and n.lower().endswith(IMAGE_SUFFIXES))
        found.extend(here / name for name in sorted(names))
    if not found:
        endings = " ".join(IMAGE_SUFFIXES)
        raise DataError(f"{folder}: no images in this folder or below it (looked for {endings})")
    return found
