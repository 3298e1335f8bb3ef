"""The line of --data about the weights that a training starts from."""

import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.train.own_data.start_weights import start_weights_line

V2 = "ppyolov2_r50vd_dcn_365e_coco"


@pytest.mark.parametrize(
    "recipe, given, line",
    [
        (
            V2,
            None,
            "ImageNet weights (ResNet50_vd_ssld_pretrained); "
            f"-o pretrain_weights={V2} starts from COCO",
        ),
        (V2, V2, f"COCO weights ({V2})"),
        (V2, "null", "random weights"),
        (V2, "my.pdparams", "my.pdparams"),
        ("ppyolov2_r18vd_dcn_demo", None, "random weights"),
    ],
)
def test_line(recipe, given, line):
    cfg = load_config(recipe, [f"pretrain_weights={given}"] if given else [])
    assert start_weights_line(cfg, given is not None) == f"weights: starting from {line}"


def test_every_recipe_has_a_line(config):
    assert start_weights_line(config(), False) == "weights: starting from random weights"
