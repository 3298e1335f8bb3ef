"""Every kind of network among the shipped configurations exports, and the export equals it."""

import re

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.engine.checkpoint import save_checkpoint
from ppdet_lite.engine.export import export_model

# One for each backbone and neck; PP-YOLOv2 is exported by the other tests of the export.
NETWORKS = (
    "ppyolo/ppyolo_r50vd_dcn_1x_coco",
    "ppyolo/ppyolo_mbv3_small_coco",
    "ppyolo/ppyolo_tiny_650e_coco",
    "yolov3/yolov3_darknet53_270e_coco",
)


def random_weights(cfg) -> dict:
    """Weights of `cfg`'s model whose raw outputs are of the size of trained ones."""
    paddle.seed(1)
    rng = np.random.default_rng(1)
    model = create(cfg.architecture, cfg)
    model.eval()
    noise = paddle.to_tensor(rng.standard_normal((1, 3, 64, 96)).astype(np.float32))
    with paddle.no_grad():
        maps = model.neck(model.backbone(noise))
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    for i, feature in enumerate(maps):
        key = f"yolo_head.yolo_output.{i}.weight"
        spread = np.sqrt((feature.numpy() ** 2).mean() * feature.shape[1])
        weights[key] = rng.normal(0, 1 / spread, weights[key].shape).astype(np.float32)
    return weights


@pytest.mark.parametrize("name", NETWORKS)
def test_export_equals_the_network(name, repo, tmp_path, capsys):
    resize = "{target_size: [64, 96], keep_ratio: false, interp: 2}"
    cfg = load_config(
        repo / "configs" / f"{name}.yml",
        [
            "num_classes=3",
            "width_mult=0.125",
            "use_gpu=false",
            f"weights={tmp_path / 'random'}",
            "TestReader.inputs_def.image_shape=[3, 64, 96]",
            f"TestReader.sample_transforms.1.Resize={resize}",
        ],
    )
    weights = random_weights(cfg)
    meta = {"class_names": ["ring", "cross", "star"]}
    save_checkpoint(str(tmp_path), "random", weights, meta)

    folder = export_model(cfg, tmp_path / "out")

    assert (folder / "model.pdiparams").stat().st_size > 10_000
    said = capsys.readouterr()
    verified = re.findall(
        r"export verified \((\w+) kernels\): 2 pictures, (\d+) of (\d+) boxes", said.out + said.err
    )
    assert [kernels for kernels, _, _ in verified] == ["plain", "oneDNN"]
    for _, found, total in verified:
        assert 0 < int(found) == int(total)
