"""COCO annotations that describe videos: the order of their frames, and where the frames are."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from ppdet_lite.core.errors import DataError

KEYS = (("sid", "fid"), ("video_id", "frame_id"), ("video_id", "frame_index"))
"""Keys of an image for its sequence and its place there; the first are those of Argoverse-HD."""


def read_sequences(path: Path) -> list[list[int]]:
    """Image ids of each sequence, in the order of the frames.

    Images without one of `KEYS` are one sequence, in the order of the file.

    Raises:
        DataError: the file cannot be read, or only some of its images have such keys.
    """
    images = _read(path)["images"]
    for sequence, frame in KEYS:
        having = [image for image in images if sequence in image and frame in image]
        if not having:
            continue
        if len(having) < len(images):
            number = next(i for i, image in enumerate(images) if image not in having)
            raise DataError(
                f"{path}: images.{number}: found no {sequence} or no {frame}, which others have"
            )
        try:
            order = sorted(having, key=lambda image: (str(image[sequence]), float(image[frame])))
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: images: {frame}: found {error}, allowed: numbers") from error
        found: dict[str, list[int]] = {}
        for image in order:
            found.setdefault(str(image[sequence]), []).append(int(image["id"]))
        return list(found.values())
    return [[int(image["id"]) for image in images]]


@contextlib.contextmanager
def with_file_names(path: Path) -> Iterator[Path]:
    """The annotation file, or a copy for a while whose images have a `file_name`: Argoverse-HD's
    have a `name` in the folder `seq_dirs[sid]`."""
    content = _read(path)
    if all("file_name" in image for image in content["images"]):
        yield path
        return
    for image in content["images"]:
        image["file_name"] = _file_of(content, image) or image.get("file_name")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_text(json.dumps(content), encoding="utf-8")
        yield copy


def find_image_dir(path: Path) -> Path:
    """The folder that the images' names start from: that of the annotations, the one above, or one
    in either of them, whichever holds the first image.

    Raises:
        DataError: none of them does.
    """
    content = _read(path)
    name = _file_of(content, content["images"][0]) if content["images"] else None
    homes = [path.resolve().parent, path.resolve().parent.parent]
    inside = [Path(entry) for home in homes for entry in sorted(os.scandir(home), key=_by_name)]
    for folder in [*homes, *inside]:
        if name and (folder / name).is_file():
            return folder
    raise DataError(f"{path}: found no image {name} near it; state `image_dir`")


def _by_name(entry: "os.DirEntry[str]") -> str:
    return entry.name


def _file_of(content: dict[str, Any], image: dict[str, Any]) -> Optional[str]:
    """The path of an image below the folder of all, None if it is not told."""
    if isinstance(image.get("file_name"), str):
        return str(image["file_name"])
    folders, sid, name = content.get("seq_dirs"), image.get("sid"), image.get("name")
    if isinstance(folders, list) and type(sid) is int and 0 <= sid < len(folders) and name:
        return str(Path(str(folders[sid]), str(name)))
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({str(error)[:200]})") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise DataError(f"{path}: images: found no list of images, allowed: COCO annotations")
    for number, image in enumerate(images):
        if type(image.get("id")) is not int:
            found = str(image.get("id"))[:100]
            raise DataError(f"{path}: images.{number}.id: found {found}, allowed: a whole number")
    return dict(content)
