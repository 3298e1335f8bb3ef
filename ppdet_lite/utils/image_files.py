"""Finding images in folders."""

import os
from collections import Counter
from pathlib import Path
from typing import Optional, Union

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.logger import get_logger

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".avif", ".jp2", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".hdr", ".pic", ".sr", ".ras"),
)
"""File name endings that count as images when a folder is walked, in upper and lower case: those of
the formats that `data.pixels.headers` knows."""

_LABELS = ("", ".txt", ".xml", ".json", ".yaml", ".yml", ".csv", ".md", ".names", ".cache", ".npy")


def is_image(name: Union[str, "os.PathLike[str]"]) -> bool:
    """True if the name ends like an image's."""
    return os.path.splitext(os.fspath(name))[1].lower() in IMAGE_SUFFIXES


def list_images(
    folder: Union[str, Path], skip: Optional[Union[str, Path]] = None, option: str = ""
) -> list[Path]:
    """All images below `folder`, see `find_images`; a line of the log tells what is left out.
    Errors name the parameter `option`, if given."""
    try:
        images, remark = find_images(folder, skip)
    except DataError as error:
        raise DataError(f"`{option}` {error}" if option else str(error)) from error
    if remark:
        get_logger().info("%s: %s", folder, remark)
    return images


def find_images(
    folder: Union[str, Path], skip: Optional[Union[str, Path]] = None
) -> tuple[list[Path], str]:
    """All images below `folder`, in a stable order: those of a folder before those of its folders.

    Folders are followed through links, once. Files with another ending, hidden files and folders,
    and the folder `skip` (results of an earlier run) are left out.

    Returns:
        The images; a remark with number and endings of the other files, but labels and hidden ones.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {reason}")
    seen = {os.path.realpath(path) for path in (folder, skip) if path}

    found: list[Path] = []
    others: Counter[str] = Counter()
    for here, folders, files in os.walk(folder, followlinks=True):
        for name in sorted(name for name in files if name[0] != "."):
            if is_image(name):
                found.append(Path(here, name))
            else:
                others[os.path.splitext(name)[1].lower()] += 1
        inside = {name: os.path.realpath(os.path.join(here, name)) for name in sorted(folders)}
        folders.clear()
        for name, real in inside.items():
            if name[0] != "." and real not in seen:
                seen.add(real)
                folders.append(name)
    counts = [f"{count} {ending}" for ending, count in others.items() if ending not in _LABELS]
    remark = f"files left out, no images by their endings: {', '.join(counts)}" if counts else ""
    if not found:
        endings = " ".join(IMAGE_SUFFIXES)
        raise DataError(
            f"{folder}: no images in this folder or below it (looked for {endings})"
            + (f"; {remark}" if remark else "")
        )
    return found, remark
