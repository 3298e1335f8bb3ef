"""infer_cfg.yml and the graph are what PaddleDetection's own deploy script expects of an export.

The script makes each entry of `Preprocess` into an object with the entry's keys as arguments, finds
the graph's inputs by name and its outputs by position.
"""

import numpy as np
import paddle
import paddle.inference
import pytest
import yaml

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.run import steps_of_all_releases
from ppdet_lite.runtime.contract import with_input_size

ARGUMENTS = {
    "Resize": {"target_size", "keep_ratio", "interp"},
    "Pad": {"size", "fill_value"},
    "NormalizeImage": {"mean", "std", "is_scale"},
    "Permute": set(),
}
"""What all releases that know the step accept; a further key ends the script with a TypeError."""

OF_OTHER_MODELS = {"mask", "tracker", "fpn_stride"}
"""Keys that make the script look for further outputs."""


def assert_understood(preprocess: list) -> None:
    """Every entry has a known type, only its arguments, and plain numbers in them."""
    for entry in preprocess:
        arguments = {key: value for key, value in entry.items() if key != "type"}
        assert set(arguments) <= ARGUMENTS[entry["type"]], entry
        for key, count, kind in (
            ("target_size", 2, int),
            ("size", 2, int),
            ("mean", 3, float),
            ("std", 3, float),
            ("fill_value", 3, float),
        ):
            values = arguments.get(key, [kind()] * count)
            assert [type(value) for value in values] == [kind] * count, entry
        for key, kind in (("keep_ratio", bool), ("interp", int), ("is_scale", bool)):
            assert type(arguments.get(key, kind())) is kind, entry


def test_keys_that_the_script_reads(exported):
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text(encoding="utf-8"))
    kinds = {
        "mode": str,
        "arch": str,
        "draw_threshold": float,
        "metric": str,
        "min_subgraph_size": int,
        "use_dynamic_shape": bool,
        "Preprocess": list,
        "label_list": list,
        "NMS": dict,
    }
    assert {key: type(settings[key]) for key in kinds} == kinds
    assert "YOLO" in settings["arch"]
    assert settings["label_list"] and {type(name) for name in settings["label_list"]} == {str}
    assert not OF_OTHER_MODELS & set(settings)
    assert_understood(settings["Preprocess"])


@pytest.mark.parametrize("name", ["ppyolo/ppyolov2_r50vd_dcn_365e_coco", "yolox/yolox_s_300e_coco"])
def test_steps_of_the_shipped_readers(name, repo):
    cfg = load_config(repo / f"configs/{name}.yml")
    steps = create("TestReader", cfg).preprocess_config()
    written = steps_of_all_releases(with_input_size(steps, 320, 416))
    assert_understood(written)
    assert [step["type"] for step in written] == [step["type"] for step in steps]


@pytest.mark.parametrize("norm_type", ["mean_std", "none"])
@pytest.mark.parametrize("is_scale", [True, False])
def test_the_written_steps_prepare_the_same_input(norm_type, is_scale):
    normalize = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "is_scale": is_scale}
    steps = [
        {"type": "Resize", "target_size": [32, 64], "keep_ratio": False, "interp": 1},
        {"type": "NormalizeImage", **normalize, "norm_type": norm_type},
        {"type": "Permute"},
    ]
    written = steps_of_all_releases(steps)
    assert_understood(written)
    assert steps[1]["norm_type"] == norm_type  # the reader's list is left as it was
    image = built_in_image()
    expected, found = Preprocess(steps)(image), Preprocess(written)(image)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("count", [1, 3])
def test_inputs_by_name_and_outputs_by_position(exported, count):
    (graph,) = (path for path in exported.glob("model.*") if path.suffix in (".json", ".pdmodel"))
    config = paddle.inference.Config(str(graph), str(exported / "model.pdiparams"))
    config.disable_gpu()
    predictor = paddle.inference.create_predictor(config)
    inputs = {
        "image": np.zeros((count, 3, 96, 128), np.float32),
        "im_shape": np.tile(np.float32([96, 128]), (count, 1)),
        "scale_factor": np.ones((count, 2), np.float32),
    }
    assert sorted(predictor.get_input_names()) == sorted(inputs)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(inputs[name])
    predictor.run()
    boxes, counts = (
        predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()
    )
    assert boxes.dtype == np.float32 and counts.dtype.kind == "i"
    assert counts.shape == (count,) and boxes.shape == (counts.sum(), 6)
    classes, scores = boxes[:, 0], boxes[:, 1]
    assert len(boxes) and set(classes) <= {0.0, 1.0} and 0 < scores.min() <= scores.max() <= 1


def test_another_input_size_reaches_the_preprocessing():
    steps = [{"type": "Resize", "target_size": [9, 9]}, {"type": "Pad", "size": [9, 9]}]
    assert with_input_size([*steps, {"type": "Permute"}], 64, 160) == [
        {"type": "Resize", "target_size": [64, 160]},
        {"type": "Pad", "size": [64, 160]},
        {"type": "Permute"},
    ]
    assert steps[0]["target_size"] == steps[1]["size"] == [9, 9]
