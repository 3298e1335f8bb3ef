"""A small labeled detection set, so that a first training run needs no download: COCO's layout,

annotations/train.json  annotations/val.json  train/00000.jpg ...  val/00000.jpg ...

The scenes are vivid shapes over muted grounds. Overlaps, objects cut by the border and images
without objects occur. Each kind has a typical hue with a wide spread. The box of an object is the
bounds of its outline inside the image, whether or not another object covers a part of it.
"""

import json
import os
import shutil
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.synthetic import shapes
from ppdet_lite.utils.files import PathLike

FORMAT_VERSION = 2
"""Raised whenever the same settings would give other images."""

NEGATIVE_SHARE = 0.05
MIN_OBJECTS, MAX_OBJECTS = 2, 9
DIAMETER_RANGE = (0.12, 0.5)  # as a share of the image side; drawn evenly on a log scale
MIN_INSIDE = 0.65  # share of an object's area within the image
MIN_VISIBLE = 0.65  # share of an object's pixels that later objects leave uncovered

_SPLITS = ("train", "val")
_ALLOWED = {"train": (1, 10**6), "val": (1, 10**6), "size": (64, 2048), "seed": (0, 2**63 - 1)}


def make_demo_data(
    output: PathLike,
    *,
    train: int = 500,
    val: int = 100,
    size: int = 160,
    seed: int = 0,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Draws the set; returns its folder. A set of the same settings that is there is kept.

    Args:
        output: folder to make; it appears when all is in it.
        train, val: number of images, `size` x `size` pixels.
        overwrite: replace a folder that is already there and holds a demo set.
        say: receives the lines of the report.

    Raises:
        DataError: unusable numbers, or `output` is taken by something else.
    """
    output = Path(os.path.normpath(output))
    if output.name in ("", ".."):
        raise DataError(f"`output`: found '{output}', allowed: the path of a new folder")
    # All that decides about the bytes: it is written into the set and found there again.
    settings = {"format": FORMAT_VERSION, "train": train, "val": val, "size": size, "seed": seed}
    for key, (low, high) in _ALLOWED.items():
        if not low <= settings[key] <= high:
            raise DataError(f"`{key}`: found {settings[key]}, allowed: {low} to {high}")
    if _is_there(output, settings, overwrite):
        say(f"{output}: this demo set is already there ({train} train, {val} val images)")
        return output
    with _appearing_whole(output) as folder:
        (folder / "annotations").mkdir()
        for split in _SPLITS:
            coco = _write_split(folder / split, split, settings)
            (folder / "annotations" / f"{split}.json").write_text(json.dumps(coco), "utf-8")
            say(_describe(split, coco))
    say(f"demo set: {output}")
    return output


@contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `folder` at the end; after an error
    nothing of it stays.

    Raises:
        DataError: it cannot be written.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(partial, folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot write the demo set: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_there(output: Path, settings: dict[str, int], overwrite: bool) -> bool:
    """True if `output` already holds this set; a DataError if it holds something else."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    try:
        text = (output / "annotations" / "val.json").read_text("utf-8")
        found = dict(json.loads(text)["info"]["demo_settings"])
    except (OSError, ValueError, KeyError, TypeError):
        hint = "choose another folder for `output`"
        raise DataError(f"{output} exists and is no demo set; {hint}") from None
    if overwrite or found == settings:
        return not overwrite
    pairs = [(key, found.get(key), value) for key, value in settings.items()]
    others = ", ".join(f"{key} {was} instead of {now}" for key, was, now in pairs if was != now)
    raise DataError(
        f"{output} holds a demo set with other settings ({others}); set `overwrite` to replace "
        "it, or choose another folder for `output`"
    )


def _write_split(image_dir: Path, split: str, settings: dict[str, int]) -> dict[str, Any]:
    """Draws and writes the images of one split; returns its COCO dict."""
    image_dir.mkdir()
    kinds, side = list(shapes.OUTLINES), settings["size"]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(settings[split]):
        rng = np.random.default_rng([settings["seed"], _SPLITS.index(split), index])
        image, objects = draw_scene(rng, side)
        file_name = f"{index:05d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(85, 96))]
        _, data = cv2.imencode(".jpg", image[..., ::-1], quality)
        (image_dir / file_name).write_bytes(data.tobytes())
        images.append({"id": index + 1, "file_name": file_name, "width": side, "height": side})
        for item in objects:
            item = {"id": len(annotations) + 1, "image_id": index + 1, **item}
            item["category_id"] = kinds.index(item.pop("kind")) + 1
            annotations.append(item)
    categories = [{"id": i + 1, "name": kind} for i, kind in enumerate(kinds)]
    info = {"description": "shapes drawn by program", "demo_settings": settings}
    parts = {"images": images, "annotations": annotations, "categories": categories}
    return {"info": info, **parts}


def _describe(split: str, coco: dict[str, Any]) -> str:
    images, items = coco["images"], coco["annotations"]
    counts = Counter(item["category_id"] for item in items)
    per_kind = ", ".join(f"{counts[c['id']]} {c['name']}" for c in coco["categories"])
    found = f"{len(images) - len({item['image_id'] for item in items})} without objects"
    return f"{split}: {len(images)} images ({found}), {len(items)} objects: {per_kind}"


class _Object(NamedTuple):
    kind: str
    diameter: float
    contours: list[np.ndarray]


def draw_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One image of `size` x `size` pixels with its labels; all choices come from `rng`.

    Returns:
        uint8 [size, size, 3] RGB, and a list of dicts with `kind`, `bbox` (x, y, width, height in
        pixels), `area`, `segmentation` (the outline inside the image) and `iscrowd` 0.
    """
    canvas = shapes.background(rng, size)
    wanted = 0 if rng.random() < NEGATIVE_SHARE else int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    owner = np.full((size, size), -1, np.int32)  # which object shows at each pixel
    solid_areas: list[int] = []
    labels: list[dict[str, Any]] = []
    for _ in range(wanted):
        item = _free_place(rng, size, owner, solid_areas)
        if item is None:
            continue
        alpha = shapes.coverage(item.contours, size, size)
        solid = alpha > 0.5
        owner[solid] = len(labels)
        solid_areas.append(int(solid.sum()))
        _paint(rng, canvas, alpha, item)
        labels.append(_label(item, size))
    return shapes.camera(rng, canvas), labels


def _free_place(
    rng: np.random.Generator, size: int, owner: np.ndarray, solid_areas: list[int]
) -> Optional[_Object]:
    """A random object that leaves enough visible of itself and of those drawn before; None when
    thirty tries found no place.
    """
    low, high = np.log(DIAMETER_RANGE)
    for _ in range(30):
        kind = str(rng.choice(list(shapes.OUTLINES)))
        diameter = size * float(np.exp(rng.uniform(low, high)))
        center, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        contours = shapes.place(shapes.OUTLINES[kind](rng), center, diameter, angle)
        inside = shapes.clip_polygon(contours[0], size, size)
        if shapes.polygon_area(inside) < MIN_INSIDE * shapes.polygon_area(contours[0]):
            continue
        free = owner[shapes.coverage(contours, size, size) <= 0.5]
        visible = np.bincount(free[free >= 0], minlength=len(solid_areas))
        if all(shown >= MIN_VISIBLE * area for shown, area in zip(visible, solid_areas)):
            return _Object(kind, diameter, contours)
    return None


def _paint(rng: np.random.Generator, canvas: np.ndarray, alpha: np.ndarray, item: _Object) -> None:
    """Draws one object into the canvas, in place: surface, sometimes a dark or light rim."""
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    under, alpha = canvas[window], alpha[window]
    color = shapes.object_color(rng, item.kind)
    surface = shapes.fill(rng, color, alpha.shape[:2], item.diameter)
    if rng.random() < 0.35:
        width = max(3, int(item.diameter * rng.uniform(0.06, 0.12)) | 1)
        inner = cv2.erode(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
        rim = color * rng.choice([0.35, 0.55, 1.5])
        surface = surface * inner[..., None] + rim * (1 - inner[..., None])
    surface = np.clip(surface, 0, 255)
    canvas[window] = under * (1 - alpha[..., None]) + surface * alpha[..., None]


def _label(item: _Object, size: int) -> dict[str, Any]:
    """COCO fields of an object; a ring's segmentation is its outer outline."""
    outline = np.round(shapes.clip_polygon(item.contours[0], size, size), 2)
    left, top = outline.min(axis=0)
    width, height = outline.max(axis=0) - (left, top)
    return {
        "kind": item.kind,
        "bbox": [round(float(v), 2) for v in (left, top, width, height)],
        "area": round(shapes.polygon_area(outline), 2),
        "segmentation": [[float(v) for v in outline.ravel()]],
        "iscrowd": 0,
    }
