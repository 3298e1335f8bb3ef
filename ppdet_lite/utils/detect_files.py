"""Runs a detector over image files; writes an image with boxes and a JSON for each."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Generator, Iterable, NamedTuple, Optional, Sequence, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.utils.detection_rows import (
    RESULTS_FILE,
    Threshold,
    check_threshold,
    class_ids_of,
    class_name,
    coco_records,
    confident_rows,
    detection_records,
    rows_of_classes,
)
from ppdet_lite.utils.drawing import FULL_STYLE, DrawStyle, draw_detections
from ppdet_lite.utils.files import write_image, write_json
from ppdet_lite.utils.image_files import is_image
from ppdet_lite.utils.logger import get_logger, progress_bar

READABLE_SIDE = 320
"""Drawn images are enlarged by a whole factor until their longer side has so many pixels."""


CROP_FOLDER = "crops"

_MOST_BYTES = 100
"""Of the name of a folder; systems allow 255, less in some encodings."""

GRAY_SUFFIXES = (".pbm", ".pgm")
"""Endings of formats without color."""


class ResultOptions(NamedTuple):
    """Choices about what is written.

    Attributes:
        style: look of the drawn images.
        classes: names or numbers of the classes to keep, of which alone something is drawn or
            written; empty for all.
        crop: also write every object into `<output_dir>/crops/<class>`.
    """

    style: DrawStyle = FULL_STYLE
    classes: Sequence[str] = ()
    crop: bool = False


ALL_RESULTS = ResultOptions()


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
    *,
    output_dir: Union[str, Path],
    class_names: Sequence[str],
    threshold: Threshold,
    root: Optional[Path] = None,
    batch_size: int = 1,
    save_images: bool = True,
    save_results: bool = False,
    category_ids: Optional[Sequence[int]] = None,
    image_ids: Optional[Sequence[int]] = None,
    options: ResultOptions = ALL_RESULTS,
) -> dict[str, np.ndarray]:
    """Detects on images and writes the results; returns all detections [M, 6] by image path.

    Args:
        detect: uint8 RGB images, at most `batch_size`, to their detections [M, 6].
        decode: a path to a uint8 RGB image.
        threshold: lowest score that is drawn and written, of all classes or of each.
        root: the folder that the images lie in, whose sub-folders the results keep.
        save_images: draw; without it only the JSON is written.
        save_results: also write all detections, whatever their score, into
            `<output_dir>/bbox.json`, COCO results format; after Ctrl-C or an error those so far.
        category_ids: see `coco_records`.
        image_ids: of each path; by default its place in `paths`, from 0.
        options: classes that are left out, the look of the images, crops.

    Raises:
        ImageError: images that cannot be read, all named, after the others have been done.
    """
    check_threshold(threshold)
    class_ids = class_ids_of(options.classes, class_names)
    style = options.style if save_images else None
    crops = Path(output_dir) if options.crop else None
    stems = output_stems(paths, root, Path(output_dir))
    found: dict[str, np.ndarray] = {}
    records: list[dict[str, Any]] = []
    failures: list[str] = []  # the reasons why images cannot be read
    is_whole = False
    try:
        with closing(_batches(decode, paths, stems, batch_size, failures)) as batches:
            for batch in batches:
                for item, bbox in zip(batch, detect([item.image for item in batch])):
                    bbox = rows_of_classes(bbox, class_ids)
                    _save(item, bbox, class_names, threshold, style, crops)
                    name = str(item.path)
                    found[name] = bbox
                    if save_results:
                        image_id = image_ids[item.number] if image_ids else item.number
                        records += coco_records(bbox, image_id, name, category_ids=category_ids)
        is_whole = True
    finally:
        if save_results and (found or is_whole):
            _write_results(Path(output_dir) / RESULTS_FILE, records)
    _raise_failures(failures, len(paths))
    return found


def _write_results(path: Path, records: Sequence[dict[str, Any]]) -> None:
    write_json(path, records)
    get_logger().info("all detections written to %s", path)


def _raise_failures(failures: Sequence[str], count: int) -> None:
    if failures:
        several = f"{len(failures)} of {count} images cannot be read:"
        raise ImageError("\n  - ".join([several, *failures]) if failures[1:] else failures[0])


def _batches(
    decode: Callable[[Path], np.ndarray],
    paths: Sequence[Path],
    stems: Sequence[Path],
    size: int,
    failures: list[str],
) -> Generator[list[_Waiting], None, None]:
    """The images in batches; reasons why others cannot be read go into `failures`."""
    waiting: list[_Waiting] = []
    with progress_bar(total=len(paths), desc="detecting", unit="image") as bar:
        for number, (path, stem) in enumerate(zip(paths, stems)):
            try:
                waiting.append(_Waiting(number, path, stem, decode(path)))
            except ImageError as error:
                get_logger().error("%s", error)
                failures.append(str(error))
            if waiting and (len(waiting) == size or number == len(paths) - 1):
                yield waiting
                waiting = []
            bar.update(1)


def _save(
    item: _Waiting,
    bbox: np.ndarray,
    class_names: Sequence[str],
    threshold: Threshold,
    style: Optional[DrawStyle],
    crops: Optional[Path],
) -> None:
    """Writes the files of one image, and a line about them into the log. Without a style nothing is
    drawn, without the output folder `crops` no object is cut out.
    """
    if crops is not None:
        _save_crops(item, bbox, class_names, threshold, crops)
    lines = written = Path(f"{item.stem}.json")
    if style is not None:
        options: dict[str, Any] = {"min_side": READABLE_SIDE, "style": style}
        image = draw_detections(item.image, bbox, class_names, threshold, **options)
        written = Path(f"{item.stem}{result_suffix(item.path)}")
        write_image(written, image)
    height, width = item.image.shape[:2]
    found = detection_records(bbox, class_names, threshold)
    facts = {"image": str(item.path), "width": width, "height": height, "threshold": threshold}
    write_json(lines, {**facts, "detections": found})
    get_logger().info("%s: %d detections, written to %s", item.path, len(found), written)


def _save_crops(
    item: _Waiting,
    bbox: np.ndarray,
    class_names: Sequence[str],
    threshold: Threshold,
    output_dir: Path,
) -> None:
    """Writes every object as an image; those of an image are numbered, the best score first."""
    height, width = item.image.shape[:2]
    stem = item.stem.relative_to(output_dir)
    for number, row in enumerate(confident_rows(bbox, threshold), start=1):
        x1, y1 = np.floor(row[2:4]).clip(0).astype(int).tolist()
        x2, y2 = np.ceil(row[4:]).clip(0, (width, height)).astype(int).tolist()
        if x2 > x1 and y2 > y1:
            folder = output_dir / CROP_FOLDER / _folder_name(class_name(class_names, int(row[0])))
            write_image(folder / f"{stem}_{number}.jpg", item.image[y1:y2, x1:x2])


def _folder_name(name: str) -> str:
    """A class's name without letters that mean something in paths, and no longer than they may."""
    short = re.sub(r'[/\\:*?"<>|\0]', "_", name).encode()[:_MOST_BYTES].decode(errors="ignore")
    return short.strip(". ") or "class"


