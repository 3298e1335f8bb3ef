"""Fixtures shared by all tests: the optional reference data and a tiny data set made on the fly."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ppdet_lite.utils.logger import get_logger

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"


SLOW_TESTS = {
    "docs": "commands_run first_hour",
    "": "configs every_config real_data recipes two_configs yolov4_ablation "
    "yolov4_training_configs yolox_real_weights",
    "api": "detector models",
    "benchmark/gpu_check": "dry_run runner",
    "benchmark": "against inference_benchmark model_info reader_benchmark stream_eval",
    "cases": "trainings",
    "cli": "deploy_threshold",
    "data/cache": "image_cache",
    "data/doctor": "check",
    "data/pixels": "damaged_images pixel_source",
    "data/reader": "balanced_sampling darknet_reader raw_pixels reader workers yolox_reader",
    "deploy": "cpp cpp_library cpp_options",
    "evolve": "evolve_command genes",
    "evaluate/views": "view_evaluation",
    "export": "batch_norm_folding cpu_forms export export_family export_formats export_interrupt "
    "export_fixed export_verify fixed_best_class fixed_nms graph half half_export half_family "
    "onnx_diou_nms onnx_nms tensorrt_rtx",
    "export/serving": "docker triton",
    "fuzz": "fuzz",
    "golden": "asff_forward augment model_forward model_loss yolov4_forward yolov4_nms yolov4_weights "
    "yolox_upstream",
    "modeling": "detector resnet yolov4_layers yolov4_loss yolox yolox_roadmap",
    "quantize": "quantize quantize_libraries",
    "regression": "references",
    "report": "data_pages results_page training_charts",
    "serve": "page processes server throughput workers",
    "runtime": "devices engine infer model_folder names onnx open_size pipeline tensorrt threads video yolox",
    "tools": "eval_infer_export train_two_processes",
    "tools/dev": "benchmark_layers half_errors",
    "train/own_data": "anchor_sections batch_size run_config",
    "train": "adversarial data distributed early_stopping progress overfit overfit_asff overfit_yolox results_hooks run "
    "yolov4_run yolox_run",
    "weights": "convert_darknet zoo",
}
"""Folder -> files test_*.py that take more than about a second; `-m quick` leaves them out."""


BY_HAND = {"train/test_overfit_every.py"}
"""Tests that take an hour; `--every` runs them, too."""


def pytest_addoption(parser):
    parser.addoption("--every", action="store_true", help="run the tests that take an hour, too")


def pytest_ignore_collect(collection_path, config):
    by_hand = {REPO / "tests" / name for name in BY_HAND}
    return True if collection_path in by_hand and not config.getoption("--every") else None


def pytest_collection_modifyitems(items):
    slow = {
        REPO / "tests" / folder / f"test_{name}.py"
        for folder, names in SLOW_TESTS.items()
        for name in names.split()
    }
    missing = [str(path) for path in slow if not path.is_file()]
    assert not missing, f"SLOW_TESTS names files that do not exist: {missing}"
    for item in items:
        if item.path not in slow:
            item.add_marker(pytest.mark.quick)
    # So that at the end no process is alone with a long file.
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def caplog(caplog):
    """pytest's, also for the package's logger, which keeps its lines from the root logger."""
    logger = get_logger()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the reference photos in ../shared/data, which are not part of a clone")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    if not (SHARED / "golden").is_dir():
        pytest.skip(
            "needs the reference outputs in ../shared/golden, which are not part of a clone"
        )
    return SHARED / "golden"


@pytest.fixture(scope="session")
def golden_fill(golden):
    """The module that makes weights and inputs from names and seeds."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory) -> Path:
    """A COCO data set of 8 train and 4 val images (96 x 128): bright squares and dark circles.

    `annotations/{train,val}.json`, `images/`; one training image has no object.
    """
    root = tmp_path_factory.mktemp("tiny_coco")
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    categories = [{"id": 3, "name": "square"}, {"id": 7, "name": "circle"}]
    for split, count in (("train", 8), ("val", 4)):
        images, annotations = [], []
        for index in range(count):
            image_id = index + 1
            name = f"{split}_{index}.jpg"
            image, objects = _tiny_image(rng, empty=split == "train" and index == 5)
            cv2.imwrite(str(root / "images" / name), image)
            images.append({"id": image_id, "file_name": name, "height": 96, "width": 128})
            for category, box in objects:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root


