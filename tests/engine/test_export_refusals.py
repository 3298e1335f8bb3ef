"""Exports that cannot be: the reason is said, the exit is an error, and nothing is left behind."""

import os
import shutil
import sys
from types import SimpleNamespace

import paddle
import pytest
import yaml

from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.engine import export, export_check, export_graph, onnx_network
from ppdet_lite.engine.export import export_model
from ppdet_lite.engine.export_check import load_pictures, verify_export
from ppdet_lite.engine.export_compare import Agreement


@pytest.fixture
def settings(exported):
    return yaml.safe_load((exported / "infer_cfg.yml").read_text(encoding="utf-8"))


def test_a_network_that_gives_no_numbers(small_config, tmp_path, monkeypatch):
    """Its weights are finite; NMS would leave what is no number out, on both sides."""
    load = export.load_trained_model

    def diverged(cfg):
        model, weights = load(cfg)
        head = model.yolo_head.yolo_output[1]
        head.weight.set_value(paddle.full_like(head.weight, 3e38))
        return model, weights

    monkeypatch.setattr(export, "load_trained_model", diverged)
    with pytest.raises(UserError) as caught:
        export_model(load_config(small_config), tmp_path / "out")
    assert str(caught.value) == (
        "100 % of raw output 1 of the trained model on built-in picture are NaN or infinite; the "
        "training that wrote these weights had diverged, use an earlier checkpoint"
    )
    assert os.listdir(tmp_path) == []


def test_parameters_that_were_cut_short(small_config, tmp_path, monkeypatch):
    """What a disk that gets full leaves, without a word from Paddle."""
    save = export.save_inference_model

    def cut(model, folder, infer_cfg, options):
        save(model, folder, infer_cfg, options)
        path = folder / "model.pdiparams"
        path.write_bytes(path.read_bytes()[:50_000])

    monkeypatch.setattr(export, "save_inference_model", cut)
    with pytest.raises(UserError, match=r"^Paddle cannot run the exported model \(.+\)\. Nothing"):
        export_model(load_config(small_config), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_model_of_which_nothing_stands_out(exported, settings, monkeypatch, capsys):
    """All scores within the tolerance of the lowest that counts, as in an untrained YOLOX."""
    few, all_of_them = (Agreement("boxes", n, 100, {"px": 0.0, "score": 0.0}) for n in (3, 100))
    monkeypatch.setattr(export_check, "make_cases", lambda *arguments: [])
    for results, warns in ([few, all_of_them], True), ([all_of_them] * 2, False):
        of_engine = iter(results)  # plain kernels, oneDNN
        monkeypatch.setattr(export_check, "_compare_cases", lambda *_, r=of_engine: [next(r)] * 2)
        verify_export(None, exported, settings, load_pictures())
        said = capsys.readouterr().err
        assert (
            "6 of 200 boxes matched (the others lie at the limit of keep_top_k" in said
        ) == warns
        assert ("hardly a box that stands out on the pictures compared" in said) == warns


def test_an_export_is_made_on_the_cpu(small_config, tmp_path, monkeypatch):
    """Also where training uses a GPU, and the GPU is the device again afterwards."""
    asked = []
    device = SimpleNamespace(get_device=lambda: "gpu:3")
    monkeypatch.setattr(export, "paddle", SimpleNamespace(device=device, set_device=asked.append))
    monkeypatch.setattr(export, "load_trained_model", lambda cfg: asked.append("model") or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_model(load_config(small_config), tmp_path)
    assert asked == ["cpu", "model", "gpu:3"]


# ------------------------------------------------------------------------------------------- ONNX
def test_a_network_that_paddle2onnx_does_not_know(exported, tmp_path, capsys):
    """It logs the reason and ends the process. Here it is a file that is no graph."""
    pytest.importorskip("paddle2onnx", reason="needs the package paddle2onnx")
    if (exported / "model.pdmodel").is_file():
        pytest.skip("needs Paddle 3")
    shutil.copy(exported / "model.pdiparams", tmp_path)
    (tmp_path / "model.json").write_text((exported / "model.json").read_text()[:9000])
    with pytest.raises(UserError) as caught:
        onnx_network.convert_network(tmp_path / "model.json", tmp_path / "model.pdiparams")
    text = str(caught.value)
    assert text.startswith("paddle2onnx cannot convert this network; its reason stands above (")
    assert "parse error" in text


def test_paddle_2_is_told_to_have_no_onnx_before_packages_are_asked_for(monkeypatch):
    monkeypatch.setattr(export_graph, "PADDLE_2", True)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="--format onnx needs Paddle 3, this is"):
        export_graph.check_onnx_export()
