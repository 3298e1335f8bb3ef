"""COCO annotations that describe videos: the order of their frames, and where the frames are."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ppdet_lite.core.errors import DataError

KEYS = (("sid", "fid"), ("video_id", "frame_id"), ("video_id", "frame_index"))
"""Keys of an image for its sequence and its place there; the first are those of Argoverse-HD."""


class Frame(NamedTuple):
    """An image of a sequence, and the number of frames between the first one and it."""

    image_id: int
    number: float


def read_sequences(path: Path) -> list[list[int]]:
    """Image ids of each sequence, in the order of the frames, see `read_frames`."""
    return [[frame.image_id for frame in frames] for frames in read_frames(path)]


def read_frames(path: Path) -> list[list[Frame]]:
    """The frames of each sequence in their order.

    Images without one of `KEYS` are one sequence without gaps, in the order of the file.

    Raises:
        DataError: the file cannot be read, only some of its images have such keys, or two images of
            a sequence have the same frame.
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
        found: dict[str, dict[float, int]] = {}
        for number, image in enumerate(images):
            place = _number(path, f"images.{number}.{frame}", image[frame])
            taken = found.setdefault(str(image[sequence]), {}).setdefault(place, image["id"])
            if taken != image["id"]:
                raise DataError(
                    f"{path}: images.{number}.{frame}: found {image[frame]}, which image {taken} "
                    f"of {sequence} {image[sequence]} has, too"
                )
        return [
            [Frame(ids[place], place - min(ids)) for place in sorted(ids)]
            for _, ids in sorted(found.items())
        ]
    return [[Frame(image["id"], float(place)) for place, image in enumerate(images)]]


def _number(path: Path, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{path}: {key}: found {str(value)[:100]}, allowed: a number")
    return number


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
