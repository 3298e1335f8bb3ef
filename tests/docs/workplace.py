"""A folder in which the commands of the pages run: small data, narrow networks, their weights."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np

from ppdet_lite.benchmark.random_weights import set_random_weights
from ppdet_lite.core.dump import dump_yaml
from ppdet_lite.core.shipped import shipped_configs, shipped_folder
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.synthetic.demo_set import make_demo_data
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.weights.checkpoint import save_checkpoint
from ppdet_lite.weights.files import load_state
from tests.small_configs import small_config
from tests.weights.darknet_files import TINY_CFG, leading, numbered, tiny_weights
from tests.weights.torch_writer import Tensor, write_torch

REAL_NANO = "yolox_nano_upstream_coco"
"""Keeps its channels: its published weights are converted."""
SUBSET_OF = 25_010  # images of the data set that docs/reproduction.md takes 25,000 of
COCO_CLASSES = 80


def make_workplace(root: Path, text: str, repo: Path) -> Path:
    """What the commands in `text` name: configurations, photos, data sets, weights, exports."""
    for name in ("tools", "deploy", "pyproject.toml"):
        (root / name).symlink_to(repo / name)
    make_demo_data(str(root / "photos"), train=16, val=4, size=96, seed=0)
    shutil.copytree(root / "photos" / "val", root / "val")  # beside val.json
    for name in ("bccd", "more_cells", "my_photos", "coco"):
        shutil.copytree(root / "photos", root / "dataset" / name)
    _images(root)
    _annotations(root)
    (root / "my_data").symlink_to(root / "dataset" / "coco")
    _foreign_weights(root, repo.parent / "shared")
    words = set(re.findall(r"\w+", text))
    for name in sorted(words & shipped_configs().keys()):
        _configuration(root, name)
    exported = set(re.findall(r"output_inference/(\w+)", text))  # others a page exports itself
    for name in sorted(exported & shipped_configs().keys()):
        folder = _export(root, name, "output_inference")
    shutil.copytree(folder, root / "folder_nms")
    _export(root, name, ".", stage="raw").rename(root / "folder_raw")
    for name in ("yolox_l.onnx", "rtdetr.onnx"):
        shutil.copy(folder / "model.onnx", root / name)
    return root


def _images(root: Path) -> None:
    image = cv2.imread(str(next((root / "photos/val").glob("*.jpg"))))
    for name in ("demo.jpg", "new.jpg", "one.jpg", "two.png", "street.jpg"):
        cv2.imwrite(str(root / name), image)
    size = image.shape[1::-1]
    video = cv2.VideoWriter(str(root / "street.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, size)
    for _ in range(3):
        video.write(image)
    video.release()


def _annotations(root: Path) -> None:
    """Beside those of the data sets: with COCO's number of classes in dataset/coco."""
    for split in ("train", "val"):
        source = root / f"photos/annotations/{split}.json"
        shutil.copy(source, root)
        content = json.loads(source.read_text())
        known = len(content["categories"])
        more = [{"id": 1000 + n, "name": f"class {n}"} for n in range(known, COCO_CLASSES)]
        content["categories"] += more
        (root / f"dataset/coco/annotations/{split}.json").write_text(json.dumps(content))
    labels = json.loads((root / "val.json").read_text())
    results = [
        {**{key: box[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9}
        for box in labels["annotations"]
    ]
    (root / "bbox.json").write_text(json.dumps(results))
    images = [
        {"id": n, "file_name": f"{n}.jpg", "height": 96, "width": 128} for n in range(SUBSET_OF)
    ]
    box = {"category_id": labels["categories"][0]["id"], "bbox": [9, 9, 9, 9], "area": 81}
    boxes = [{"id": n, "image_id": n, "iscrowd": 0, **box} for n in range(SUBSET_OF)]
    large = {"images": images, "annotations": boxes, "categories": labels["categories"]}
    target = root / "dataset/coco/annotations/instances_train2017.json"
    target.write_text(json.dumps(large))


def _place(root: Path, name: str) -> Path:
    return root / "configs" / shipped_configs()[name].relative_to(shipped_folder())


def _configuration(root: Path, name: str) -> None:
    """The shipped one at its place below `configs`, made small, and random weights for it."""
    path, target = shipped_configs()[name], _place(root, name)
    data = root / "dataset" / ("coco" if load_config(path).num_classes == COCO_CLASSES else "bccd")
    categories = json.loads((data / "annotations/train.json").read_text())["categories"]
    changes = [f"num_classes={len(categories)}", "report=true"]
    changes += ["TrainDataset.image_dir=train", "EvalDataset.image_dir=val"]
    if "ResNet" in load_config(path):
        changes.append("ResNet.depth=18")
    cfg = small_config(path, data, Path("output"), *changes)
    if name == REAL_NANO:
        cfg["width_mult"] = load_config(path).width_mult
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(dump_yaml(cfg))
    meta = {"class_names": [category["name"] for category in categories]}
    meta["thresholds"] = [0.3] * len(categories)
    drawn = root / "drawn.pdparams"
    set_random_weights(cfg, drawn, (64, 64))
    for kind in ("best_model", "model_final"):
        save_checkpoint(str(root / "output" / name), kind, load_state(str(drawn)), meta)
    cached = root / "home" / "weights" / f"{name}.pdparams"
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "output" / name / "best_model.pdparams", cached)


def _export(root: Path, name: str, target: str, stage: str = "nms") -> Path:
    cfg = load_config(_place(root, name), [f"weights={root}/output/{name}/best_model"])
    options = ExportOptions(("paddle", "onnx"), portable_dcn=True, stage=stage)
    return export_model(cfg, root / target, options)


def _foreign_weights(root: Path, shared: Path) -> None:
    """Files of other projects: darknet's, and YOLOX-nano's where the reference data has it."""
    (root / "yolov4.cfg").write_text(TINY_CFG)
    (root / "yolov4.weights").write_bytes(tiny_weights()[1])
    numbered(root / "yolov4-tiny.conv.29", leading("yolov4-tiny", "yolo_head.yolo_conv.0"))
    whole = _place(root, "yolov4_tiny_coco")  # what the numbers of these files are compared with
    whole.parent.mkdir(parents=True)
    whole.write_text(dump_yaml(load_config(shipped_configs()["yolov4_tiny_coco"])))
    nano = shared / "weights" / "yolox_nano_coco_upstream_layout.npz"
    if nano.is_file():
        arrays = np.load(nano)
        state = {key: Tensor.of(arrays[key]) for key in arrays.files}
        write_torch(root / "yolox_nano.pth", {"model": state})
