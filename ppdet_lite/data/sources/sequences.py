"""The order of the frames of COCO annotations that describe videos."""

import json
from pathlib import Path
from typing import Any

from ppdet_lite.core.errors import DataError

KEYS = (("sid", "fid"), ("video_id", "frame_id"), ("video_id", "frame_index"))
"""Keys of an image for its sequence and its place there; the first are those of Argoverse-HD."""


def read_sequences(path: Path) -> list[list[int]]:
    """Image ids of each sequence, in the order of the frames.

    Images without one of `KEYS` are one sequence, in the order of the file.

    Raises:
        DataError: the file cannot be read, or only some of its images have such keys.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({str(error)[:200]})") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise DataError(f"{path}: images: found no list of images, allowed: COCO annotations")
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
