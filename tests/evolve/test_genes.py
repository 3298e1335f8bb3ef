"""Short names, dotted keys and bounds, against shipped configurations."""

import logging
import re

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.shipped import shipped_configs
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.evolve.genes import genes_of, overrides_of
from ppdet_lite.evolve.short_names import SHORT_NAMES, default_of

KEYS = {
    "yolov4/yolov4_cspdarknet53_coco": {
        "lr": ("LearningRate.base_lr", 0.0013),
        "momentum": ("OptimizerBuilder.optimizer.momentum", 0.949),
        "iou_thresh": ("YOLOv4Loss.iou_thresh", 0.213),
        "iou_loss_weight": ("DarknetBoxLoss.loss_weight", 0.07),
        "jitter": ("TrainReader.sample_transforms.DarknetMosaic.jitter", 0.3),
        "obj_normalizer": ("YOLOv4Loss.obj_normalizer", 1.0),
    },
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco": {
        "iou_loss_weight": ("IouLoss.loss_weight", 2.5),
        "ignore_thresh": ("YOLOv3Loss.ignore_thresh", 0.7),
        "iou_thresh": ("TrainReader.batch_transforms.Gt2YoloTarget.iou_thresh", 1.0),
        "batch_size": ("TrainReader.batch_size", 12),
        "ema_decay": ("ema_decay", 0.9998),
    },
    "yolox/yolox_s_300e_coco": {
        "iou_loss_weight": ("YOLOXHead.loss_weight.iou", 5.0),
        "hue": ("TrainReader.sample_transforms.AugmentHSV.hgain", 5),
    },
    "yolox/upstream/yolox_s_upstream_coco": {
        "iou_loss_weight": ("UpstreamYOLOXHead.loss_weight.iou", 5.0),
        "mosaic": ("TrainReader.sample_transforms.UpstreamMosaic.prob", 1.0),
    },
    "asff/yolov3_asff_coco": {"ignore_thresh": ("GuidedAnchorLoss.ignore_thresh", 0.7)},
    "yolov4/yolov4_tiny_coco": {"iou_thresh": ("YOLOv4Loss.iou_thresh", 1.0)},
    "yolov4/yolov4_csp_coco": {"obj_normalizer": ("YOLOv4Loss.obj_normalizer", 4.0)},
}


@pytest.mark.parametrize("name", KEYS)
def test_short_names_find_their_keys(repo, name):
    cfg = load_config(repo / "configs" / f"{name}.yml")
    genes = genes_of(cfg, ",".join(KEYS[name]))
    assert {gene.name: (gene.key, gene.start) for gene in genes} == KEYS[name]
    for gene in genes:
        assert gene.low <= gene.start <= gene.high
    # The values come back through -o, also small ones.
    values = {gene.name: gene.fitted(gene.low) for gene in genes}
    changed = load_config(repo / "configs" / f"{name}.yml", overrides_of(genes, values))
    again = genes_of(changed, ",".join(KEYS[name]))
    assert {gene.name: gene.start for gene in again} == values


FAMILIES = {
    "lr": r".",
    "batch_size": r".",
    "weight_decay": r"^(?!.*(_demo|_bccd)$)",
    "iou_thresh": r"^(ppyolo|yolov3_(darknet53|mobilenet_v1|r50vd)|yolov4)",
    "ignore_thresh": r"^(ppyolo|yolov)",
    "iou_loss_weight": r"^(ppyolo|yolov4|yolox|roadmap|end_to_end)",
    "obj_normalizer": r"^yolov4",
    "label_smoothing": r"^yolov4",
    "jitter": r"^yolov4(?!.*_demo)",
    "hue": r"^(yolov4|yolox|roadmap|end_to_end)(?!.*_demo)",
}
"""Short name -> the configs that have such a setting, as a pattern of their names."""


def test_short_names_work_wherever_such_a_setting_is():
    for config, path in shipped_configs().items():
        cfg = load_config(path)
        for name, pattern in FAMILIES.items():
            if re.search(pattern, config):
                (gene,) = genes_of(cfg, name)
                assert gene.low <= gene.start <= gene.high and gene.low < gene.high, config
                continue
            with pytest.raises(ConfigError, match=f"`hyp`: {name}: ") as caught:
                genes_of(cfg, name)
            assert config in str(caught.value) or "found None" in str(caught.value)


