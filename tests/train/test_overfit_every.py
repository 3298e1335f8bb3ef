"""Every shipped configuration learns one batch by heart, narrow and on small images.

An hour of one core, so that it is run by hand: `pytest --every tests/train/test_overfit_every.py`.
"""

import paddle
import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.train.run import build_trainer
from tests.small_configs import small_config
from tests.test_every_config import CONFIGS

SIDE, LEAST_AP50 = 64, 0.6  # an untrained network has 0
TRIES = ((0.125, 160), (0.25, 320), (0.5, 320), (0.125, 640))
"""(share of the channels, steps): some are too narrow at an eighth, others need more time."""
KEPT = ("Decode", "PadResize", "ToBGR")
RESIZES = ("BatchRandomResize", "PeriodicRandomResize", "DarknetRandomSize", "DropSmallBoxes")
SETTINGS = """
epoch={epochs}
snapshot_epoch={epochs}
log_iter={epochs}
use_ema=false
norm_type=bn
width_mult={width}
TrainReader.batch_size=3
TrainReader.mosaic_epoch=0
"""


def heart_config(path, data, folder, width, steps):
    """The configuration without what changes from step to step: augmentations, sizes, DropBlock."""
    settings = SETTINGS.format(epochs=steps, width=width).strip().splitlines()
    drop = f"!PiecewiseDecay {{gamma: 0.1, milestones: [{steps * 3 // 4}]}}"
    warmup = "!LinearWarmup {start_factor: 0.1, steps: 10}"
    rate = f"base_lr: 0.005, scale_with_batch: false, schedulers: [{drop}, {warmup}]"
    adam = "clip_grad_by_norm: 35., optimizer: {type: Adam}, regularizer: null"
    settings += [f"LearningRate={{{rate}}}", f"OptimizerBuilder={{{adam}}}"]
    place = f"{{name: COCODataSet, dataset_dir: {data}, image_dir: images, sample_num: 3, "
    place += "anno_path: annotations/train.json}"
    settings += [f"{split}Dataset={place}" for split in ("Train", "Eval")]
    for key, section in load_config(path).items():
        for name in ("drop_block", "label_smooth", "objectness_smooth"):
            if isinstance(section, dict) and section.get(name):
                settings.append(f"{key}.{name}=false")
    cfg = small_config(path, data, folder, *settings)
    reader = cfg.TrainReader
    kept = [step for step in reader["sample_transforms"] if next(iter(step)) in KEPT]
    is_sized = any("PadResize" in step for step in kept)
    sizing = [s for s in cfg.EvalReader["sample_transforms"] if next(iter(s)) in ("Resize", "Pad")]
    if not is_sized and any("Pad" in step for step in sizing):  # evaluated so: not stretched
        kept, is_sized = [*kept, *sizing], True
    fixed = {"BatchRandomResize": {"target_size": SIDE, "random_size": False}}
    rest = [step for step in reader["batch_transforms"] if next(iter(step)) not in RESIZES]
    reader["sample_transforms"] = kept
    reader["batch_transforms"] = rest if is_sized else [fixed, *rest]
    return cfg


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_one_batch_is_learned_by_heart(path, tiny_coco, tmp_path):
    found = []
    for width, steps in TRIES:
        found.append(learned(heart_config(path, tiny_coco, tmp_path, width, steps)))
        if found[-1] > LEAST_AP50:
            return
    pytest.fail(f"AP50 {found} after {TRIES}")


def learned(cfg) -> float:
    """AP50 after the training."""
    trainer = build_trainer(cfg, "cpu", SINGLE_PROCESS, evaluate=True)
    for layer in trainer.state.model.sublayers():  # the shipped momentum would need 500 steps
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer._momentum = 0.8
    trainer.run()
    metrics = trainer.state.last_evaluation["metrics"]
    return metrics["bbox/AP50" if "bbox/AP50" in metrics else "bbox/mAP"]
