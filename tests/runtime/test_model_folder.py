"""The folder of an exported model: files of Paddle 2 and 3, and what is said of damaged ones."""

import paddle
import pytest
import yaml

from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.run import export_model


@pytest.mark.skipif(paddle.__version__[0] < "3", reason="there the other export is a model.pdmodel")
def test_files_of_paddle_2_load_as_well(deploy, small_config, trained, same_boxes, tmp_path):
    folder = export_model(load_config(small_config), tmp_path, formats=("paddle-legacy",))
    detector = deploy.detector.Detector(folder)
    assert detector.files.graph.name == "model.pdmodel"
    same_boxes(trained, detector, [built_in_image()])


def graph_of(deploy, folder):
    names = deploy.model_folder.GRAPH_FILES["paddle"]
    return next(path for path in folder.iterdir() if path.name in names)


def test_wrong_folders_and_missing_files(deploy, broken, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    cases = {
        "gone": "no such folder",
        "file": "is a file, not a folder",
        "other": "no model.json and no model.pdmodel in this folder; tools/export_model.py writes "
        "one",
    }
    for name, reason in cases.items():
        with pytest.raises(DataError) as caught:
            deploy.detector.Detector(tmp_path / name)
        assert str(caught.value) == f"--model_dir {tmp_path / name}: {reason}"
    (broken / "model.pdiparams").unlink()
    with pytest.raises(DataError) as caught:
        deploy.detector.Detector(broken)
    graph = next(
        p.name for p in broken.iterdir() if p.name in deploy.model_folder.GRAPH_FILES["paddle"]
    )
    assert str(caught.value) == (
        f"{broken / 'model.pdiparams'}: missing beside {graph}; export the model again"
    )


def test_unusable_infer_cfg(deploy, broken):
    path = broken / "infer_cfg.yml"
    settings = yaml.safe_load(path.read_text())
    cases = [
        ("a: [", "not a YAML file ("),
        ("just text", "the list 'Preprocess' is missing; export the model again"),
        (
            yaml.safe_dump({**settings, "label_list": None}),
            "the list 'label_list' is missing; export the model again",
        ),
        (
            yaml.safe_dump({**settings, "format_version": 2}),
            "format_version 2, but this script knows up to 1; use the deploy/python/infer.py of "
            "the ppdet_lite that exported it",
        ),
        (
            yaml.safe_dump({**settings, "format_version": "new"}),
            "format_version: found 'new', allowed: a number",
        ),
        (
            yaml.safe_dump({**settings, "draw_threshold": "high"}),
            "draw_threshold: found 'high', allowed: a number",
        ),
        (
            yaml.safe_dump({**settings, "draw_threshold": 7}),
            "draw_threshold: found 7, allowed: 0 to 1",
        ),
        (
            yaml.safe_dump({**settings, "target": "toaster"}),
            "target: found toaster, allowed: any, cpu",
        ),
        (
            yaml.safe_dump({**settings, "Preprocess": [{"type": "Fancy"}]}),
            "Preprocess.0.type: found 'Fancy'; this project knows ",
        ),
        (
            yaml.safe_dump({**settings, "Preprocess": [{"type": "Resize"}]}),
            "the list 'Preprocess' cannot be used (KeyError: 'target_size'); export the model",
        ),
        (
            yaml.safe_dump({**settings, "Preprocess": ["Resize"]}),
            "the list 'Preprocess' cannot be used (AttributeError: ",
        ),
        (
            yaml.safe_dump({**settings, "image_shape": [3, 64, 64]}),
            "Preprocess.Resize.target_size: found [96, 128], allowed: [64, 64], the size of the "
            "graph's input; for another size export the model again",
        ),
    ]
    for text, reason in cases:
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            deploy.detector.Detector(broken)
        assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("ids", [[1], [1, 2, 3], [1, "two"], [1, True], [1, 2.0], {1: 2}, "ab"])
def test_categories_that_do_not_fit_the_classes(deploy, broken, ids):
    path = broken / "infer_cfg.yml"
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**settings, "category_ids": ids}))
    with pytest.raises(ConfigError) as caught:
        deploy.detector.Detector(broken)
    assert str(caught.value) == (
        f"{path}: category_ids: found {ids!r}, allowed: 2 whole numbers, one for each entry of "
        "label_list"
    )


