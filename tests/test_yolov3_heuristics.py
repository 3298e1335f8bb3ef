"""The training heuristics of YOLOv3 (mixup, cosine schedule, label smoothing, SyncBN): each is
switched by a configuration or `-o`, and does what it is known for.
"""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.layers.norm import synchronize_norms
from ppdet_lite.modeling.losses.yolov3_loss import YOLOv3Loss
from ppdet_lite.train.run import synchronizes_norms

SMALL = ["width_mult=0.125", "use_gpu=false", "worker_num=0", "num_classes=2"]
COSINE = "LearningRate.schedulers=[!CosineDecay {}, !LinearWarmup {start_factor: 0., epochs: 2}]"


@pytest.fixture
def load(repo):
    """Function from overrides to the configuration, small."""

    def _load(*overrides, name="yolov3_darknet53_270e_coco"):
        return load_config(repo / "configs" / "yolov3" / f"{name}.yml", [*SMALL, *overrides])

    return _load


@pytest.mark.parametrize(
    "override, mixed",
    [
        ("TrainReader.mixup_epoch=250", True),
        ("TrainReader.mixup_epoch=0", True),
        ("TrainReader.mixup_epoch=-1", False),
        ("TrainReader.mixup_epoch=4", False),  # epochs 0 to 3
        ("TrainReader.mixup_epoch=5", True),
    ],
)
def test_mixup(load, tiny_coco, override, mixed):
    data = f"dataset_dir: {tiny_coco}, image_dir: images, anno_path: annotations/train.json"
    small = ["TrainReader.batch_size=4"]
    small += ["TrainReader.batch_transforms.BatchRandomResize.target_size=[64]"]
    cfg = load(override, *small, f"TrainDataset={{name: COCODataSet, {data}}}")
    batch = next(create("TrainReader", cfg).batches(epoch=4))
    shares = np.unique(np.concatenate([batch[f"target{i}"][:, :, 5].ravel() for i in range(3)]))
    assert (set(shares.tolist()) != {0.0, 1.0}) == mixed
    assert shares.min() == 0 and shares.max() <= 1


def test_cosine_schedule_with_warmup(load):
    curve = create("LearningRate", load(COSINE))
    # 2 epochs of warm-up, then half a cosine over 268, 10 steps each.
    found = [curve.at(i, 10, 270) for i in (0, 5, 10, 19, 20, 20 + 1340, 20 + 2680 // 3, 2700)]
    third = 0.5 * (math.cos(math.pi * 893 / 2680) + 1)
    assert found == pytest.approx(
        [0, 0.00025, 0.0005, 0.00095, 0.001, 0.0005, 0.001 * third, 0], rel=1e-6, abs=1e-12
    )
    shipped = create("LearningRate", load(name="yolov3_darknet53_heuristics_coco"))
    assert [shipped.at(i, 10, 270) for i in range(2700)] == [
        curve.at(i, 10, 270) for i in range(2700)
    ]
    drops = create("LearningRate", load())
    assert drops.at(2000, 10, 270) == pytest.approx(0.5 * 0.001)  # still warming up, to 4000


@pytest.mark.parametrize("classes, delta", [(2, 1 / 40), (40, 1 / 40), (80, 1 / 80)])
def test_label_smoothing_by_hand(classes, delta):
    """One object of class 1 with score 0.5 in one of two images; logits 0 but for class 1's."""
    level = AnchorLevel(anchors=((32, 32),), stride=32, scale_x_y=1.0)
    target = np.zeros((2, 1, 6 + classes, 1, 1), np.float32)
    target[0, 0, :6, 0, 0] = 0.5, 0.5, 0, 0, 1, 0.5
    target[0, 0, 7, 0, 0] = 1
    raw = np.zeros((2, 5 + classes, 1, 1), np.float32)
    raw[0, 6] = math.log(3)  # probability 3/4
    output = paddle.to_tensor(raw, stop_gradient=False)
    batch = {"target0": paddle.to_tensor(target), "gt_bbox": paddle.zeros([2, 1, 4])}
    loss = YOLOv3Loss(classes, label_smooth=True)
    term = loss([output], batch, [level], False)["loss_cls"]
    own = -(1 - delta) * math.log(3 / 4) - delta * math.log(1 / 4)
    others = (classes - 1) * math.log(2)  # -p ln(1/2) - (1 - p) ln(1/2)
    assert term.item() == pytest.approx((own + others) * 0.5 / 2, rel=1e-5)
    term.backward()
    gradient = output.grad.numpy()[0, 5:, 0, 0] * 2 / 0.5
    assert gradient[1] == pytest.approx(3 / 4 - (1 - delta), abs=1e-6)
    np.testing.assert_allclose(np.delete(gradient, 1), 0.5 - delta, atol=1e-6)
    assert not output.grad.numpy()[1].any()


def test_label_smoothing_is_a_switch(load):
    for override, on in (("true", True), ("false", False)):
        model = create("YOLOv3", load(f"YOLOv3Loss.label_smooth={override}"))
        assert model.yolo_head.loss.label_smooth is on
    assert not create("YOLOv3", load()).yolo_head.loss.label_smooth
    heuristics = load(name="yolov3_darknet53_heuristics_coco")
    assert create("YOLOv3", heuristics).yolo_head.loss.label_smooth


@pytest.mark.parametrize("norm_type", ["sync_bn", "bn"])
def test_norms_over_all_gpus(load, norm_type):
    cfg = load(f"norm_type={norm_type}")
    model = create("YOLOv3", cfg)
    wanted = synchronizes_norms(cfg.settings.norm_type, "gpu:0", Ranks(0, 8))
    assert wanted == (norm_type == "sync_bn")
    keys = list(model.state_dict())
    norms = [layer for layer in model.sublayers() if type(layer) is paddle.nn.BatchNorm2D]
    assert len(norms) == 72  # 52 in DarkNet-53 without its classifier, 20 in the neck
    if wanted:
        synchronize_norms(model)
        made = [x for x in model.sublayers() if isinstance(x, paddle.nn.SyncBatchNorm)]
        assert len(made) == len(norms) and list(model.state_dict()) == keys


def test_synchronized_norms_keep_momentum_and_epsilon(repo):
    path = repo / "configs" / "yolox" / "yolox_nano_300e_coco.yml"
    model = create("YOLOX", load_config(path, ["num_classes=2", "width_mult=0.125"]))
    synchronize_norms(model)
    norms = [x for x in model.sublayers() if isinstance(x, paddle.nn.SyncBatchNorm)]
    assert norms and {(x._momentum, x._epsilon) for x in norms} == {(0.97, 1e-3)}


def test_the_file_that_shows_them_together(load):
    cfg = load(name="yolov3_darknet53_heuristics_coco")
    reader = cfg.TrainReader
    mixup = {"Mixup": {"alpha": 1.5, "beta": 1.5}}
    assert mixup in reader["sample_transforms"] and reader["mixup_epoch"] == 250
    sizes = next(iter(reader["batch_transforms"]))["BatchRandomResize"]["target_size"]
    assert sizes == list(range(320, 609, 32))
    assert (cfg.norm_type, cfg.YOLOv3Loss["label_smooth"]) == ("sync_bn", True)