def _tiny_image(rng, empty: bool):
    image = rng.integers(90, 140, (96, 128, 3)).astype(np.uint8)
    objects = []
    for slot in range(0 if empty else 2):
        side = int(rng.integers(20, 44))
        x = slot * 64 + int(rng.integers(0, 64 - side))
        y = int(rng.integers(0, 96 - side))
        if rng.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (250, 240, 230), -1)
            objects.append((3, [x, y, side, side]))
        else:
            cv2.circle(image, (x + side // 2, y + side // 2), side // 2, (10, 20, 30), -1)
            objects.append((7, [x, y, 2 * (side // 2) + 1, 2 * (side // 2) + 1]))
    return image, objects


SMALL_CONFIG = """
architecture: YOLOv3
metric: COCO
num_classes: 2
norm_type: bn
width_mult: 0.25
use_gpu: false
worker_num: 0
save_dir: {root}/output
report: false
weights: {root}/weights/small
EvalDataset: {{name: COCODataSet, dataset_dir: {data}, image_dir: images, anno_path: annotations/val.json}}
TestDataset: {{name: ImageFolder, dataset_dir: {data}, anno_path: annotations/val.json}}
ResNet: {{depth: 18, variant: d, return_idx: [1, 2, 3], dcn_v2_stages: [3], freeze_at: -1, freeze_norm: false}}
PPYOLOPAN: {{conv_block_num: 2, drop_block: true, spp: true}}
YOLOv3Head: {{loss: YOLOv3Loss, iou_aware: true, iou_aware_factor: 0.5}}
YOLOv3Loss: {{ignore_thresh: 0.7, scale_x_y: 1.05, iou_loss: IouLoss, iou_aware_loss: IouAwareLoss}}
YOLOv3: {{backbone: ResNet, neck: PPYOLOPAN, yolo_head: YOLOv3Head, post_process: BBoxPostProcess}}
BBoxPostProcess:
  decode: {{name: YOLOBox, conf_thresh: 0.01}}
  nms: {{name: MatrixNMS, keep_top_k: 100, score_threshold: 0.01, post_threshold: 0.01}}
EvalReader: &reader
  sample_transforms:
    - Decode: {{}}
    - Resize: {{target_size: [96, 128], keep_ratio: false, interp: 2}}
    - NormalizeImage: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}}
    - Permute: {{}}
  batch_size: 3
TestReader:
  <<: *reader
  batch_size: 1
  inputs_def: {{image_shape: [3, 96, 128]}}
"""


@pytest.fixture(scope="session")
def small_config(tmp_path_factory, tiny_coco) -> Path:
    """A configuration of a narrow R18 PP-YOLOv2 at 96 x 128 for `tiny_coco`, and its weights.

    The weights are random, with a head that finds objects everywhere; their side file says that
    class 0 is "square" and class 1 "circle".
    """
    import paddle

    from ppdet_lite.core.workspace import create, load_config
    from ppdet_lite.weights.checkpoint import save_checkpoint

    root = tmp_path_factory.mktemp("small")
    path = root / "small.yml"
    path.write_text(SMALL_CONFIG.format(root=root, data=tiny_coco))
    cfg = load_config(path)
    paddle.seed(1)
    model = create(cfg.architecture, cfg)
    rng = np.random.default_rng(1)
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    for key, value in weights.items():
        if key.startswith("yolo_head."):  # its own start values would give 0.01 everywhere
            weights[key] = rng.normal(0, 0.25, value.shape).astype(np.float32)
    meta = {"class_names": ["square", "circle"]}
    save_checkpoint(str(root / "weights"), "small", weights, meta)
    return path


@pytest.fixture(scope="session")
def exported(small_config, tmp_path_factory) -> Path:
    """The folder that tools/export_model.py writes for `small_config`."""
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.export.run import export_model

    return export_model(load_config(small_config), tmp_path_factory.mktemp("exported"))


@pytest.fixture
def toys():
    """A network and a reader small enough to train in milliseconds."""
    from tests import toys

    return SimpleNamespace(net=toys.ToyNet, reader=toys.ToyReader, trainer=toys.make_trainer)
