"""The entry points that a notebook uses, as README.md shows them."""

import numpy as np
import pytest

from ppdet_lite.core.workspace import create, load_config

CUSTOM = '''
from ppdet_lite.core.workspace import register


@register
class PaintItBlack:
    """A user's own transform on pixels, in PaddleDetection's form."""

    def __init__(self, rows: int = 4):
        self.rows = rows

    def __call__(self, sample, context=None):
        image = sample["image"].copy()
        image[: self.rows] = 0
        sample["image"] = image
        return sample
'''


@pytest.fixture
def overrides(tiny_coco):
    return [
        "num_classes=2",
        "width_mult=0.125",
        "worker_num=0",
        "TrainReader.batch_size=2",
        "EvalReader.batch_size=2",
        *[f"{name}.dataset_dir={tiny_coco}" for name in ("TrainDataset", "EvalDataset")],
        *[f"{name}.image_dir=images" for name in ("TrainDataset", "EvalDataset")],
    ]


def test_a_readers_batch_goes_into_the_model(repo, overrides):
    cfg = load_config(repo / "configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml", overrides)
    model = create(cfg.architecture, cfg)
    batch = next(iter(create("TrainReader", cfg)))
    losses = model(batch)
    terms = [float(value) for name, value in losses.items() if name != "loss"]
    assert len(terms) == 6 and float(losses["loss"]) == pytest.approx(sum(terms), rel=1e-5)
    model.eval()
    batch = next(iter(create("EvalReader", cfg)))
    detections = model(batch)
    assert detections["bbox"].shape[1] == 6
    assert detections["bbox_num"].shape == [2]
    assert isinstance(batch["image"], np.ndarray)  # the caller's batch is left alone


def test_a_transform_of_ones_own_takes_part(repo, overrides, tmp_path):
    (tmp_path / "mine.py").write_text(CUSTOM)
    overrides += [
        f"custom_modules=[{tmp_path / 'mine.py'}]",
        "TrainReader.sample_transforms=[{Decode: {}}, {PaintItBlack: {rows: 48}}]",
        "TrainReader.batch_transforms.BatchRandomResize.random_interp=false",
    ]
    cfg = load_config(repo / "configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml", overrides)
    image = next(iter(create("TrainReader", cfg)))["image"]
    black = -np.array([0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])
    top, bottom = image[:, :, :60], image[:, :, 68:]  # 48 of 96 rows are half of 128
    np.testing.assert_allclose(top, np.broadcast_to(black[:, None, None], top.shape), atol=1e-5)
    assert np.abs(bottom - black[:, None, None]).min() > 0.01