@pytest.mark.parametrize(
    "head", [s.key.split(".")[0] for s in SHORT_NAMES["iou_loss_weight"] if s.default]
)
def test_the_weight_that_a_head_has_unless_stated(head):
    weights = create(head).loss.loss_weight
    (setting,) = (s for s in SHORT_NAMES["iou_loss_weight"] if s.key.startswith(f"{head}."))
    assert weights["iou"] == setting.default


def test_a_start_beyond_the_bounds_widens_them(repo, caplog):
    cfg = load_config(repo / "configs/yolov4/yolov4_tiny_coco.yml")
    with caplog.at_level(logging.INFO):
        (gene,) = genes_of(cfg, "iou_thresh")
    assert (gene.low, gene.high, gene.start) == (0.1, 1.0, 1.0)
    assert "YOLOv4Loss.iou_thresh is 1, beyond the bounds" in caplog.text
    with pytest.raises(ConfigError, match="found 1 in the configuration, allowed: 0.2 to 0.6"):
        genes_of(cfg, "iou_thresh=0.2:0.6")


def test_entries_of_a_list_keep_their_ratio(repo, caplog):
    cfg = load_config(repo / "configs/yolov4/yolov4_csp_coco.yml")
    with caplog.at_level(logging.INFO):
        (gene,) = genes_of(cfg, "obj_normalizer")
    assert gene.start == 4 and "the others keep their ratio" in caplog.text
    (text,) = overrides_of([gene], {"obj_normalizer": 2.0})
    assert text == "YOLOv4Loss.obj_normalizer=[2.0, 0.5, 0.2]"
    changed = load_config(cfg.path, [text])
    assert changed["YOLOv4Loss"]["obj_normalizer"] == [2.0, 0.5, 0.2]
    (sides,) = genes_of(cfg, "TrainReader.sample_transforms.DarknetMosaic.target_size=320:640")
    assert sides.setting(sides.fitted(320)) == [320, 320]
    for key in ("YOLOv4Head.anchors", "YOLOv4Loss.objectness_smooth"):
        with pytest.raises(ConfigError, match=f"{key}: found .*allowed: a number, or a list"):
            genes_of(cfg, f"{key}=1:20")


def test_a_default_of_a_transform_is_a_start(repo):
    cfg = load_config(repo / "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml")
    (gene,) = genes_of(cfg, "TrainReader.sample_transforms.RandomExpand.prob=0.1:0.9")
    assert gene.start == default_of("RandomExpand.prob") == 0.5
    with pytest.raises(ConfigError, match="found 'GridMask'"):
        genes_of(cfg, "TrainReader.sample_transforms.GridMask.prob=0.1:0.9")


def test_dotted_keys_with_bounds(repo):
    cfg = load_config(repo / "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml")
    text = (
        "TrainReader.batch_size=2:32,TrainReader.sample_transforms.Mixup.alpha=0.5:3,lr=1e-4:1e-2"
    )
    size, alpha, rate = genes_of(cfg, text)
    assert (size.whole, size.low, size.high, size.start) == (True, 2, 32, 12)
    assert (alpha.whole, alpha.start) == (False, 1.5)
    assert (rate.low, rate.high) == (1e-4, 1e-2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lrr", "found lrr, allowed: lr.*did you mean|lrr.*lr"),
        ("obj_normalizer", "obj_normalizer: .* has no such setting.*YOLOv4Loss"),
        ("YOLOv4Loss.iou_thresh=0.1:0.7", "YOLOv4Loss: found no such key"),
        ("TrainReader.batch_size", "found no bounds"),
        ("lr=1:0.1", "lr: found '1:0.1'"),
        ("lr=0.1:0.2", "lr: found 0.005 in the configuration, allowed: 0.1 to 0.2"),
        ("TrainReader.batch_sizes=1:4", "batch_sizes"),
        ("TrainReader.shuffle=0:1", "shuffle: found True, allowed: a number"),
        ("lr,lr=0.001:0.1", "LearningRate.base_lr: found twice"),
        ("", "found no name"),
    ],
)
def test_what_cannot_be_searched_is_named(repo, text, found):
    cfg = load_config(repo / "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml")
    with pytest.raises(ConfigError, match=found):
        genes_of(cfg, text)
