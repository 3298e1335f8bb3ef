#!/usr/bin/env python3
"""Makes a COCO data set of large images, each a grid of photos of another set with their labels."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.core.errors import ConfigError, DataError  # noqa: E402
from ppdet_lite.utils.files import replacing  # noqa: E402

GRAY = 114
EPILOG = """example:
  python tools/dev/make_large_images.py --output dataset/large \\
      --annotations coco128/annotations/instances_train2017.json --photos coco128/train2017

what it makes: OUTPUT/images/*.jpg and OUTPUT/annotations.json (boxes, COCO format). A photo is
used once at most, at a place in its cell that the seed draws; photos larger than a cell are shrunk.
"""


class Layout(NamedTuple):
    """A square grid of cells, both in pixels and cells per side."""

    grid: int = 4
    cell: int = 640


def make_large_images(
    annotations: Path, photos: Path, output: Path, images: int, layout: Layout, seed: int
) -> dict[str, Any]:
    """Writes the set and returns its annotations.

    Args:
        annotations: of the photos, COCO format.
        photos: their folder.
        output: folder to write.
        images: large images to make.

    Raises:
        ConfigError: fewer photos than the images need.
        DataError: a photo that cannot be read.
    """
    source = json.loads(annotations.read_text())
    rng = np.random.default_rng(seed)
    count = layout.grid**2
    if not 1 <= images <= len(source["images"]) // count:
        allowed = f"1 to {len(source['images']) // count} ({len(source['images'])} photos)"
        raise ConfigError(f"`images`: found {images}, allowed: {allowed}")
    drawn = rng.permutation(len(source["images"]))[: images * count].reshape(images, count)
    objects: dict[int, list[dict[str, Any]]] = {}
    for item in source["annotations"]:
        objects.setdefault(item["image_id"], []).append(item)
    made: dict[str, Any] = {"images": [], "annotations": []}
    made["categories"] = source["categories"]
    (output / "images").mkdir(parents=True, exist_ok=True)
    side = layout.grid * layout.cell
    for number, places in enumerate(drawn, start=1):
        canvas = np.full((side, side, 3), GRAY, np.uint8)
        for cell, place in enumerate(places):
            photo = source["images"][place]
            corner = np.array([cell % layout.grid, cell // layout.grid]) * layout.cell
            scale, shift = _paste(canvas, photos / photo["file_name"], corner, layout.cell, rng)
            for item in objects.get(photo["id"], []):
                box = np.array(item["bbox"], float) * np.tile(scale, 2)
                box[:2] += shift
                made["annotations"].append(
                    {
                        "id": len(made["annotations"]) + 1,
                        "image_id": number,
                        "category_id": item["category_id"],
                        "bbox": box.round(3).tolist(),
                        "area": item["area"] * float(np.prod(scale)),
                        "iscrowd": item.get("iscrowd", 0),
                    }
                )
        name = f"{number:04d}.jpg"
        cv2.imwrite(str(output / "images" / name), canvas, [cv2.IMWRITE_JPEG_QUALITY, 95])
        made["images"].append({"id": number, "file_name": name, "width": side, "height": side})
    with replacing(output / "annotations.json") as stream:
        stream.write(json.dumps(made).encode())
    return made


def _paste(
    canvas: np.ndarray, file: Path, corner: np.ndarray, cell: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a photo into its cell; returns its scale and its place (both x, y)."""
    photo = cv2.imread(str(file))
    if photo is None:
        raise DataError(f"{file}: no image that can be read")
    size = np.array(photo.shape[1::-1])
    factor = min(1.0, cell / size.max())
    new = np.maximum((size * factor).round().astype(int), 1)
    if factor < 1:
        photo = cv2.resize(photo, tuple(new.tolist()), interpolation=cv2.INTER_AREA)
    x, y = corner + rng.integers(0, cell - new + 1)
    canvas[y : y + new[1], x : x + new[0]] = photo
    return new / size, np.array([x, y])


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, metavar="JSON", help="labels of the photos")
    add("--photos", type=Path, required=True, metavar="FOLDER", help="the photos")
    add("--output", type=Path, required=True, metavar="FOLDER", help="folder to make")
    add("--images", type=int, default=8, help="large images to make (%(default)s)")
    add("--grid", type=int, default=4, help="photos along each side (%(default)s)")
    add("--cell", type=int, default=640, help="pixels along each side of a cell (%(default)s)")
    add("--seed", type=int, default=0, help="of the drawing (%(default)s)")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    for name in ("grid", "cell"):
        if getattr(args, name) < 1:
            raise ConfigError(f"`{name}`: found {getattr(args, name)}, allowed: 1 or more")
    layout = Layout(args.grid, args.cell)
    made = make_large_images(
        args.annotations, args.photos, args.output, args.images, layout, args.seed
    )
    side, objects = args.grid * args.cell, len(made["annotations"])
    print(f"{args.output}: {args.images} images of {side} x {side}, {objects} objects")


if __name__ == "__main__":
    run_tool(main, build_parser())
