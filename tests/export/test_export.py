"""The exported model is the trained model, and a failed export leaves an earlier one alone."""

import hashlib
import json

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import CheckpointError, ImageError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.check import built_in_image, outputs_by_image, trained_outputs
from ppdet_lite.export.compare import compare_detections
from ppdet_lite.export.formats.format import open_strictly
from ppdet_lite.export.graph import save_paddle_graph
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import GRAPH_FILES, InferConfig, ModelFolder
from ppdet_lite.utils.files import sha256_of
from tests.export.conftest import assert_damage_is_refused


# ----------------------------------------------------------------------------- what is written
def test_folder_holds_the_model_and_what_deployment_must_know(exported):
    assert sorted(p.name for p in exported.iterdir())[0] == "infer_cfg.yml"
    assert (exported / "model.pdiparams").stat().st_size > 100_000
    assert (exported / "model.json").exists() != (exported / "model.pdmodel").exists()
    assert [p.name for p in exported.parent.iterdir()] == ["small"]
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text(encoding="utf-8"))
    settings.pop("paddle_version")
    names = sorted(path.name for path in exported.iterdir() if path.name != "infer_cfg.yml")
    assert sorted(files := settings.pop("files")) == names
    for name, facts in files.items():
        content = (exported / name).read_bytes()
        assert facts == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
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


@pytest.mark.parametrize("kind", ["graph", "parameters"])
def test_damaged_files_of_an_export_are_refused_by_name(exported, kind, tmp_path):
    graph = next(name for name in GRAPH_FILES["paddle"] if (exported / name).is_file())
    name = graph if kind == "graph" else "model.pdiparams"
    assert_damage_is_refused(exported, name, "paddle", tmp_path)


def test_another_export_leaves_no_sums_of_the_earlier_one(quick_export, tmp_path):
    def sums(folder):
        return InferConfig.read(folder / "infer_cfg.yml").files

    first = sums(quick_export(lambda _, folder: (folder / "quick.txt").write_text("first")))
    (tmp_path / "small" / "notes.txt").write_text("mine")
    second = sums(quick_export(lambda _, folder: (folder / "quick.txt").write_text("second")))
    assert set(first) == set(second) == {"quick.txt"} and first != second
    assert second["quick.txt"]["sha256"] == sha256_of(tmp_path / "small" / "quick.txt")


# --------------------------------------------------------------------- equal to the trained model
def assert_equal_detections(trained, exported, images, onednn):
    preprocess = ModelFolder(exported).preprocess
    model = open_strictly(exported, "paddle", enable_mkldnn=onednn)
    samples = [preprocess(image) for image in images]
    expected = [trained_outputs(trained, sample, "nms") for sample in samples]
    singles = [model.run({key: value[None] for key, value in x.items()})[0] for x in samples]
    batch = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    batched = outputs_by_image("nms", model.run(batch))
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
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    options = ExportOptions().for_config(cfg)
    save_paddle_graph(exported_network(model, options), tmp_path, options)
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


def test_a_failed_export_keeps_the_earlier_one(small_config, tmp_path):
    target = tmp_path / "out" / "small"
    target.mkdir(parents=True)
    (target / "model.json").write_text("old")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        export_model(load_config(small_config), tmp_path / "out", verify=[tmp_path / "gone.jpg"])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["small"]
    assert (target / "model.json").read_text() == "old"


def test_weights_must_be_given(small_config, tmp_path):
    with pytest.raises(CheckpointError, match="no weights: set weights=.*small/best_model"):
        export_model(load_config(small_config, ["weights=null"]), tmp_path)


def test_an_export_is_made_on_the_cpu(small_config, tmp_path, monkeypatch):
    """Also where training uses a GPU, and the GPU is the device again afterwards."""
    asked = []
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:3")
    monkeypatch.setattr(paddle, "set_device", asked.append)
    with pytest.raises(CheckpointError):
        export_model(load_config(small_config, ["weights=null"]), tmp_path)
    assert asked == ["cpu", "gpu:3"]


def test_paddle_detection_keys_can_be_read_as_json_and_yaml(exported):
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text())
    assert json.loads(json.dumps(settings)) == settings
