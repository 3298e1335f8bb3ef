"""configs/yolov4/ablation: each file changes what its row of the paper's tables changes."""

from pathlib import Path

import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.backbones.csp_darknet53 import CSPDarknet53
from ppdet_lite.modeling.backbones.csp_resnext50 import CSPResNeXt50
from ppdet_lite.modeling.heads.yolov3_head import COCO_ANCHORS
from ppdet_lite.modeling.heads.yolov4_head import YOLOV4_ANCHORS
from ppdet_lite.modeling.layers.cross_mini_batch_norm import gather_over_mini_batches
from tests.test_ablation_configs import changes

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "yolov4"
RESNEXT_GAMMA = "weights/csresnext50-gamma.pdparams"
DARKNET_GAMMA = "weights/csdarknet53-gamma.pdparams"
ANCHORS = [(list(old), list(new)) for old, new in zip(YOLOV4_ANCHORS, COCO_ANCHORS)]
FOUR_AT_A_TIME = {"accumulate_steps": (8, 16), "TrainReader.batch_size": (8, 4)}
STEPS = {
    ("base", "s"): {"YOLOv4Head.scale_x_y": (1.0, [1.2, 1.1, 1.05])},
    ("base", "it"): {"YOLOv4Loss.iou_thresh": (1.0, 0.213)},
    ("base", "ls"): {"YOLOv4Loss.label_smooth_eps": (None, 0.1)},
    ("base", "cbn"): {"norm_type": ("sync_bn", "cmbn")},
    ("s", "s_giou"): {"DarknetBoxLoss.kind": ("mse", "giou")},
    ("s", "s_diou"): {"DarknetBoxLoss.kind": ("mse", "diou")},
    ("s", "s_ciou"): {"DarknetBoxLoss.kind": ("mse", "ciou")},
    ("bof", "bof_without_s_it"): {
        "YOLOv4Head.scale_x_y": ([1.2, 1.1, 1.05], 1.0),
        "YOLOv4Loss.iou_thresh": (0.213, 1.0),
    },
    ("bof", "bof_backbone"): {"pretrain_weights": (None, RESNEXT_GAMMA)},
    ("bof_backbone", "bof_backbone_mish"): {
        "CSPResNeXt50.act": ("leaky", "mish"),
        "pretrain_weights": (RESNEXT_GAMMA, "weights/csresnext50-omega.pdparams"),
    },
    ("bof_backbone", "cspdarknet53"): {
        "YOLOv4.backbone": ("CSPResNeXt50", "CSPDarknet53"),
        "CSPDarknet53.act": (None, "leaky"),
        "CSPDarknet53.return_idx": (None, [2, 3, 4]),
        "pretrain_weights": (RESNEXT_GAMMA, DARKNET_GAMMA),
    },
    ("cspdarknet53", "mish"): {
        "CSPDarknet53.act": ("leaky", "mish"),
        "pretrain_weights": (DARKNET_GAMMA, "weights/csdarknet53-omega.pdparams"),
    },
    ("mish", "mini_batch_8"): {f"YOLOv4Head.anchors.{i}": pair for i, pair in enumerate(ANCHORS)},
    ("base", "608"): {
        "TrainReader.sample_transforms.2.JitterCrop.target_size": ([512, 512], [608, 608]),
        "TrainReader.batch_transforms.0.DarknetRandomSize.target_size": ([512, 512], [608, 608]),
        "EvalReader.sample_transforms.1.Resize.target_size": ([512, 512], [608, 608]),
        "TestReader.sample_transforms.1.Resize.target_size": ([512, 512], [608, 608]),
        "TestReader.inputs_def.image_shape": ([3, 512, 512], [3, 608, 608]),
    },
    ("608", "608_mini_batch_4"): FOUR_AT_A_TIME,
    ("bof", "sam"): {"YOLOv4PAN.sam": (None, True)},
    ("bof", "rfb"): {"YOLOv4PAN.rfb": (None, True)},
    ("rfb", "asff_rfb"): {
        "YOLOv4.neck": ("YOLOv4PAN", "ASFF"),
        "ASFF.neck": (None, "YOLOv4PAN"),
    },
    ("mini_batch_8", "mini_batch_4"): FOUR_AT_A_TIME,
}


def file(name: str) -> Path:
    return FOLDER / "ablation" / f"yolov4_ablation_{name}.yml"


@pytest.mark.parametrize("names", STEPS, ids="-".join)
def test_one_thing_changes(names):
    found = changes(*map(file, names))
    assert {key: value for key, value in found.items() if value != (None, None)} == STEPS[names]


def test_all_freebies_lead_to_the_released_network():
    """The released recipe is left with its later rate, larger images, and without the classifier to
    start from, which is not published for this program."""
    found = changes(file("mish"), FOLDER / "yolov4_cspdarknet53_coco.yml")
    sizes = {key: pair for key, pair in found.items() if [512, 512] in pair or 512 in pair}
    assert {key.split(".")[0] for key in sizes} <= {"TrainReader", "EvalReader", "TestReader"}
    rest = {key: pair for key, pair in found.items() if pair != (None, None) and key not in sizes}
    rest = {key: pair for key, pair in rest.items() if "inputs_def" not in key}
    rest = {key: pair for key, pair in rest.items() if not key.startswith("CSPResNeXt50.")}
    assert rest == {
        "pretrain_weights": ("weights/csdarknet53-omega.pdparams", None),
        "LearningRate.base_lr": (0.00261, 0.0013),
    }


def test_networks_of_the_rows():
    plain = build("bof")
    assert type(plain.backbone) is CSPResNeXt50
    assert type(build("mini_batch_4").backbone) is CSPDarknet53
    assert len(plain.neck.out_shape) == 3 and plain.neck.rfb is None
    assert build("sam").neck.top_down[0].sam is not None
    fused = build("asff_rfb").neck
    assert fused.neck.rfb is not None and fused.out_shape == plain.neck.out_shape


def build(name: str):
    cfg = load_config(file(name), ["width_mult=0.125"])
    return create(cfg.architecture, cfg)


def test_cbn_replaces_the_norms():
    model = build("cbn")
    gather_over_mini_batches(model, load_config(file("cbn")).accumulate_steps)
    counts = {layer.mini_batches for layer in model.sublayers() if hasattr(layer, "mini_batches")}
    assert counts == {8}
