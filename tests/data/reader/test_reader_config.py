"""Readers made from configurations."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

CONFIG = "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml"


@pytest.fixture
def make_config(repo, tiny_coco):
    def make(*overrides):
        data = [
            f"{section}Dataset.{key}={value}"
            for section in ("Train", "Eval")
            for key, value in (
                ("dataset_dir", tiny_coco),
                ("image_dir", "images"),
                ("anno_path", f"annotations/{'train' if section == 'Train' else 'val'}.json"),
            )
        ]
        small = ["num_classes=2", "worker_num=0", "TrainReader.batch_size=2"]
        return load_config(repo / CONFIG, overrides=[*data, *small, *overrides])

    return make


def test_shipped_train_reader(make_config):
    size = "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[64]"
    reader = create("TrainReader", make_config(size))
    assert reader.plan.rendered_by == []
    assert (reader.batch_size, reader.order.shuffle, reader.order.drop_last) == (2, True, True)
    batch = next(iter(reader))
    assert batch["image"].shape == (2, 3, 64, 64)
    assert batch["target0"].shape == (2, 3, 8, 2, 2)
    assert batch["gt_bbox"].shape == (2, 100, 4)


def test_shipped_eval_and_test_readers(make_config):
    cfg = make_config()
    reader = create("EvalReader", cfg)
    batch = next(iter(reader))
    assert batch["image"].shape == (4, 3, 640, 640)
    assert [entry["type"] for entry in create("TestReader", cfg).preprocess_config()] == [
        "Resize",
        "NormalizeImage",
        "Permute",
    ]
    assert create("TestReader", cfg).inputs_def["image_shape"] == [3, 640, 640]


def test_every_shipped_reader_builds(repo):
    for path in sorted((repo / "configs").rglob("*.yml")):
        if path.parent.name in ("_base_", "datasets") or path.name == "runtime.yml":
            continue
        cfg = load_config(path)
        for name in ("TrainReader", "EvalReader", "TestReader"):
            assert create(name, cfg).plan.rendered_by == []


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "TrainReader.sample_transforms.RandomFlip.prob=3",
            "TrainReader.sample_transforms.5.RandomFlip.prob: found 3 (int), allowed: 0 to 1",
        ),
        (
            "TrainReader.batch_transforms.BatchRandomResize.keep_ratio=true",
            "TrainReader.batch_transforms.0.BatchRandomResize.keep_ratio: found True (bool), "
            "allowed: false; the images of a batch need one size",
        ),
        (
            "EvalReader.sample_transforms.1.Resize.interp=9",
            "EvalReader.sample_transforms.1.Resize.interp: found 9 (int), allowed: 0 nearest, "
            "1 linear, 2 cubic, 3 area, 4 Lanczos",
        ),
    ],
)
def test_what_a_transform_refuses_is_said_with_its_place(make_config, override, problem):
    with pytest.raises(ConfigError) as caught:
        create(override.partition(".")[0], make_config(override))
    assert str(caught.value) == f"-o {override}: {problem}"


def test_what_a_transform_refuses_is_said_with_its_line(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text(
        "TestReader:\n  sample_transforms:\n  - Decode: {}\n  - Resize:\n      keep_ratio: true\n"
        "      target_size: [64]\n  - Resize\n"
    )
    with pytest.raises(ConfigError) as caught:
        create("TestReader", load_config(path))
    found = f"{path}:6: TestReader.sample_transforms.1.Resize.target_size: found [64]"
    assert str(caught.value).startswith(found)
    with pytest.raises(ConfigError) as caught:
        create("TestReader", load_config(path, ["TestReader.sample_transforms.1={Decode: {}}"]))
    missing = f"{path}:7: TestReader.sample_transforms.2.Resize: target_size: missing"
    assert str(caught.value).startswith(missing)


def with_target(arguments):
    """An override that replaces the last batch transform."""
    return f"TrainReader.batch_transforms.6.Gt2YoloTarget={arguments}"


def test_targets_take_the_anchors_from_the_head(make_config):
    cfg = make_config("YOLOv3Head.anchors.0=[11, 14]")
    target = create("TrainReader", cfg).batch_transforms[-1]
    np.testing.assert_array_equal(target.anchors[:2], [[11, 14], [16, 30]])
    assert target.downsample_ratios == (32, 16, 8)
    assert target.num_classes == 2


def test_anchors_that_differ_from_the_head_are_an_error(make_config):
    cfg = make_config(with_target("{anchors: [[1, 2], [3, 4]], anchor_masks: [[1], [0]]}"))
    with pytest.raises(ConfigError) as error:
        create("TrainReader", cfg)
    text = str(error.value)
    assert "Gt2YoloTarget" in text
    assert "anchors: found [[1, 2], [3, 4]], but YOLOv3Head.anchors is [[10, 13]" in text
    assert "anchor_masks: found [[1], [0]], but YOLOv3Head.anchor_masks is [[6, 7, 8]" in text


def test_equal_anchors_may_be_repeated(make_config):
    cfg = make_config(with_target("{anchor_masks: [[6, 7, 8], [3, 4, 5], [0, 1, 2]]}"))
    target = create("TrainReader", cfg).batch_transforms[-1]
    assert target.anchor_masks == ((6, 7, 8), (3, 4, 5), (0, 1, 2))


def test_num_classes_that_differ_are_an_error(make_config):
    cfg = make_config(with_target("{num_classes: 7}"))
    with pytest.raises(ConfigError, match="found 7, but the top-level num_classes is 2; leave it"):
        create("TrainReader", cfg)


def test_targets_outside_of_a_configuration_need_anchors():
    with pytest.raises(ConfigError, match="anchors and anchor_masks are needed outside"):
        Gt2YoloTarget()
    with pytest.raises(ConfigError, match="one per level of anchor_masks"):
        Gt2YoloTarget([[1, 2]], [[0]], [32, 16])


def test_center_on_the_far_border_belongs_to_the_last_cell():
    transform = Gt2YoloTarget([[10, 10]], [[0]], [32], num_classes=3)
    boxes = np.array([[[1.0, 1.0, 0.1, 0.1], [0.0, 0.0, 0.1, 0.1]]], np.float32)
    (target,) = transform.targets(boxes, np.array([[1, 2]]), np.ones((1, 2)), (64, 96))
    assert target.shape == (1, 1, 9, 2, 3)
    np.testing.assert_allclose(target[0, 0, :2, 1, 2], [1.0, 1.0])
    np.testing.assert_allclose(target[0, 0, 5], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(target[0, 0, 6:, 1, 2], [0, 1, 0])


def test_a_later_object_overwrites_the_box_but_not_the_class_bit():
    transform = Gt2YoloTarget([[10, 10], [50, 50]], [[0, 1]], [32], num_classes=3)
    boxes = np.array([[[0.3, 0.3, 0.1, 0.1], [0.4, 0.4, 0.12, 0.12]]], np.float32)
    scores = np.array([[0.4, 0.6]])
    (target,) = transform.targets(boxes, np.array([[0, 2]]), scores, (64, 64))
    np.testing.assert_allclose(target[0, 0, :2, 0, 0], [0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(target[0, 0, 5, 0, 0], 0.6, rtol=1e-6)
    np.testing.assert_array_equal(target[0, 0, 6:, 0, 0], [1, 0, 1])


def sequential_targets(transform, boxes, labels, scores, size_hw):
    """The rules one object after the other, for comparison."""
    levels = []
    for mask, stride in zip(transform.anchor_masks, transform.downsample_ratios):
        grid_h, grid_w = size_hw[0] // stride, size_hw[1] // stride
        target = np.zeros((len(mask), 6 + transform.num_classes, grid_h, grid_w), np.float32)
        for (x, y, w, h), label, score in zip(boxes.astype(float), labels, scores):
            if min(w, h, score) <= 0:
                continue
            sizes = transform.anchors / size_hw[::-1]
            common = np.minimum(w, sizes[:, 0]) * np.minimum(h, sizes[:, 1])
            overlap = common / (w * h + sizes.prod(axis=1) - common)
            column, row = min(int(x * grid_w), grid_w - 1), min(int(y * grid_h), grid_h - 1)
            best = int(overlap.argmax())
            for anchor in ([best] if best in mask else []) + [a for a in mask if a != best]:
                slot = target[mask.index(anchor), :, row, column]
                if anchor != best and (overlap[anchor] <= transform.iou_thresh or slot[5] > 0):
                    continue
                ratio = np.array([w, h]) * size_hw[::-1] / transform.anchors[anchor]
                slot[:6] = [x * grid_w - column, y * grid_h - row, *np.log(ratio), 2 - w * h, score]
                slot[6 + label] = 1
        levels.append(target)
    return levels


@pytest.mark.parametrize("threshold", [0.1, 0.4, 1.0])
def test_crowded_targets_equal_the_rules_one_by_one(threshold):
    """Small grids and many objects: every kind of overwriting happens."""
    anchors = [[6, 6], [9, 14], [20, 20], [40, 30]]
    transform = Gt2YoloTarget(anchors, [[2, 3], [0, 1]], [32, 16], 4, threshold)
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 1, (5, 40, 4)).astype(np.float32)
    boxes[..., 2:] *= 0.5
    boxes[0, ::7, 2] = 0
    labels, scores = rng.integers(0, 4, (5, 40)), rng.uniform(-0.2, 1, (5, 40))
    ours = transform.targets(boxes, labels, scores, (64, 96))
    for index in range(5):
        by_rule = sequential_targets(
            transform, boxes[index], labels[index], scores[index], (64, 96)
        )
        for level, expected in enumerate(by_rule):
            np.testing.assert_allclose(ours[level][index], expected, atol=1e-6)
