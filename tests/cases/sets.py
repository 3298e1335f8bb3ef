"""Small data sets as users have them, in the three formats."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np

from ppdet_lite.core.workspace import create, load_config
from tests.conftest import REPO

WIDTH, HEIGHT = 96, 64


def write_image(path: Path, pixels: Optional[np.ndarray] = None) -> None:
    """Writes noise, or the pixels, in the format of the ending (JPEG for endings of its)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    ending = path.suffix if path.suffix in (".png", ".bmp", ".tif") else ".jpg"
    path.write_bytes(cv2.imencode(ending, pixels)[1].tobytes())


def write_text(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def coco_content(count: int = 4, folder: Optional[Path] = None) -> dict[str, list[dict[str, Any]]]:
    """One object in each of some images, which are written to `folder`; two classes in turns."""
    images, annotations = [], []
    for number in range(1, count + 1):
        if folder is not None:
            write_image(folder / f"{number}.jpg")
        images.append(
            {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1 + number % 2,
                "bbox": [10 + number, 10, 20, 20],
                "area": 400,
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1, "name": "left"}, {"id": 2, "name": "right"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root: Path, content: dict[str, Any], name: str = "a.json") -> str:
    """The section of a COCO data set below `root`, with its images in `img`."""
    write_text(root / name, json.dumps(content))
    return f"{{name: COCODataSet, dataset_dir: '{root}', image_dir: img, anno_path: {name}}}"


def voc_xml(name: str = "cat", size: tuple[int, int] = (WIDTH, HEIGHT), head: str = "") -> str:
    """An annotation with one object."""
    width, height = size
    return (
        f"{head}<annotation><size><width>{width}</width><height>{height}</height></size>"
        f"<object><name>{name}</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax>"
        "<ymax>30</ymax></bndbox></object></annotation>"
    )


def write_voc(root: Path, annotations: dict[str, str], ending: str = ".jpg") -> str:
    """The section of a VOC data set of these files; values are the XML."""
    for name, xml in annotations.items():
        write_image(root / "JPEGImages" / f"{name}{ending}")
        write_text(root / "Annotations" / f"{name}.xml", xml)
    write_text(root / "ImageSets/Main/train.txt", "".join(f"{name}\n" for name in annotations))
    anno_path = "ImageSets/Main/train.txt"
    return f"{{name: VOCDataSet, dataset_dir: '{root}', anno_path: {anno_path}}}"


def write_yolo(
    root: Path,
    files: dict[str, str],
    names: str = "names: [cell]\n",
    labels: str = "labels",
) -> str:
    """The section of a YOLO data set: image file -> lines of its label file."""
    for name, lines in files.items():
        write_image(root / "images" / name)
        write_text(root / labels / f"{Path(name).stem}.txt", lines)
    write_text(root / "data.yaml", names)
    return f"{{name: YOLODataSet, dataset_dir: '{root}', image_dir: images}}"


def open_set(root: Path, section: str) -> Any:
    """The data set of a section, as a training opens it."""
    write_text(root / "set.yml", f"TrainDataset: {section}\n")
    return create("TrainDataset", load_config(root / "set.yml"))


def report(dataset: Any) -> str:
    """The lines about a data set, without the folder of the test."""
    return without_folder("\n".join(dataset.report_lines))


def without_folder(text: str) -> str:
    """A text without the folders of tests, whose names hold words that are looked for."""
    return re.sub(r"/\S*pytest-of-[^/\s]+/pytest-\d+/(popen-\w+/)?test_\w+", "", text)


_STEPS = """
    - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}
    - Permute: {}
"""
_READER = """
  sample_transforms:
    - Decode: {}
    - Resize: {target_size: [64, 64], keep_ratio: false, interp: 2}"""


def training_config(root: Path, section: str, classes: int, eval_section: str = "") -> Path:
    """A training of one epoch with images of 64 x 64, from the demo's configuration."""
    path = root / "c.yml"
    text = f"""
_BASE_: {REPO}/configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml
num_classes: {classes}
epoch: 1
snapshot_epoch: 1
worker_num: 0
use_gpu: false
log_iter: 1
save_dir: '{root}/out'
TrainDataset: {section}
EvalDataset: {eval_section or section}
TrainReader:
  batch_size: 2
  batch_transforms:
    - BatchRandomResize: {{target_size: [64], random_size: true, random_interp: true}}
    - NormalizeBox: {{}}
    - PadBox: {{num_max_boxes: 50}}
    - BboxXYXY2XYWH: {{}}{_STEPS}    - Gt2YoloTarget: {{iou_thresh: 0.3}}
EvalReader:
  batch_size: 4{_READER}{_STEPS}TestReader:
  inputs_def: {{image_shape: [3, 64, 64]}}{_READER}{_STEPS}"""
    write_text(path, text)
    return path
