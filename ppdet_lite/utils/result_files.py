"""The files around detections: which images are read, and what is written for them.

Detections are rows [M, 6] of (class index, score, x1, y1, x2, y2) in pixels of the image.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Iterable, Optional, Sequence, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError, ImageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""File name endings that count as images when a folder is walked."""


RESULTS_FILE = "bbox.json"
"""Name of the file with all detections of a run."""


# ------------------------------------------------------------------------------------------- rows
def class_name(class_names: Sequence[str], class_id: int) -> str:
    """Name of a class index; "class 7" where the list has no such entry."""
    if 0 <= class_id < len(class_names):
        return str(class_names[class_id])
    return f"class {class_id}"


def confident_rows(bbox: np.ndarray, threshold: float) -> np.ndarray:
    """Rows of `bbox` [M, 6] with a score of at least `threshold`, the highest first; float64, a
    copy."""
    rows = np.array(bbox, np.float64).reshape(-1, 6)
    rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 1] >= threshold)]
    return rows[np.argsort(-rows[:, 1], kind="stable")]


# ------------------------------------------------------------------------------------- result files
def detection_records(
    bbox: np.ndarray, class_names: Sequence[str], threshold: float = 0.0
) -> list[dict]:
    """Detections as plain dicts: class_id, class_name, score, box [x1, y1, x2, y2] in pixels; best
    score first."""
    return [
        {
            "class_id": int(row[0]),
            "class_name": class_name(class_names, int(row[0])),
            "score": round(float(row[1]), 6),
            "box": [round(float(value), 3) for value in row[2:]],
        }
        for row in confident_rows(bbox, threshold)
    ]


def coco_records(
    bbox: np.ndarray,
    image_id: int,
    file_name: str,
    threshold: float = 0.0,
    category_ids: Optional[Sequence[int]] = None,
) -> list[dict]:
    """Detections in the COCO results format (bbox = x, y, width, height), with the file name
    beside.

    `category_ids` gives the category of each class index; without it the class index itself is
    written.

    Raises:
        ConfigError: a class index beyond `category_ids`.
    """
    return [
        {
            "image_id": image_id,
            "file_name": file_name,
            "category_id": _category(int(row[0]), category_ids),
            "bbox": [
                round(float(v), 3) for v in (row[2], row[3], row[4] - row[2], row[5] - row[3])
            ],
            "score": round(float(row[1]), 6),
        }
        for row in confident_rows(bbox, threshold)
    ]


def _category(class_id: int, category_ids: Optional[Sequence[int]]) -> int:
    """The category of a class index."""
    if category_ids is None:
        return class_id
    if not 0 <= class_id < len(category_ids):
        raise ConfigError(
            f"category_ids: {len(category_ids)} entries, but the network found class {class_id}"
        )
    return int(category_ids[class_id])


def result_suffix(image: Path) -> str:
    """The ending of an image's drawn result: its own, or .jpg where OpenCV cannot write that."""
    ending = image.suffix.lower()
    if ending in IMAGE_SUFFIXES and cv2.haveImageWriter(f"x{ending}"):
        return image.suffix
    return ".jpg"


def write_image(path: Union[str, Path], image_rgb: np.ndarray) -> None:
    """Write uint8 RGB in the format of the file name's ending, replacing a file that is there at
    once.

    Raises:
        ImageError: the format is not known or the file cannot be written.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(path.suffix, image_rgb[:, :, ::-1], options)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be encoded ({' '.join(str(error).split())})") from error
    if not done:
        raise ImageError(f"{path}: cannot be encoded as {path.suffix}")
    _replace_file(path, data.tobytes())


def write_json(path: Union[str, Path], content) -> None:
    """Write `content` as JSON; a reader never sees half a file.

    Bytes of a file name that are not UTF-8 are written as JSON's escapes ("\\udcfc" for 0xfc), from
    which Python's json module makes the same name again.
    """
    text = json.dumps(content, ensure_ascii=False, indent=1)
    _replace_file(Path(path), (text + "\n").encode("utf-8", "backslashreplace"))


def check_utf8(name: Union[str, Path], user: str) -> None:
    """Refuses a file name with bytes that are not UTF-8, with which some libraries crash.

    Args:
        user: which library cannot take it, for the message.

    Raises:
        DataError: names the file; what is no UTF-8 stands as `\\xfc`.
    """
    try:
        str(name).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise DataError(
            f"{shown}: the name is not UTF-8 and {user} cannot take it; rename it"
        ) from error


def _replace_file(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another run may write it as well
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException as error:  # Ctrl-C too leaves nothing behind
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        raise ImageError(f"{path}: cannot be written ({error.strerror})") from error


# ----------------------------------------------------------------------------------- input images
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


def output_stems(images: Iterable[Path], root: Optional[Path], output_dir: Path) -> list[Path]:
    """Where the results of each image go, without ending: sub-folders of `root` are kept, equal
    stems kept apart.

    `a/x.jpg` becomes `<output_dir>/a/x`; a second `a/x.png` becomes `<output_dir>/a/x_png`, a
    further one gets a number. `bbox.json` is the file of all detections, so an image of that name
    is kept apart from it in the same way.

    Raises:
        DataError: a result would be written over the image itself.
    """
    stems, used = [], {str(Path(output_dir) / Path(RESULTS_FILE).stem).lower()}
    for image in images:
        relative = image.relative_to(root) if root else Path(image.name)
        stem = Path(output_dir) / relative.with_suffix("")
        if str(stem).lower() in used:
            stem = stem.with_name(f"{stem.name}_{relative.suffix[1:].lower() or 2}")
        base, count = stem, 2
        while str(stem).lower() in used:
            stem, count = base.with_name(f"{base.name}_{count}"), count + 1
        used.add(str(stem).lower())
        if stem.parent.resolve() == image.parent.resolve():
            raise DataError(
                f"{image}: its result would be written into the image's own folder "
                f"{stem.parent}; give another --output_dir"
            )
        stems.append(stem)
    return stems


def raise_unreadable(failures: Sequence[str], total: int) -> None:
    """One ImageError that names every image that could not be read; nothing for none."""
    if len(failures) == 1:
        raise ImageError(failures[0])
    if failures:
        listed = "".join(f"\n  - {failure}" for failure in failures)
        raise ImageError(f"{len(failures)} of {total} images cannot be read:{listed}")
