"""A deployed YOLOX, whose images keep their ratio and are padded, detects what the model does."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.evaluate.predictor import Predictor
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.compare import compare_detections
from ppdet_lite.export.run import export_model
from ppdet_lite.modeling.detectors.yolox import NORM_EPSILON
from ppdet_lite.modeling.layers.norm import set_norm_constants
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.weights.checkpoint import save_checkpoint

KEEP_TOP_K = 1000  # more than there are candidates


@pytest.fixture(scope="module")
def yolox(repo, tmp_path_factory):
    """The configuration of a narrow YOLOX at 96 x 96 with random weights that find many objects.

    The boxes are about as large as the cells, so that none overlaps another by anything near the
    threshold of the NMS, where rounding would decide.
    """
    folder = tmp_path_factory.mktemp("yolox")
    sample_transforms = (
        "[Decode: {}, Resize: {target_size: [96, 96], keep_ratio: true, interp: 1}, "
        "Pad: {size: [96, 96], fill_value: [114., 114., 114.]}, Permute: {}]"
    )
    cfg = load_config(
        repo / "configs/yolox/yolox_s_300e_coco.yml",
        [
            "num_classes=3",
            "width_mult=0.125",
            "use_gpu=false",
            f"weights={folder / 'random'}",
            f"YOLOXHead.nms.keep_top_k={KEEP_TOP_K}",
            f"TestReader.sample_transforms={sample_transforms}",
            "TestReader.inputs_def.image_shape=[3, 96, 96]",
        ],
    )
    paddle.seed(1)
    rng = np.random.default_rng(1)
    model = create(cfg.architecture, cfg)
    set_norm_constants(model, NORM_EPSILON, momentum=0.0)
    model.train()  # gives the norms the statistics of these weights
    preprocess = Preprocess(create("TestReader", cfg).preprocess_config())
    views = [np.rot90(built_in_image(), turns) for turns in range(4)]
    views += [built_in_image(120, 200), built_in_image(200, 200)[:90, :90]]
    inputs = np.stack([preprocess(view.copy())["image"] for view in views])
    model.raw_outputs(paddle.to_tensor(inputs))
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    for key, value in weights.items():
        if key.endswith(".2.weight"):
            scale = 0.001 if "conv_reg" in key else 0.5
            weights[key] = rng.normal(0, scale, value.shape).astype(np.float32)
    meta = {"class_names": ["ring", "cross", "star"]}
    save_checkpoint(str(folder), "random", weights, meta)
    return cfg, export_model(cfg, folder / "out")


def test_the_export_says_that_it_is_a_yolox(yolox):
    config = Detector(yolox[1]).files.config
    assert (config.arch, config.min_subgraph_size) == ("YOLOX", 8)
    assert config.decode == {"name": "CellBox", "conf_thresh": 0.0}
    assert config.nms["nms_threshold"] == 0.65


def test_images_of_any_shape(yolox):
    cfg, folder = yolox
    trained, deployed = Predictor.from_config(cfg), Detector(folder)
    wide = built_in_image(120, 200)
    images = [wide, np.ascontiguousarray(wide.transpose(1, 0, 2)), wide[:90, :90].copy()]
    for image, found in zip(images, deployed.predict(images)):
        expected = trained(image)
        result = compare_detections(expected, found, 0.001, KEEP_TOP_K)
        assert len(expected) > 100
        assert len(result.lost) == len(result.extra) == 0
        assert result.matched >= 0.98 * len(expected)


def test_the_network_input_is_padded_with_gray(yolox):
    sample = Detector(yolox[1]).files.preprocess(built_in_image(120, 200))
    assert sample["image"].shape == (3, 96, 96)
    assert sample["im_shape"].tolist() == [58, 96]
    assert (sample["image"][:, 58:] == 114).all()
    assert sample["image"][:, :58].max() > 200
