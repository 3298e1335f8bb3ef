"""Exports that cannot be: the reason is said, the exit is an error, and nothing is left behind."""

import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export import check as export_check
from ppdet_lite.export import graph as export_graph
from ppdet_lite.export import run as export
from ppdet_lite.export import runners as export_runners
from ppdet_lite.export.check import load_images, verify_export
from ppdet_lite.export.compare import Agreement
from ppdet_lite.export.onnx import network as onnx_network
from ppdet_lite.export.run import export_model
from ppdet_lite.export.runners import (
    EngineError,
    OnnxRuntimeModel,
    OpenVinoModel,
    Trial,
)


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
        "100 % of raw output 1 of the trained model on built-in image are NaN or infinite; the "
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
    with pytest.raises(UserError, match=r"^Paddle cannot run model\..+: .+\. Nothing was"):
        export_model(load_config(small_config), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def engine_that_fails(monkeypatch):
    """engine_that_fails(error, loading): Paddle with oneDNN alone raises it, or with Paddle's own
    kernels too, when it loads a graph or when it runs one."""

    def fail(error, loading, onednn_only):
        create = export_runners.create_predictor

        def create_failing(config):
            predictor = create(config)
            if onednn_only and not config.mkldnn_enabled():
                return predictor
            if loading:
                raise error
            names = {name: getattr(predictor, name) for name in PREDICTOR_METHODS}
            return SimpleNamespace(**names, run=lambda: raise_it(error))

        monkeypatch.setattr(export_runners, "create_predictor", create_failing)

    return fail


PREDICTOR_METHODS = [
    f"get_{kind}put_{what}" for kind in ("in", "out") for what in ("names", "handle")
]


def raise_it(error):
    raise error


@pytest.mark.parametrize("loading", [True, False])
@pytest.mark.parametrize("kind", [RuntimeError, OSError, MemoryError, IndexError])
def test_a_onednn_that_fails_is_reported_only(
    kind, loading, exported, settings, capsys, monkeypatch, engine_that_fails
):
    """Whatever kind Paddle's error is; "External" is an OSError."""
    engine_that_fails(kind("a call stack " * 40 + "no kernel\nfor this"), loading, True)
    monkeypatch.setattr(export_check, "_compare_cases", run_once)
    monkeypatch.setattr(export_check, "make_cases", lambda *arguments: [])
    verify_export(None, exported, settings, load_images())
    printed = capsys.readouterr().err
    assert re.search(
        r"on this machine oneDNN cannot run model\.\w+: .*no kernel for this$", printed
    )
    assert "export verified (plain kernels)" in printed
    assert "export verified (oneDNN" not in printed


def run_once(runner, *_):
    """In the place of comparing."""
    shape = (1, 3, 96, 128)
    runner({"image": zeros(shape), "im_shape": zeros((1, 2)), "scale_factor": zeros((1, 2)) + 1})
    return [Agreement("boxes", 1, 1, {"px": 0.0, "score": 0.0})]


def zeros(shape):
    return np.zeros(shape, np.float32)


def test_an_error_of_paddle_is_none_of_the_disk(small_config, tmp_path, engine_that_fails):
    engine_that_fails(OSError("(External) no such primitive"), False, False)
    with pytest.raises(UserError) as caught:
        export_model(load_config(small_config), tmp_path)
    text = str(caught.value)
    assert re.fullmatch(
        r"Paddle cannot run model\.\w+: \(External\) no such primitive\. Nothing was written\.",
        text,
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("loading", "NOT_IMPLEMENTED : DeformConv(19); it has DeformConv since version 1.25"),
        ("running", "RUNTIME_EXCEPTION : out of range"),
    ],
)
def test_errors_of_onnx_engines_have_no_base_class(when, reason, tmp_path, monkeypatch, capsys):
    """Beside a portable file the other may fail, at loading it and at running it."""

    class Session:
        def __init__(self, path, options, providers):
            self.loads = Path(path).name == "model_portable.onnx"
            if not self.loads and when == "loading":
                raise Exception("NOT_IMPLEMENTED : DeformConv(19)")

        def get_inputs(self):
            return [SimpleNamespace(name="image")]

        def run(self, names, inputs):
            if not self.loads:
                raise Exception("RUNTIME_EXCEPTION : out of\nrange")
            return []

    options = SimpleNamespace
    fake = SimpleNamespace(SessionOptions=options, InferenceSession=Session, __version__="1.24")
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(export_check, "make_cases", lambda *arguments: [])
    monkeypatch.setattr(export_check, "_compare_cases", run_once)
    trials = [
        Trial(lambda: OnnxRuntimeModel(tmp_path / "model.onnx"), may_fail=True),
        Trial(lambda: OnnxRuntimeModel(tmp_path / "model_portable.onnx")),
    ]
    monkeypatch.setattr(export_check, "trials", lambda folder: trials)
    verify_export(None, tmp_path, {}, load_images())
    printed = capsys.readouterr().err
    assert f"on this machine ONNX Runtime 1.24 cannot run model.onnx: {reason}\n" in printed
    assert "export verified (ONNX Runtime, model_portable.onnx)" in printed
    trials[0] = trials[0]._replace(may_fail=False)
    with pytest.raises(UserError) as caught:
        verify_export(None, tmp_path, {}, load_images())
    message = f"ONNX Runtime 1.24 cannot run model.onnx: {reason}. Nothing was written."
    assert str(caught.value) == message


def test_an_error_of_openvino(tmp_path, monkeypatch):
    class Core:
        def read_model(self, path):
            raise Exception("Unsupported operator DeformConv")

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    with pytest.raises(EngineError, match="^OpenVINO cannot run model.onnx: Unsupported operator "):
        OpenVinoModel(tmp_path / "model.onnx")


def test_a_model_of_which_nothing_stands_out(exported, settings, monkeypatch, capsys):
    """All scores within the tolerance of the lowest that counts, as in an untrained YOLOX."""
    few, all_of_them = (Agreement("boxes", n, 100, {"px": 0.0, "score": 0.0}) for n in (3, 100))
    monkeypatch.setattr(export_check, "make_cases", lambda *arguments: [])
    for results, warns in ([few, all_of_them], True), ([all_of_them] * 2, False):
        of_engine = iter(results)  # plain kernels, oneDNN
        monkeypatch.setattr(export_check, "_compare_cases", lambda *_, r=of_engine: [next(r)] * 2)
        verify_export(None, exported, settings, load_images())
        said = capsys.readouterr().err
        assert (
            "6 of 200 boxes matched (the others lie at the limit of keep_top_k" in said
        ) == warns
        assert ("hardly a box that stands out on the images compared" in said) == warns


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
