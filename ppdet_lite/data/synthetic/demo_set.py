"""A small labeled detection set, so that a first training run needs no download: COCO's layout,

annotations/train.json  annotations/val.json  train/00000.jpg ...  val/00000.jpg ...
"""

import json
import os
import shutil
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.synthetic import shapes
from ppdet_lite.data.synthetic.scenes import draw_scene
from ppdet_lite.utils.files import PathLike

FORMAT_VERSION = 2
"""Raised whenever the same settings would give other images."""

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
    output = Path(output)
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
    nothing of it stays. A DataError says that it cannot be written.
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
