"""A small labeled detection set drawn by program, so that a first training run needs no download.

Vivid circles, squares, triangles, stars and rings over muted gradients, clouds, stripes, blobs and
grain: any angle and surface, sizes from an eighth to half of the image, overlaps, objects cut by
the border, and images without objects. Each kind has a typical hue with a wide spread, as things
in the world have. The layout is COCO's:

    annotations/train.json  annotations/val.json  train/00000.jpg ...  val/00000.jpg ...

The box of an object is the bounds of its outline inside the image, whether or not another object
lies over a part of it.
"""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, Optional, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.synthetic import shapes

FORMAT_VERSION = 2
"""Raised whenever the same settings would give other images."""

NEGATIVE_SHARE = 0.05
MIN_OBJECTS, MAX_OBJECTS = 2, 9
DIAMETER_RANGE = (0.12, 0.5)
"""Smallest and largest object as a share of the image side; drawn evenly on a log scale."""
MIN_INSIDE = 0.65
"""At least this share of an object's area lies within the image."""
MIN_VISIBLE = 0.65
"""At least this share of an object's pixels stays uncovered by later objects."""

_SPLITS = ("train", "val")


def make_demo_data(
    output: Union[str, os.PathLike],
    train: int = 500,
    val: int = 100,
    size: int = 160,
    seed: int = 0,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Draws the set into the folder `output`.

    The files are written into `<output>.partial`, which gets its name when all is there: a run that
    is killed leaves no half set. A set of the same settings that is already there is kept.

    Args:
        output: folder to make.
        train, val: number of images.
        size: side of the square images in pixels.
        seed: the same seed gives the same set.
        overwrite: replace a folder that is already there and holds a demo set.
        say: receives the lines of the report.

    Returns:
        The folder.

    Raises:
        DataError: unusable numbers, or `output` is taken by something else.
    """
    settings = _checked_settings(train, val, size, seed)
    output = Path(output)
    if _is_there(output, settings, overwrite):
        say(f"{output}: this demo set is already there ({train} train, {val} val images)")
        return output
    with _appearing_whole(output) as folder:
        (folder / "annotations").mkdir()
        for split in _SPLITS:
            (folder / split).mkdir()
            coco = _write_split(folder / split, split, settings)
            text = json.dumps(coco)
            (folder / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")
            say(_describe(split, coco))
    say(f"demo set: {output}")
    return output


def _checked_settings(train: int, val: int, size: int, seed: int) -> dict:
    """All that decides about the bytes of a set: it is written into the set and found there again.

    Raises:
        DataError: unusable numbers.
    """
    if train < 1 or val < 1:
        raise DataError(f"train={train}, val={val}: both need at least one image")
    if seed < 0:
        raise DataError(f"seed={seed}: allowed are 0 and up")
    if not 64 <= size <= 2048:
        raise DataError(f"size={size}: allowed are 64 to 2048 pixels")
    return {"format": FORMAT_VERSION, "train": train, "val": val, "size": size, "seed": seed}


@contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """An empty `<folder>.partial` to write into, which takes the place and the name of `folder` at
    the end; when the writing ends early nothing of it stays, and `folder` is as it was.

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


def _is_there(output: Path, settings: dict, overwrite: bool) -> bool:
    """Whether `output` already holds the set with these settings.

    Raises:
        DataError: it holds something that must not be replaced.
    """
    if not output.exists():
        return False
    found = _settings_of(output)
    if found is None and not (output.is_dir() and not any(output.iterdir())):
        raise DataError(f"{output} exists and is no demo set; choose another folder for `output`")
    if found == settings and not overwrite:
        return True
    if found is not None and not overwrite:
        differing = ", ".join(
            f"{key} {found.get(key)} instead of {value}"
            for key, value in settings.items()
            if found.get(key) != value
        )
        raise DataError(
            f"{output} holds a demo set with other settings ({differing}); "
            "set `overwrite` to replace it, or choose another folder for `output`"
        )
    return False


def _settings_of(folder: Path) -> Optional[dict]:
    """The settings that a demo set was made with; None when the folder holds none."""
    try:
        with open(folder / "annotations" / "val.json", encoding="utf-8") as stream:
            return json.load(stream)["info"]["demo_settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_split(image_dir: Path, split: str, settings: dict) -> dict:
    """Draws and writes the images of one split; returns its COCO dict."""
    kinds = list(shapes.OUTLINES)
    images, annotations = [], []
    for index in range(settings[split]):
        rng = np.random.default_rng([settings["seed"], _SPLITS.index(split), index])
        image, objects = draw_scene(rng, settings["size"])
        file_name = f"{index:05d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(85, 96))]
        encoded, data = cv2.imencode(".jpg", image[..., ::-1], quality)
        if not encoded:
            raise OSError(f"OpenCV cannot encode {file_name}")
        (image_dir / file_name).write_bytes(data.tobytes())
        side = settings["size"]
        images.append({"id": index + 1, "file_name": file_name, "width": side, "height": side})
        for item in objects:
            item = {"id": len(annotations) + 1, "image_id": index + 1, **item}
            item["category_id"] = kinds.index(item.pop("kind")) + 1
            annotations.append(item)
    categories = [{"id": i + 1, "name": kind} for i, kind in enumerate(kinds)]
    return {
        "info": {"description": "shapes drawn by program", "demo_settings": settings},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def draw_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list]:
    """One image with its labels.

    Args:
        rng: source of every choice.
        size: side in pixels.

    Returns:
        uint8 [size, size, 3] RGB, and a list of dicts with `kind`, `bbox` (x, y, width, height in
        pixels), `area`, `segmentation` (the outline inside the image) and `iscrowd` 0.
    """
    canvas = shapes.background(rng, size)
    wanted = 0 if rng.random() < NEGATIVE_SHARE else int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    owner = np.full((size, size), -1, np.int32)  # which object shows at each pixel
    solid_areas, objects = [], []
    for _ in range(wanted):
        contours, kind, diameter = _free_place(rng, size, owner, solid_areas)
        if contours is None:
            continue
        alpha = shapes.coverage(contours, size, size)
        solid = alpha > 0.5
        owner[solid] = len(objects)
        solid_areas.append(int(solid.sum()))
        _paint(rng, canvas, alpha, diameter, kind)
        objects.append(_label(kind, contours, size))
    return shapes.camera(rng, canvas), objects


def _free_place(rng: np.random.Generator, size: int, owner: np.ndarray, solid_areas: list):
    """A random object that leaves enough to see of itself and of those drawn before.

    Returns:
        contours, kind, diameter; contours is None when thirty tries found no place.
    """
    low, high = np.log(DIAMETER_RANGE)
    for _ in range(30):
        kind = str(rng.choice(list(shapes.OUTLINES)))
        diameter = size * float(np.exp(rng.uniform(low, high)))
        center, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        contours = shapes.place(shapes.OUTLINES[kind](rng), center, diameter, angle)
        inside = shapes.clip_polygon(contours[0], size, size)
        if not len(inside):
            continue
        full_area = shapes.polygon_area(contours[0])
        if shapes.polygon_area(inside) < MIN_INSIDE * full_area:
            continue
        free = owner[shapes.coverage(contours, size, size) <= 0.5]
        visible = np.bincount(free[free >= 0], minlength=len(solid_areas))
        if all(shown >= MIN_VISIBLE * area for shown, area in zip(visible, solid_areas)):
            return contours, kind, diameter
    return None, "", 0.0


def _paint(rng, canvas: np.ndarray, alpha: np.ndarray, diameter: float, kind: str) -> None:
    """Draws one object into the canvas, in place: surface, sometimes a dark or light rim."""
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    under, alpha = canvas[window], alpha[window]
    color = shapes.object_color(rng, kind)
    surface = shapes.fill(rng, color, *alpha.shape, diameter)
    if rng.random() < 0.35:
        width = max(3, int(diameter * rng.uniform(0.06, 0.12)) | 1)
        inner = cv2.erode(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
        rim = color * rng.choice([0.35, 0.55, 1.5])
        surface = surface * inner[..., None] + rim * (1 - inner[..., None])
    surface = np.clip(surface, 0, 255)
    canvas[window] = under * (1 - alpha[..., None]) + surface * alpha[..., None]


def _label(kind: str, contours: list, size: int) -> dict:
    """COCO fields of an object; a ring's segmentation is its outer outline."""
    outline = np.round(shapes.clip_polygon(contours[0], size, size), 2)
    left, top = outline.min(axis=0)
    width, height = outline.max(axis=0) - (left, top)
    return {
        "kind": kind,
        "bbox": [round(float(v), 2) for v in (left, top, width, height)],
        "area": round(shapes.polygon_area(outline), 2),
        "segmentation": [[float(v) for v in outline.ravel()]],
        "iscrowd": 0,
    }


def _describe(split: str, coco: dict) -> str:
    kinds = [category["name"] for category in coco["categories"]]
    counts = np.bincount(
        [item["category_id"] - 1 for item in coco["annotations"]], minlength=len(kinds)
    )
    with_objects = len({item["image_id"] for item in coco["annotations"]})
    per_kind = ", ".join(f"{count} {kind}" for kind, count in zip(kinds, counts))
    return (
        f"{split}: {len(coco['images'])} images ({len(coco['images']) - with_objects} without "
        f"objects), {len(coco['annotations'])} objects: {per_kind}"
    )
