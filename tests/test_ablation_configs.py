"""configs/ppyolo/ablation: each step of the paper's table 1 changes what the paper changes."""

from pathlib import Path

import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.losses.iou_loss import IouAwareLoss, SoftWeightIouAwareLoss

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "ppyolo"
RELEASED = CONFIGS / "ppyolov2_r50vd_dcn_365e_coco.yml"
STEPS_PER_EPOCH = 117266 // 96  # images of COCO train2017 with objects, per batch of the paper


def row(letter: str) -> Path:
    return CONFIGS / "ablation" / f"ppyolov2_ablation_{letter}.yml"


def flat(value, path=()) -> dict:
    """Dotted key -> plain value, into lists too; a list of numbers is one value."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        items = list(enumerate(value))
    else:
        return {".".join(map(str, path)): value}
    return {key: leaf for name, part in items for key, leaf in flat(part, (*path, name)).items()}


def changes(first: Path, second: Path) -> dict:
    """Dotted key -> (before, after); None where there is no such key."""
    before, after = flat(load_config(first)), flat(load_config(second))
    return {
        key: (before.get(key), after.get(key))
        for key in (*before, *(key for key in after if key not in before))
        if key != "weights" and before.get(key) != after.get(key)
    }


def test_b_has_another_neck():
    assert changes(row("a"), row("b")) == {
        "YOLOv3.neck": ("PPYOLOFPN", "PPYOLOPAN"),
        "PPYOLOPAN.act": (None, "mish"),
        "PPYOLOPAN.drop_block": (None, True),
        "PPYOLOPAN.block_size": (None, 3),
        "PPYOLOPAN.keep_prob": (None, 0.9),
        "PPYOLOPAN.spp": (None, True),
    }


TRAINING_SIZES = "TrainReader.batch_transforms.0.BatchRandomResize.target_size"
EVALUATED_AT_640 = {
    "EvalReader.sample_transforms.1.Resize.target_size": ([608, 608], [640, 640]),
    "TestReader.sample_transforms.1.Resize.target_size": ([608, 608], [640, 640]),
    "TestReader.inputs_def.image_shape": ([3, 608, 608], [3, 640, 640]),
}


def sizes_to(largest: int) -> list:
    return list(range(320, largest + 1, 32))


@pytest.mark.parametrize(
    "reading, training",
    [("c", {TRAINING_SIZES: (sizes_to(608), sizes_to(640))}), ("c_eval", {})]
    + [("c_fixed", {TRAINING_SIZES: (sizes_to(608), [640])})],
)
def test_the_readings_of_c_train_and_evaluate_at_640(reading, training):
    assert changes(row("b"), row(reading)) == {**EVALUATED_AT_640, **training}


def test_c_eval_evaluates_the_weights_of_b():
    assert load_config(row("c_eval")).weights == load_config(row("b")).weights


def test_d_trains_on_larger_sizes():
    assert changes(row("c"), row("d")) == {TRAINING_SIZES: (sizes_to(640), sizes_to(768))}


def test_e_has_the_iou_as_soft_label():
    losses = ("SoftWeightIouAwareLoss", "IouAwareLoss")
    assert changes(row("d"), row("e")) == {"YOLOv3Loss.iou_aware_loss": losses}


def test_e_is_the_released_recipe_but_for_what_its_header_says():
    found = changes(RELEASED, row("e"))
    leftover = ("PPYOLOFPN.", "SoftWeightIouAwareLoss.")  # sections of classes that E does not use
    found = {key: value for key, value in found.items() if not key.startswith(leftover)}
    assert found == {
        "epoch": (365, 410),
        "LearningRate.schedulers.0.milestones": ([243], [328, 369]),
        "YOLOv3Head.iou_aware_factor": (0.5, 0.4),
        "master_grad": (True, False),
        "PPYOLOPAN.act": (None, "mish"),  # the default of the class
    }


def test_e_builds_what_the_released_recipe_builds():
    described = []
    for path in (RELEASED, row("e")):
        cfg = load_config(path, ["width_mult=0.125"])
        model = create(cfg.architecture, cfg)
        loss = model.yolo_head.loss
        reader = create("TrainReader", cfg)
        target = reader.batch_transforms[-1]
        terms = (loss, loss.iou_loss, loss.iou_aware_loss)
        described.append(
            {
                "weights": {key: tuple(v.shape) for key, v in model.state_dict().items()},
                "levels": [level[:3] for level in model.yolo_head.levels],  # not the IoU's power
                "losses": [(type(term), settings(term)) for term in terms],
                "targets": (target.anchors.tolist(), settings(target)),
                "nms": model.post_process.nms.arguments,
                "preprocess": create("EvalReader", cfg).preprocess_config(),
            }
        )
    assert described[0] == described[1]
    assert described[0]["losses"][2][0] is IouAwareLoss


def settings(thing) -> dict:
    """The public numbers, switches and names among the attributes."""
    return {
        key: v
        for key, v in vars(thing).items()
        if key[0] != "_" and isinstance(v, (bool, int, float, str))
    }


@pytest.mark.parametrize("letter, kind", [("a", SoftWeightIouAwareLoss), ("e", IouAwareLoss)])
def test_the_iou_aware_losses(letter, kind):
    cfg = load_config(row(letter))
    loss = create("YOLOv3Loss", cfg)
    assert type(loss.iou_aware_loss) is kind and loss.iou_aware_loss.loss_weight == 1.0


def test_the_schedule_of_the_paper():
    """500,000 iterations with drops at 400,000 and 450,000, to the nearest epoch that reaches."""
    cfg = load_config(row("a"))
    rate = create("LearningRate", cfg)

    def at(iteration):
        return rate.at(iteration, STEPS_PER_EPOCH, cfg.epoch)

    assert at(0) == 0 and at(2000) == pytest.approx(0.0025)
    assert at(4000) == at(400_487) == 0.005
    assert at(400_488) == at(450_548) == pytest.approx(0.0005)
    assert at(450_549) == at(500_609) == pytest.approx(0.00005)
    assert cfg.epoch * STEPS_PER_EPOCH == 500_610
    assert rate.scaled_lr(world_size=8, batch_size=cfg.TrainReader["batch_size"])[0] == 0.005
