"""The exported model is the trained model, and a failed export leaves nothing behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, ImageError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export import check as export_check
from ppdet_lite.export import run as export
from ppdet_lite.export.check import (
    built_in_image,
    compare_detections,
    load_images,
    verify_export,
)
from ppdet_lite.export.options import export_options, input_size, with_input_size
from ppdet_lite.export.run import ExportMismatch, export_model
from ppdet_lite.export.runners import ExportedModel


@pytest.fixture(scope="module")
def trained(small_config):
    return load_trained_model(load_config(small_config))[0]


def rows(*values):
    return np.array(values, np.float32).reshape(-1, 6)


# ----------------------------------------------------------------------------- what is written
def test_folder_holds_the_model_and_what_deployment_must_know(exported):
    assert sorted(p.name for p in exported.iterdir())[0] == "infer_cfg.yml"
    assert (exported / "model.pdiparams").stat().st_size > 100_000
    assert (exported / "model.json").exists() != (exported / "model.pdmodel").exists()
    assert [p.name for p in exported.parent.iterdir()] == ["small"]
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text(encoding="utf-8"))
    settings.pop("paddle_version")
    assert settings == {
        "mode": "paddle",
        "draw_threshold": 0.5,
        "metric": "COCO",
        "use_dynamic_shape": False,
        "arch": "YOLO",
        "min_subgraph_size": 3,
        "Preprocess": [
            {"type": "Resize", "target_size": [96, 128], "keep_ratio": False, "interp": 2},
            {
                "type": "NormalizeImage",
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                "is_scale": True,
            },
            {"type": "Permute"},
        ],
        "label_list": ["square", "circle"],
        "category_ids": [3, 7],
        "format_version": 1,
        "model_name": "small",
        "stage": "nms",
        "target": "any",
        "image_shape": [3, 96, 128],
        "batch_size": -1,
        "NMS": {
            "name": "MatrixNMS",
            "score_threshold": 0.01,
            "post_threshold": 0.01,
            "nms_top_k": -1,
            "keep_top_k": 100,
            "use_gaussian": False,
            "gaussian_sigma": 2.0,
            "normalized": False,
            "background_label": -1,
        },
        "Decode": {"name": "YOLOBox", "conf_thresh": 0.01},
    }


def test_inputs_are_named_and_the_batch_is_free(exported):
    model = ExportedModel(exported)
    assert sorted(model.predictor.get_input_names()) == ["im_shape", "image", "scale_factor"]
    for count in (1, 3):
        inputs = {
            "image": np.zeros((count, 3, 96, 128), np.float32),
            "im_shape": np.full((count, 2), 96, np.float32),
            "scale_factor": np.ones((count, 2), np.float32),
        }
        bbox, bbox_num = model(inputs)
        assert len(bbox_num) == count and bbox.shape == (bbox_num.sum(), 6)


# --------------------------------------------------------------------- equal to the trained model
def assert_equal_detections(trained, exported, images, onednn):
    preprocess = Preprocess(yaml.safe_load((exported / "infer_cfg.yml").read_text())["Preprocess"])
    model = ExportedModel(exported, onednn)
    samples = [preprocess(image) for image in images]
    expected = [export_check.trained_outputs(trained, sample, "nms") for sample in samples]
    singles = [model({key: value[None] for key, value in x.items()})[0] for x in samples]
    batch = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    batched = export_check.outputs_by_image("nms", model(batch))
    for reference, single, of_batch in zip(expected, singles, batched):
        assert len(reference) > 10
        for other in (single, of_batch):
            result = compare_detections(reference, other, 0.01, 100)
            assert len(result.lost) == len(result.extra) == 0
            assert result.matched >= len(reference) - 2
            assert result.max_score < 1e-3


@pytest.mark.parametrize("onednn", [False, True])
def test_exported_model_equals_the_trained_one(trained, exported, onednn):
    image = built_in_image()
    assert_equal_detections(trained, exported, [image, image[:, ::-1].copy()], onednn)


@pytest.mark.parametrize("onednn", [False, True])
def test_exported_model_equals_the_trained_one_on_photos(trained, exported, onednn, shared_dir):
    photos = sorted((shared_dir / "data" / "coco128" / "train2017").glob("*.jpg"))[:8]
    assert_equal_detections(trained, exported, [decode_image(p) for p in photos], onednn)


def test_export_leaves_the_model_as_it_was(small_config, tmp_path):
    cfg = load_config(small_config)
    model, _ = load_trained_model(cfg)
    model.train()
    options = export_options(cfg)
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    infer_cfg = export.describe_export(cfg, model, [{"type": "Permute"}], cfg.weights, options)
    network = export.exported_network(model, options)
    export.save_inference_model(network, tmp_path, infer_cfg, options)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before.pop(key))
    assert not before
    assert all(layer.training for layer in model.sublayers(include_self=True))
    model.eval()
    inputs = {
        "image": paddle.zeros([1, 3, 96, 128]),
        "im_shape": paddle.to_tensor([[96.0, 128.0]]),
        "scale_factor": paddle.ones([1, 2]),
    }
    assert set(model(inputs)) == {"bbox", "bbox_num"}


# -------------------------------------------------------------------------------- verification
def test_comparison_matches_rows_in_any_order():
    reference = rows([0, 0.9, 0, 0, 10, 10], [1, 0.8, 5, 5, 20, 20], [0, 0.5, 1, 1, 4, 4])
    other = reference[[2, 0, 1]] + np.array([0, 5e-4, 0.05, 0, 0, -0.05], np.float32)
    result = compare_detections(reference, other)
    assert result.matched == 3 and len(result.lost) == len(result.extra) == 0
    assert result.max_box_px == pytest.approx(0.05, abs=1e-5)
    assert result.max_score == pytest.approx(5e-4, abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        [1, 0, 0, 0, 0, 0],  # another class
        [0, 2e-3, 0, 0, 0, 0],  # score
        [0, 0, 0.2, 0, 0, 0],  # corner
    ],
)
def test_comparison_sees_other_classes_scores_and_corners(change):
    reference = rows([0, 0.9, 0, 0, 10, 10], [0, 0.8, 5, 5, 20, 20])
    other = reference.copy()
    other[1] += change
    result = compare_detections(reference, other)
    assert result.matched == 1
    assert result.lost.tolist() == [pytest.approx(reference[1].tolist())]
    assert result.extra.tolist() == [pytest.approx(other[1].tolist())]


def test_one_row_cannot_be_matched_twice():
    reference = rows([0, 0.9, 0, 0, 10, 10], [0, 0.9, 0, 0, 10, 10])
    result = compare_detections(reference, reference[:1])
    assert result.matched == 1 and len(result.lost) == 1


def test_rows_at_the_reporting_limit_may_come_and_go():
    reference = rows([0, 0.9, 0, 0, 10, 10], [0, 0.0105, 5, 5, 20, 20])
    assert len(compare_detections(reference, reference[:1], lowest_score=0.01).lost) == 0
    assert len(compare_detections(reference, reference[:1], lowest_score=0.0).lost) == 1
    # All places taken: whether the last row is this one or its near-equal is a matter of rounding.
    other = rows([0, 0.9, 0, 0, 10, 10], [1, 0.5, 5, 5, 20, 20])
    reference = rows([0, 0.9, 0, 0, 10, 10], [1, 0.5, 50, 50, 60, 60])
    assert len(compare_detections(reference, other, keep_top_k=2).lost) == 0
    assert len(compare_detections(reference, other, keep_top_k=3).lost) == 1


def test_nothing_found_on_either_side():
    result = compare_detections(rows(), rows())
    assert result.matched == 0 and result.max_box_px == 0.0


def test_a_differing_export_is_refused_and_nothing_is_left(small_config, tmp_path, monkeypatch):
    save = export.save_inference_model

    def save_another_model(network, folder, infer_cfg, options):
        head = network.yolo_head.parameters()[0]
        head.set_value(head * 1.5)
        save(network, folder, infer_cfg, options)

    monkeypatch.setattr(export, "save_inference_model", save_another_model)
    with pytest.raises(ExportMismatch) as caught:
        export_model(load_config(small_config), tmp_path / "out")
    text = str(caught.value)
    assert text.startswith(
        "the exported model (plain kernels) differs from the trained one on built-in image: of "
    )
    assert text.endswith("Nothing was written.")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_export_keeps_the_earlier_one(small_config, tmp_path, monkeypatch):
    target = tmp_path / "out" / "small"
    target.mkdir(parents=True)
    (target / "model.json").write_text("old")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        export_model(load_config(small_config), tmp_path / "out", verify=[tmp_path / "gone.jpg"])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["small"]
    assert (target / "model.json").read_text() == "old"


def test_verification_takes_images_and_folders(trained, exported, tmp_path, tiny_coco, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in (1, 2):
        shutil.copy(tiny_coco / "images" / f"val_{index}.jpg", folder)
    images = load_images([tiny_coco / "images" / "val_0.jpg", folder])
    assert [Path(name).name for name in images] == ["val_0.jpg", "val_1.jpg", "val_2.jpg"]
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text())
    verify_export(trained, exported, settings, images)
    printed = capsys.readouterr().err
    assert "export verified (plain kernels): 3 images, " in printed
    assert "export verified (oneDNN kernels): 3 images, " in printed
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in this folder or below it"):
        load_images([tmp_path / "empty"])


# -------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("section", "stage"),
    [
        ("{post_process: true, nms: true, benchmark: false, fuse_conv_bn: true}", "nms"),
        ("{nms: false}", "decoded"),
        ("{post_process: false}", "raw"),
        ("{benchmark: true}", "raw"),
    ],
)
def test_settings_of_paddledetection_are_heard(small_config, section, stage):
    cfg = load_config(small_config, [f"export={section}"])
    assert export_options(cfg).stage == stage
    assert export_options(cfg, stage="decoded").stage == "decoded"


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (None, (96, 128)),
        (64, (64, 64)),
        ([64], (64, 64)),
        ((64, 96), (64, 96)),
        ("dynamic", None),
        (["dynamic"], None),
    ],
)
def test_input_sizes(small_config, wanted, size):
    assert export_options(load_config(small_config), input_size=wanted).input_hw == size


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"formats": ["tflite"]}, "--format: found tflite, allowed: paddle, paddle-legacy, onnx"),
        ({"formats": ["paddle", "paddle-legacy"]}, "paddle and paddle-legacy name their parameter"),
        ({"portable_dcn": True}, "--portable-dcn is about --format onnx"),
        ({"stage": "boxes"}, "--stage: found boxes, allowed: raw, decoded, nms"),
        ({"target": "gpu"}, "--target: found gpu, allowed: any, cpu"),
        (
            {"target": "cpu", "input_size": "dynamic"},
            "--target cpu writes the graph for one size: give --input-size H W, not dynamic",
        ),
        ({"batch": 0}, "--batch: found 0, allowed: 1 or more, or dynamic"),
        ({"input_size": [100, 96]}, "--input-size: found 100 96, allowed: height and width, both"),
        ({"input_size": [96, 96, 96]}, "--input-size: found 96 96 96, allowed"),
        ({"input_size": ["dynamic", 96]}, "--input-size: found dynamic 96, allowed"),
    ],
)
def test_exports_that_cannot_be(small_config, wanted, text):
    with pytest.raises(UserError) as caught:
        export_model(load_config(small_config), **wanted)
    assert text in str(caught.value)


def test_input_size_comes_from_image_shape_and_reaches_the_preprocessing(small_config):
    cfg = load_config(small_config, ["TestReader.inputs_def.image_shape=[3,64,160]"])
    assert input_size(cfg) == (64, 160)
    steps = [{"type": "Resize", "target_size": [9, 9]}, {"type": "Pad", "size": [9, 9]}]
    assert with_input_size([*steps, {"type": "Permute"}], 64, 160) == [
        {"type": "Resize", "target_size": [64, 160]},
        {"type": "Pad", "size": [64, 160]},
        {"type": "Permute"},
    ]
    assert steps[0]["target_size"] == steps[1]["size"] == [9, 9]


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("null", "found None, allowed: [3, height, width]"),
        ("[3,100,128]", "found [3, 100, 128], allowed: height and width that are multiples of 32"),
        ("[1,96,96]", "found [1, 96, 96], allowed: [3, height, width]"),
        ("[3,-1,-1]", "found [3, -1, -1], allowed: [3, height, width]"),
    ],
)
def test_unusable_input_sizes(small_config, shape, text):
    cfg = load_config(small_config, [f"TestReader.inputs_def.image_shape={shape}"])
    with pytest.raises(ConfigError) as caught:
        input_size(cfg)
    assert str(caught.value) == (
        f"TestReader.inputs_def.image_shape: {text}, for instance "
        "-o TestReader.inputs_def.image_shape=[3,640,640]"
    )


def test_weights_must_be_given(small_config, tmp_path):
    with pytest.raises(CheckpointError, match="no weights: set weights=.*small/best_model"):
        export_model(load_config(small_config, ["weights=null"]), tmp_path)


def test_an_output_folder_that_cannot_be_made(small_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        export_model(load_config(small_config), tmp_path / "file")
    assert str(caught.value).startswith(f"{tmp_path / 'file' / 'small'}: cannot be written (")


def test_a_full_disk_is_said_and_leaves_nothing(small_config, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "save_inference_model", full)
        with pytest.raises(UserError, match="small: cannot be written .No space left on device"):
            export_model(load_config(small_config), tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=3 * 2**20))
    with pytest.raises(UserError, match=r"needs about \d+ MiB and 3 MiB are free"):
        export_model(load_config(small_config), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_paddle_detection_keys_can_be_read_as_json_and_yaml(exported):
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text())
    assert json.loads(json.dumps(settings)) == settings
