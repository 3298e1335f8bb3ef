"""Runs a detector over image files; writes an image with boxes and a JSON for each."""

from pathlib import Path
from typing import Callable, Iterable, NamedTuple, Optional, Sequence, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError, ImageError
from ppdet_lite.utils.detection_rows import (
    RESULTS_FILE,
    coco_records,
    confident_rows,
    detection_records,
)
from ppdet_lite.utils.drawing import draw_detections
from ppdet_lite.utils.files import write_image, write_json
from ppdet_lite.utils.image_files import IMAGE_SUFFIXES
from ppdet_lite.utils.logger import get_logger, progress_bar

READABLE_SIDE = 320
"""Images whose longer side is below this are enlarged by a whole factor before they are drawn
into a result file."""


def result_suffix(image: Path) -> str:
    """The ending of an image's drawn result: its own, or .jpg where OpenCV cannot write that."""
    ending = image.suffix.lower()
    if ending in IMAGE_SUFFIXES and cv2.haveImageWriter(f"x{ending}"):
        return image.suffix
    return ".jpg"


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


def save_detections(
    stem: Union[str, Path],
    suffix: str,
    image_rgb: np.ndarray,
    bbox: np.ndarray,
    class_names: Sequence[str],
    threshold: float,
    source: str,
    image: bool = True,
) -> list[Path]:
    """Write `<stem><suffix>` (the image with its detections) and `<stem>.json` beside it; returns
    the paths."""
    json_path = Path(f"{stem}.json")
    height, width = image_rgb.shape[:2]
    content = {
        "image": source,
        "width": width,
        "height": height,
        "threshold": threshold,
        "detections": detection_records(bbox, class_names, threshold),
    }
    written = [json_path]
    if image:
        drawn = draw_detections(image_rgb, bbox, class_names, threshold, min_side=READABLE_SIDE)
        image_path = Path(f"{stem}{suffix}")
        write_image(image_path, drawn)
        written.insert(0, image_path)
    write_json(json_path, content)
    return written


class _Waiting(NamedTuple):
    """An image that waits for its detections; `number` is its place in the list of all."""

    number: int
    path: Path
    stem: Path
    image: np.ndarray


def detect_and_save(
    detect: Callable[[list[np.ndarray]], list[np.ndarray]],
    decode: Callable[[Path], np.ndarray],
    paths: Sequence[Path],
    root: Optional[Path],
    output_dir: Union[str, Path],
    class_names: Sequence[str],
    threshold: float,
    batch_size: int = 1,
    save_images: bool = True,
    save_results: bool = False,
    category_ids: Optional[Sequence[int]] = None,
) -> dict[str, np.ndarray]:
    """Detects on images and writes what was found: a drawn image and a JSON for each.

    Args:
        detect: uint8 RGB images, at most `batch_size`, to their detections [M, 6].
        decode: a path to a uint8 RGB image.
        paths, root: as `list_images` found them below `root`; None for single images.
        threshold: lowest score that is drawn and written.
        save_images: draw; without it only the JSON is written.
        save_results: also write all detections, whatever their score, into
            `<output_dir>/bbox.json`, COCO results format; after Ctrl-C or an error those so far.
            The image_id is the place in `paths`, from 0, whether others can be read or not.
        category_ids: as `coco_records` takes them.

    Returns:
        All detections [M, 6] by image path.

    Raises:
        ConfigError: a threshold that is not a score.
        ImageError: images that cannot be read, all named, after the others have been done.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold of the score: found {threshold}, allowed: 0 to 1")
    stems = output_stems(paths, root, Path(output_dir))
    waiting, done, failures, is_whole = [], [], [], False
    try:
        with progress_bar(total=len(paths), desc="detecting", unit="image") as bar:
            for number, (path, stem) in enumerate(zip(paths, stems)):
                try:
                    waiting.append(_Waiting(number, path, stem, decode(path)))
                except ImageError as error:
                    get_logger().error("%s", error)
                    failures.append(str(error))
                if waiting and (len(waiting) == batch_size or number == len(paths) - 1):
                    boxes = detect([item.image for item in waiting])
                    for item, bbox in zip(waiting, boxes):
                        _save(item, bbox, class_names, threshold, save_images)
                        done.append((bbox, item.number, str(item.path)))
                    waiting = []
                bar.update(1)
        is_whole = True
    finally:
        if save_results and (done or is_whole):
            _save_all(Path(output_dir) / RESULTS_FILE, done, category_ids)
    raise_unreadable(failures, len(paths))
    return {path: bbox for bbox, _, path in done}


def _save(
    item: _Waiting, bbox: np.ndarray, class_names: Sequence[str], threshold: float, draw: bool
) -> None:
    """The files of one image, and a line about them."""
    written = save_detections(
        item.stem,
        result_suffix(item.path),
        item.image,
        bbox,
        class_names,
        threshold,
        str(item.path),
        draw,
    )
    count = len(confident_rows(bbox, threshold))
    get_logger().info("%s: %d detections, written to %s", item.path, count, written[0])


def _save_all(path: Path, done: list[tuple], category_ids: Optional[Sequence[int]]) -> None:
    """The COCO results of all (detections, image_id, file name)."""
    records = []
    for bbox, number, name in done:
        records += coco_records(bbox, number, name, category_ids=category_ids)
    write_json(path, records)
    get_logger().info("all detections written to %s", path)
