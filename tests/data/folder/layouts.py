"""Writes one tiny data set in every layout that is recognized."""

import json
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 64
NAMES = ["cat", "dog"]
IMAGES = {
    "train": {
        "a": [(1, (8, 6, 24, 30))],
        "b": [(0, (4, 4, 20, 20)), (1, (30, 10, 60, 40))],
        "c": [(0, (1, 2, 50, 40))],
    },
    "val": {"d": [(1, (10, 10, 40, 44))], "e": [(0, (16, 12, 32, 24))]},
}
"""Split -> name of an image -> class and corners of its objects."""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    level = 40 + 9 * (sum(map(ord, path.stem)) % 20)
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), level, np.uint8))


def coco(images: dict, file_name: str = "{}.jpg") -> str:
    """COCO json; `file_name` is made of the names."""
    rows, boxes = [], []
    for number, (name, objects) in enumerate(images.items(), start=1):
        file = file_name.format(name)
        rows.append({"id": number, "file_name": file, "width": WIDTH, "height": HEIGHT})
        for row, (x1, y1, x2, y2) in objects:
            box = {"id": len(boxes) + 1, "image_id": number, "category_id": row + 1, "iscrowd": 0}
            boxes.append({**box, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 1})
    categories = [{"id": row + 1, "name": name} for row, name in enumerate(NAMES)]
    return json.dumps({"images": rows, "annotations": boxes, "categories": categories})


