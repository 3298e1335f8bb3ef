"""A COCO data set with one fault of almost every kind."""

import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ["cat", "dog", "Dog ", "bird", "fish"]


def photo(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """An image like no other: smooth noise, [H, W, 3] uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray, quality: int = 95, orientation: int = 1) -> bytes:
    """A JPEG file, with an EXIF orientation where it is not 1."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    if orientation == 1:
        return data
    entry = b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0])
    segment = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0" * 4
    return data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


class CocoWriter:
    """Collects images and boxes of a split, and writes them."""

    def __init__(self, root: Path, split: str):
        self.root, self.split = root, split
        self.images, self.annotations = [], []
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)

    def add(self, name, data, boxes=((1, (10, 10, 30, 30)),), size=(128, 96)):
        """An image (no file for None) with (class number from 1, x y width height)."""
        if data is not None:
            (self.root / "images" / name).write_bytes(data)
        number = len(self.images) + 1
        width, height = size
        self.images.append({"id": number, "file_name": name, "width": width, "height": height})
        for category, box in boxes:
            item = {"id": len(self.annotations) + 1, "image_id": number, "bbox": list(box)}
            self.annotations.append({**item, "category_id": category, "iscrowd": 0, "area": 1})

    def write(self, names=tuple(NAMES)):
        categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
        content = {"images": self.images, "annotations": self.annotations, "categories": categories}
        path = self.root / "annotations" / f"instances_{self.split}.json"
        path.write_text(json.dumps(content))


def faulty_coco(root: Path) -> Path:
    """`train` and `val` with the faults that the names of the images tell."""
    train, val = CocoWriter(root, "train"), CocoWriter(root, "val")
    boxes = {
        "not_finite": (1, (float("nan"), 1, 2, 3)),
        "zero_area": (1, (5, 5, 0, 9)),
        "outside": (2, (140, 10, 20, 20)),
        "inverted": (1, (40, 40, -20, -10)),
        "clipped": (3, (100, 60, 50, 30)),
        "tiny": (1, (7, 7, 1, 12)),
        "huge": (1, (0, 0, 128, 96)),
    }
    for seed, (name, box) in enumerate(boxes.items()):
        train.add(f"{name}.jpg", jpeg(photo(seed)), [box])
    twice = (2, (20, 20, 30, 30))
    train.add("repeated.jpg", jpeg(photo(20)), [twice, twice])
    train.add("two_classes.jpg", jpeg(photo(21)), [twice, (4, (20, 20, 30, 30))])
    train.add("doubled.jpg", jpeg(photo(22)), [twice, (2, (20, 20, 31, 30))])
    train.add("missing.jpg", None)
    train.add("damaged.jpg", b"\xff\xd8\xff no image")
    train.add("wrong_size.jpg", jpeg(photo(23)), [(1, (20, 20, 60, 60))], size=(256, 192))
    train.add("turned.jpg", jpeg(photo(24), orientation=6), [(1, (90, 10, 30, 30))])
    train.add("exif.jpg", jpeg(photo(25), orientation=6), size=(96, 128))
    train.add("cut_end.jpg", jpeg(photo(33))[:-2])
    train.add("empty.jpg", jpeg(photo(26)), [])
    train.add("same.jpg", jpeg(photo(27)))
    train.add("same_again.jpg", jpeg(photo(27)), [(1, (10, 10, 30, 30)), (2, (60, 10, 30, 30))])
    train.add("leak.jpg", jpeg(photo(28)))
    val.add("leak_val.jpg", jpeg(photo(28)))
    train.add("near.jpg", jpeg(photo(29)))
    small = cv2.resize(photo(29), (64, 48), interpolation=cv2.INTER_AREA)
    val.add("near_val.jpg", jpeg(small, 60), size=(64, 48))
    val.add("fish.jpg", jpeg(photo(30)), [(5, (10, 10, 30, 30)), (2, (60, 10, 30, 30))])
    train.add("alone.jpg", jpeg(photo(31)))
    train.images.append({**train.images[-1], "id": 900})  # listed twice
    (root / "images" / "forgotten.jpg").write_bytes(jpeg(photo(32)))
    train.write()
    val.write(["dog", "cat", *NAMES[2:]])
    return root