def result_suffix(image: Path) -> str:
    """The ending of an image's drawn result: its own, or .jpg where OpenCV cannot write that
    in color."""
    ending = image.suffix.lower()
    can_write = ending not in GRAY_SUFFIXES and cv2.haveImageWriter(f"x{ending}")
    return image.suffix if is_image(image) and can_write else ".jpg"


def output_stems(images: Iterable[Path], root: Optional[Path], output_dir: Path) -> list[Path]:
    """The paths, without ending, of the results of each image.

    `a/x.jpg` below `root` becomes `<output_dir>/a/x`; a second `a/x.png` becomes
    `<output_dir>/a/x_png`, a further one gets a number. An image called bbox is kept apart in the
    same way from `bbox.json`, the file of all detections.

    Raises:
        DataError: a result would be written over the image itself.
    """
    stems, used = [], {str(output_dir / Path(RESULTS_FILE).stem).lower()}
    for image in images:
        relative = image.relative_to(root) if root else Path(image.name)
        stem = output_dir / relative.with_suffix("")
        if str(stem).lower() in used:
            stem = stem.with_name(f"{stem.name}_{relative.suffix[1:].lower() or 2}")
        base, count = stem, 2
        while str(stem).lower() in used:
            stem, count = base.with_name(f"{base.name}_{count}"), count + 1
        used.add(str(stem).lower())
        if stem.parent.resolve() == image.parent.resolve():
            raise DataError(
                f"{image}: its result would be written into the image's own folder {stem.parent}; "
                "give another `output_dir`"
            )
        stems.append(stem)
    return stems
