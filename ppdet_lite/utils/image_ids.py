"""Image ids of COCO results: those of the annotations, for the files that are in them."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.files import PathLike
from ppdet_lite.utils.logger import get_logger


def read_image_ids(path: PathLike) -> list[tuple[int, str]]:
    """Id and file name of the images of a COCO annotation file.

    Raises:
        DataError: it cannot be read, or an image has no whole number as id or no file name.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({str(error)[:200]})") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise DataError(f"{path}: images: found no such list, allowed: COCO annotations")
    found = []
    for number, image in enumerate(images):
        entry: dict[str, Any] = image if isinstance(image, dict) else {}
        image_id: Any = entry.get("id")
        name = entry.get("file_name")
        is_float = isinstance(image_id, float) and image_id.is_integer()
        if type(image_id) is not int and not is_float:
            text = f"found {str(image_id)[:100]!r}, allowed: a whole number"
            raise DataError(f"{path}: images.{number}.id: {text}")
        if not isinstance(name, str) or not name:
            text = f"found {str(name)[:100]!r}, allowed: text"
            raise DataError(f"{path}: images.{number}.file_name: {text}")
        found.append((int(image_id), name))
    return found


def match_image_ids(
    paths: Sequence[Path], images: Iterable[tuple[int, str]], source: str
) -> Optional[list[int]]:
    """The id of each path among annotated images; None if none is among them.

    A path that ends with a `file_name` has its id, and so has one of the same name in another
    folder if no other image or path has that name. Other paths get numbers above all ids, which a
    line of the log tells.

    Args:
        images: id and file name of the annotated images.
        source: name of the annotations for messages.

    Raises:
        DataError: two paths belong to one annotated image.
    """
    by_name = {_parts(Path(name)): image_id for image_id, name in images}
    bases = Counter(parts[-1] for parts in by_name if parts)
    unique = {parts[-1]: found for parts, found in by_name.items() if bases[parts[-1]] == 1}
    names = Counter(path.name for path in paths)
    found: dict[int, Path] = {}
    first = following = max(by_name.values(), default=-1) + 1
    ids = []
    for path in paths:
        parts = _parts(Path(os.path.abspath(path)))
        endings = (parts[start:] for start in range(len(parts)))
        image_id = next((by_name[end] for end in endings if end in by_name), None)
        if image_id is None and names[path.name] == 1:
            image_id = unique.get(path.name)
        if image_id is None:
            image_id = following
            following += 1
        elif image_id in found:
            both = f"{found[image_id]} and {path}"
            raise DataError(
                f"{source}: image_id {image_id}: found for {both}, allowed: one of them"
            )
        found[image_id] = path
        ids.append(image_id)
    if following - first == len(paths):
        return None
    if following > first:
        get_logger().info(
            "%s: %d of %d images are not in it; their image_id counts from %d",
            *(source, following - first, len(paths), first),
        )
    return ids


def _parts(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path.parts if part != ".")