NAN = float("nan")
SIZE = {"type": "Resize", "target_size": [96, 128], "keep_ratio": False}
RATIO = {**SIZE, "keep_ratio": True}


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ([RATIO, {"type": "Pad", "size": [96, 160]}], "Pad.size: found [96, 160], allowed: [96, 1"),
        (
            [{**RATIO, "target_size": [128, 128]}, {"type": "Pad", "size": [96, 128]}],
            "Resize.target_size: found [128, 128], allowed: [96, 128], the size of the graph's inp",
        ),
        (
            [RATIO],
            "Resize.keep_ratio: found true without Pad, allowed: false, or a Pad to [96, 128",
        ),
        (
            [{"type": "Permute"}],
            "Resize: found none, allowed: a target_size of [96, 128], the size",
        ),
        ([{"type": "Pad", "size": [96, 128]}], None),
        ([RATIO, {"type": "Pad", "size": [96, 128]}], None),
        ([{**RATIO, "target_size": [64, 64]}, {"type": "Pad", "size": [96, 128]}], None),
    ],
)
def test_preprocessing_that_gives_another_size(deploy, broken, ops, reason):
    """Also where it is the padding that does, or the shape of an image that is kept."""
    path = broken / "infer_cfg.yml"
    settings = {**yaml.safe_load(path.read_text()), "Preprocess": ops}
    path.write_text(yaml.safe_dump(settings))
    if reason is None:
        deploy.model_folder.ModelFolder(broken)
        return
    with pytest.raises(ConfigError) as caught:
        deploy.model_folder.ModelFolder(broken)
    assert str(caught.value).startswith(f"{path}: Preprocess.{reason}")


NORMALIZE = {"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.2] * 3, "is_scale": True}


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        (
            [{**SIZE, "target_size": [0, 0]}],
            "Preprocess.Resize.target_size: found [0, 0], allowed: ",
        ),
        ([{**SIZE, "target_size": 0}], "Preprocess.Resize.target_size: found [0, 0], allowed: "),
        (
            [{**SIZE, "target_size": [96.5, 128]}],
            "Preprocess.Resize.target_size: found [96.5, 128]",
        ),
        ([{**SIZE, "target_size": [96]}], "Preprocess.Resize.target_size: found [96], allowed: "),
        ([{**SIZE, "target_size": "big"}], "Preprocess.Resize.target_size: found 'big', allowed: "),
        (
            [{**SIZE, "keep_ratio": "no"}],
            "Preprocess.Resize.keep_ratio: found 'no', allowed: true, ",
        ),
        (
            [{"type": "Pad", "size": [96, -1]}],
            "Preprocess.Pad.size: found [96, -1], allowed: [heig",
        ),
        (
            [SIZE, {**NORMALIZE, "is_scale": "no"}],
            "Preprocess.NormalizeImage.is_scale: found 'no', allowed: true, false",
        ),
        (
            [SIZE, {**NORMALIZE, "mean": [0.5, NAN, 0.5]}],
            "NormalizeImage.mean: [0.5, nan, 0.5] is ",
        ),
        ([SIZE, {**NORMALIZE, "std": [NAN, 1, 1]}], "NormalizeImage.std: [nan, 1.0, 1.0] is not f"),
    ],
)
def test_values_that_no_preprocessing_can_use(deploy, broken, ops, reason):
    path = broken / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "Preprocess": ops}))
    with pytest.raises(ConfigError) as caught:
        deploy.model_folder.ModelFolder(broken)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("kind", ["parameters", "graph"])
def test_a_cut_file_or_a_mismatch_is_said(deploy, broken, kind, capsys):
    graph = graph_of(deploy, broken)
    path = graph if kind == "graph" else broken / "model.pdiparams"
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(UserError) as caught:
        deploy.detector.Detector(broken)
    assert str(caught.value).startswith(
        f"{broken}: Paddle cannot run this model. Either {graph.name} and model.pdiparams do not "
        "belong together, or another version of Paddle wrote them: "
    )
    assert "oneDNN is off" not in capsys.readouterr().err


def test_a_graph_of_paddle_3_under_paddle_2(deploy, monkeypatch, tmp_path):
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    deploy.engine_paddle.check_graph(tmp_path / "model.pdmodel")
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_graph(tmp_path / "model.json")
    assert str(caught.value) == (
        f"{tmp_path / 'model.json'}: written by Paddle 3, but this is Paddle 2.6.2; install "
        "paddlepaddle>=3, or export the model with the Paddle of this machine"
    )
    monkeypatch.setattr(paddle, "__version__", "3.3.1")
    deploy.engine_paddle.check_graph(tmp_path / "model.json")


def test_a_part_of_a_detector_is_refused(deploy, broken):
    path = broken / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "stage": "raw"}))
    with pytest.raises(ConfigError) as caught:
        deploy.detector.Detector(broken)
    assert str(caught.value) == (
        f"--model_dir {broken}: exported with --stage raw, so it gives no detections; export it "
        "with --stage nms"
    )