def voc(objects: list) -> str:
    text = "".join(
        f"<object><name>{NAMES[row]}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for row, (x1, y1, x2, y2) in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>{size}{text}</annotation>"


def yolo(objects: list) -> str:
    return "".join(
        f"{row} {(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} "
        f"{(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}\n"
        for row, (x1, y1, x2, y2) in objects
    )


def labelme(objects: list, image_path: str) -> str:
    shapes = [
        {"label": NAMES[row], "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle"}
        for row, (x1, y1, x2, y2) in objects
    ]
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imageData": None}
    return json.dumps({"version": "5.0", "shapes": shapes, "imagePath": image_path, **size})


def each():
    """Split, name and objects of every image."""
    for split, images in IMAGES.items():
        for name, objects in images.items():
            yield split, name, objects


def coco_own(root):
    for split, images in IMAGES.items():
        write(root / f"annotations/instances_{split}2017.json", coco(images))
        write(root / f"annotations/captions_{split}2017.json", '{"images": [], "annotations": []}')
        keypoints = coco(images).replace('"cat"', '"person"')
        write(root / f"annotations/person_keypoints_{split}2017.json", keypoints)
        for name in images:
            image(root / f"{split}2017/{name}.jpg")


def coco_roboflow(root):
    for split, images in IMAGES.items():
        folder = root / {"val": "valid"}.get(split, split)
        write(folder / "_annotations.coco.json", coco(images, "{}_jpg.rf.0a1b.jpg"))
        for name in images:
            image(folder / f"{name}_jpg.rf.0a1b.jpg")


def coco_cvat(root):
    every = {**IMAGES["train"], **IMAGES["val"]}
    write(root / "annotations/instances_default.json", coco(every))
    for name in every:
        image(root / f"images/{name}.jpg")


def coco_paths(root):
    """As labelme2coco and Label Studio write it: paths below the folder of the file."""
    every = {**IMAGES["train"], **IMAGES["val"]}
    write(root / "result.json", coco(every, "JPEGImages\\{}.jpg".replace("\\", "/")))
    for name in every:
        image(root / f"JPEGImages/{name}.jpg")


def labelme_folder(root):
    for _, name, objects in each():
        write(root / f"{name}.json", labelme(objects, f"{name}.jpg"))
        image(root / f"{name}.jpg")


def labelme_splits(root):
    for split, name, objects in each():
        write(root / split / "labels" / f"{name}.json", labelme(objects, f"..\\images\\{name}.jpg"))
        image(root / split / "images" / f"{name}.jpg")


def voc_image_sets(root):
    for _, name, objects in each():
        write(root / f"Annotations/{name}.xml", voc(objects))
        image(root / f"JPEGImages/{name}.jpg")
    for split, images in IMAGES.items():
        write(root / f"ImageSets/Main/{split}.txt", "\n".join(images))
        write(root / f"ImageSets/Main/cat_{split}.txt", "a  1\n")
    write(root / "ImageSets/Main/trainval.txt", "\n".join("abcde"))


def voc_labelimg(root):
    for _, name, objects in each():
        write(root / f"{name}.xml", voc(objects))
        image(root / f"{name}.jpg")


def voc_plain(root):
    for _, name, objects in each():
        write(root / f"annotations/{name}.xml", voc(objects))
        image(root / f"images/{name}.png")


def voc_roboflow(root):
    for split, name, objects in each():
        folder = root / {"val": "valid"}.get(split, split)
        write(folder / f"{name}.xml", voc(objects))
        image(folder / f"{name}.jpg")


def voc_paddlex(root):
    for split, images in IMAGES.items():
        for name, objects in images.items():
            write(root / f"Annotations/{name}.xml", voc(objects))
            image(root / f"JPEGImages/{name}.jpg")
        lines = [f"JPEGImages/{name}.jpg Annotations/{name}.xml\n" for name in images]
        write(root / f"{split}_list.txt", "".join(lines))
    write(root / "labels.txt", "cat\ndog\n")


def yolo_ultralytics(root):
    for split, name, objects in each():
        write(root / f"labels/{split}/{name}.txt", yolo(objects))
        image(root / f"images/{split}/{name}.jpg")
    names = "names:\n  0: cat\n  1: dog\n"
    write(
        root / "data.yaml", f"path: ../datasets/pets\ntrain: images/train\nval: images/val\n{names}"
    )


def yolo_roboflow(root):
    for split, name, objects in each():
        folder = root / {"val": "valid"}.get(split, split)
        write(folder / f"labels/{name}.txt", yolo(objects))
        image(folder / f"images/{name}.jpg")
    paths = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    note = "roboflow:\n  workspace: me\n"
    write(root / "data.yaml", f"{paths}\nnc: 2\nnames: ['cat', 'dog']\n{note}")


def yolo_darknet(root):
    for split, images in IMAGES.items():
        for name, objects in images.items():
            write(root / f"obj/{name}.txt", yolo(objects))
            image(root / f"obj/{name}.jpg")
        write(root / f"{split}.txt", "".join(f"data/obj/{name}.jpg\n" for name in images))
    write(root / "obj.names", "cat\ndog\n")
    lists = "train = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\n"
    write(root / "obj.data", f"classes = 2\n{lists}backup = backup/\n")


def yolo_cvat(root):
    for _, name, objects in each():
        write(root / f"obj_train_data/{name}.txt", yolo(objects))
        image(root / f"obj_train_data/{name}.jpg")
    write(root / "train.txt", "".join(f"data/obj_train_data/{name}.jpg\n" for name in "abcde"))
    write(root / "obj.names", "cat\ndog\n")
    lists = "train = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    write(root / "obj.data", f"classes = 2\n{lists}")


def yolo_labelimg(root):
    for _, name, objects in each():
        write(root / f"{name}.txt", yolo(objects))
        image(root / f"{name}.jpg")
    write(root / "classes.txt", "cat\ndog\n")


def yolo_lists(root):
    """As COCO of ultralytics: lists in data.yaml."""
    for split, images in IMAGES.items():
        for name, objects in images.items():
            write(root / f"labels/{split}/{name}.txt", yolo(objects))
            image(root / f"images/{split}/{name}.jpg")
        write(root / f"{split}.txt", "".join(f"./images/{split}/{name}.jpg\n" for name in images))
    write(root / "pets.yaml", "train: train.txt\nval: val.txt\nnames: [cat, dog]\n")


def csv_plain(root):
    for split, images in IMAGES.items():
        rows = [
            f"images/{name}.jpg,{','.join(map(str, box))},{NAMES[row]}\n"
            for name, objects in images.items()
            for row, box in objects
        ]
        write(root / f"{split}.csv", "".join(rows))
        for name in images:
            image(root / f"images/{name}.jpg")
    write(root / "classes.csv", "cat,0\ndog,1\n")


def csv_header(root):
    """As Roboflow's for TensorFlow."""
    rows = [
        f"{name}.jpg,{WIDTH},{HEIGHT},{NAMES[row]},{','.join(map(str, box))}\n"
        for _, name, objects in each()
        for row, box in objects
    ]
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    write(root / "boxes.csv", header + "".join(rows))
    for _, name, _ in each():
        image(root / f"photos/{name}.jpg")


LAYOUTS = {
    "coco": [coco_own, coco_roboflow, coco_cvat, coco_paths],
    "labelme": [labelme_folder, labelme_splits],
    "voc": [voc_image_sets, voc_labelimg, voc_plain, voc_roboflow, voc_paddlex],
    "yolo": [
        yolo_ultralytics,
        yolo_roboflow,
        yolo_darknet,
        yolo_cvat,
        yolo_labelimg,
        yolo_lists,
    ],
    "csv": [csv_plain, csv_header],
}
"""Format -> functions that write a layout into a folder."""

WITHOUT_SPLITS = {
    *("coco_cvat", "coco_paths", "labelme_folder", "voc_labelimg", "voc_plain", "yolo_cvat"),
    *("yolo_labelimg", "csv_header"),
}
