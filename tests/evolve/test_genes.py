"""Short names, dotted keys and bounds, against shipped configurations."""

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.evolve.genes import ALIASES, genes_of, overrides_of

KEYS = {
    "yolov4/yolov4_cspdarknet53_coco": {
        "lr": ("LearningRate.base_lr", 0.0013),
        "momentum": ("OptimizerBuilder.optimizer.momentum", 0.949),
        "iou_thresh": ("YOLOv4Loss.iou_thresh", 0.213),
        "iou_loss_weight": ("IouBoxLoss.loss_weight", 2.5),
        "jitter": ("TrainReader.sample_transforms.DarknetMosaic.jitter", 0.3),
        "obj_normalizer": ("YOLOv4Loss.obj_normalizer", 1.0),
    },
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco": {
        "iou_loss_weight": ("IouLoss.loss_weight", 2.5),
        "ignore_thresh": ("YOLOv3Loss.ignore_thresh", 0.7),
        "batch_size": ("TrainReader.batch_size", 12),
        "ema_decay": ("ema_decay", 0.9998),
    },
    "yolox/yolox_s_300e_coco": {"iou_loss_weight": ("YOLOXHead.loss_weight.iou", 5.0)},
}


@pytest.mark.parametrize("name", KEYS)
def test_short_names_find_their_keys(repo, name):
    cfg = load_config(repo / "configs" / f"{name}.yml")
    genes = genes_of(cfg, ",".join(KEYS[name]))
    assert {gene.name: (gene.key, gene.start) for gene in genes} == KEYS[name]
    for gene in genes:
        assert (gene.low, gene.high) == (ALIASES[gene.name].low, ALIASES[gene.name].high)
    # The values come back through -o, also small ones.
    values = {gene.name: gene.fitted(gene.low) for gene in genes}
    changed = load_config(repo / "configs" / f"{name}.yml", overrides_of(genes, values))
    again = genes_of(changed, ",".join(KEYS[name]))
    assert {gene.name: gene.start for gene in again} == values


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
        ("iou_thresh", "iou_thresh: .*YOLOv4Loss"),
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
