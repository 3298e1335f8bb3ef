"""Finding images in folders."""

import os
from pathlib import Path
from typing import Optional, Union

from ppdet_lite.core.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""File name endings that count as images when a folder is walked, in upper and lower case."""


def is_image(name: Union[str, "os.PathLike[str]"]) -> bool:
    """True if the name ends like an image's."""
    return os.path.splitext(os.fspath(name))[1].lower() in IMAGE_SUFFIXES


def list_images(folder: Union[str, Path], skip: Optional[Union[str, Path]] = None) -> list[Path]:
    """All images below `folder`, in a stable order: those of a folder before those of its folders.

    Folders are followed through links, once. Files with another ending, hidden files and folders,
    and the folder `skip` (results of an earlier run) are left out.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {reason}")
    seen = {os.path.realpath(path) for path in (folder, skip) if path}

    found = []
    for here, folders, files in os.walk(folder, followlinks=True):
        found += [Path(here, name) for name in sorted(files) if name[0] != "." and is_image(name)]
        inside = {name: os.path.realpath(os.path.join(here, name)) for name in sorted(folders)}
        folders.clear()
        for name, real in inside.items():
            if name[0] != "." and real not in seen:
                seen.add(real)
                folders.append(name)
    if not found:
        endings = " ".join(IMAGE_SUFFIXES)
        raise DataError(f"{folder}: no images in this folder or below it (looked for {endings})")
    return found
