"""Every shipped configuration: it loads, builds, runs, and its weights survive save and load."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.engine.checkpoint import load_weights, save_checkpoint

ROOT = Path(__file__).resolve().parent.parent / "configs"
PARTS = ("_base_", "datasets")
CONFIGS = sorted(
    path
    for path in ROOT.rglob("*.yml")
    if path.parent.name not in PARTS and path.name != "runtime.yml"
)
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)

# Millions of trainable parameters with 80 classes (R50: as in the reference state dict).
FULL_SIZE = {"ppyolov2_r50vd_dcn_365e_coco": 54.58, "ppyolov2_r101vd_dcn_365e_coco": 73.57}


def inputs(batch: int = 2, side: int = 64) -> dict:
    pixels = np.random.default_rng(0).standard_normal((batch, 3, side, side))
    return {
        "image": paddle.to_tensor(pixels.astype(np.float32)),
        "im_shape": paddle.full([batch, 2], float(side)),
        "scale_factor": paddle.ones([batch, 2]),
    }


@each_config
def test_builds_runs_and_survives_save_and_load(path, tmp_path):
    width = min(0.125, load_config(path).get("width_mult", 1.0))
    cfg = load_config(path, [f"width_mult={width}"])
    models = []
    for seed in (1, 2):
        paddle.seed(seed)
        models.append(create(cfg.architecture, cfg))
        models[-1].eval()
    first, second = models
    raw = [output.numpy() for output in first.raw_outputs(inputs()["image"])]
    values_per_cell = 3 * (cfg.num_classes + 6)
    assert [output.shape for output in raw] == [
        (2, values_per_cell, side, side) for side in (2, 4, 8)
    ]
    detections = first(inputs())
    assert list(detections["bbox"].shape) == [int(detections["bbox_num"].sum()), 6]

    others = second.raw_outputs(inputs()["image"])
    assert not np.allclose(raw[0], others[0].numpy())
    weights = {key: value.numpy() for key, value in first.state_dict().items()}
    report = load_weights(second, save_checkpoint(str(tmp_path), "weights", weights, {}))
    assert len(report.matched) == len(weights) == len(second.state_dict())
    assert not (report.missing or report.unexpected or report.mismatched)
    for expected, found in zip(raw, second.raw_outputs(inputs()["image"])):
        np.testing.assert_array_equal(expected, found.numpy())


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_published_models_have_their_size(name):
    cfg = load_config(ROOT / "ppyolo" / f"{name}.yml")
    model = create(cfg.architecture, cfg)
    count = sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)
    assert count / 1e6 == pytest.approx(FULL_SIZE[name], abs=0.005)


@each_config
def test_optimizer_and_schedule_build(path):
    cfg = load_config(path)
    layer = paddle.nn.Linear(2, 2)
    schedule = create("LearningRate", cfg)(steps_per_epoch=10, epochs=cfg.epoch)
    optimizer = create("OptimizerBuilder", cfg)(schedule, layer.parameters())
    assert optimizer.get_lr() == schedule()
    assert cfg.LearningRate["reference_batch_size"] >= 1


@each_config
def test_opens_with_its_command_and_hardware(path):
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line)
    text = "\n".join(comment)
    assert "tools/" in text and "Hardware" in text, f"{path} opens with:\n{text}"
