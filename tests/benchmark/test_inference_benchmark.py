"""The benchmark: its protocol with engines that only count, its exports, and small networks."""

import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from paddle import nn

from ppdet_lite.benchmark import engines, protocol
from ppdet_lite.benchmark import exports as models
from ppdet_lite.benchmark import inference_benchmark as runner
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, ImageError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.run import ExportMismatch
from ppdet_lite.runtime.contract import InferConfig

PREPROCESS = Preprocess([{"type": "Resize", "target_size": [64, 96], "keep_ratio": False}])


class CountingEngine:
    """An engine that notes what is asked of it."""

    kernels = "oneDNN"

    def __init__(self, name, log, seconds=0.0):
        self.name, self.log, self.seconds = name, log, seconds
        self.shapes = []

    def bind(self, inputs):
        self.shapes.append(inputs["image"].shape)

    def execute(self):
        self.log.append(self.name)
        time.sleep(self.seconds)

    def synchronize(self):
        pass

    def outputs(self):
        self.log.append(f"{self.name} out")


@pytest.fixture
def jpegs(tmp_path):
    paths = []
    for index in range(2):
        paths.append(tmp_path / f"{index}.jpg")
        cv2.imwrite(str(paths[-1]), np.full((48, 64, 3), 90 * index, np.uint8))
    return paths


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch):
    """The real one has a test of its own."""
    monkeypatch.setattr(protocol, "matrix_peak", lambda: 100.0)


MATRIX_PEAK = protocol.matrix_peak


def contestant(name, log, seconds=0.0, stages=("raw", "nms"), device="CPU"):
    engines = {stage: CountingEngine(f"{name} {stage}", log, seconds) for stage in stages}
    return protocol.Contestant(name, engines, device)


# ------------------------------------------------------------------------------------ the protocol
def test_engines_take_turns_and_each_starts_once(jpegs):
    log = []
    entries = [contestant("a", log), contestant("b", log)]
    result = protocol.run_benchmark(
        entries, PREPROCESS, jpegs, repeats=3, warmup=2, left_out={}, pause=0, progress=log.append
    )
    warm = log.index("round 1 of 3")
    assert log[:warm].count("a raw") == log[:warm].count("b nms") == 2
    assert "a nms out" not in log[:warm]
    round_of_a = ["a raw", "a nms", "a nms", "a nms out"]
    round_of_b = ["b raw", "b nms", "b nms", "b nms out"]
    assert log[warm:] == [
        *("round 1 of 3", *round_of_a, *round_of_b),
        *("round 2 of 3", *round_of_b, *round_of_a),
        *("round 3 of 3", *round_of_a, *round_of_b),
    ]
    assert result.input_hw == (64, 96)
    assert entries[0].engines["nms"].shapes == [(1, 3, 64, 96)] * 8
    for entry in entries:
        assert {key: len(v) for key, v in entry.times.items()} == {
            "raw": 3,
            "nms": 3,
            "end to end": 3,
        }
        assert set(entry.parts) == set(protocol.PARTS)
    assert len(result.peaks) == 3 and result.peak == 100


def test_times_are_those_of_the_engine(jpegs):
    log = []
    slow = contestant("slow", log, seconds=0.02)
    protocol.run_benchmark([slow], PREPROCESS, jpegs, 3, 1, {}, pause=0, progress=log.append)
    for column in ("raw", "nms", "end to end"):
        low = slow.summary(column).p5
        assert low >= 20
    parts = np.array([slow.parts[name] for name in protocol.PARTS])
    np.testing.assert_allclose(parts.sum(axis=0), slow.times["end to end"])
    assert slow.summary("decoded") is None


def test_peak_of_matrix_products():
    assert 0.05 < MATRIX_PEAK((64, 128), 2) < 1e5


def test_no_engine_says_why(jpegs):
    with pytest.raises(UserError) as caught:
        protocol.run_benchmark([], None, jpegs, 1, 1, {"gpu": "no GPU"})
    assert str(caught.value) == "no engine can be measured here:\n  gpu: no GPU"


def test_an_engine_that_fails_is_left_out(jpegs):
    class Failing(CountingEngine):
        def execute(self):
            raise RuntimeError("no such\nkernel")

    bad = protocol.Contestant("bad", {"raw": Failing("bad", [])})
    good, left_out, lines = contestant("good", []), {}, []
    result = protocol.run_benchmark(
        [bad, good], PREPROCESS, jpegs, 1, 1, left_out, pause=0, progress=lines.append
    )
    assert result.contestants == [good]
    assert result.left_out == left_out == {"bad": "RuntimeError: no such kernel"}
    assert lines == ["warming up bad", "warming up good", "round 1 of 1"]
    with pytest.raises(UserError, match="no engine can be measured here:\n  bad: RuntimeError: no"):
        protocol.run_benchmark([bad], PREPROCESS, jpegs, 1, 1, {}, progress=lines.append)


def test_a_broken_image_is_named(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=str(path)):
        protocol.run_benchmark([contestant("a", [])], PREPROCESS, [path], 1, 1, {})


# -------------------------------------------------------------------------------- random weights
def test_random_weights_let_few_candidates_through(small_config, tmp_path):
    cfg = load_config(small_config)
    note = models._random_weights(cfg, tmp_path, (96, 128))
    assert note.startswith("random weights, objectness lowered until 0.")
    from ppdet_lite.evaluate.trained_model import load_trained_model

    model, weights = load_trained_model(cfg)
    assert weights == str(tmp_path / "random.pdparams")
    sample = models._sample(cfg, 96, 128)
    raw = model.raw_outputs(sample["image"])
    _, scores = model.decode(raw, sample["im_shape"], sample["scale_factor"])
    passed = (scores.numpy() >= 0.01).mean()
    assert 0.2 * models.CANDIDATE_SHARE < passed <= 1.01 * models.CANDIDATE_SHARE


class TwoLayers(nn.Layer):
    """A detector as far as its figures go."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2D(3, 4, 3, stride=2, padding=1)
        self.head = nn.Conv2D(4, 10, 1)

    def raw_outputs(self, image):
        return [self.head(self.backbone(image))]


def test_network_figures_by_hand(small_config, monkeypatch):
    cfg = load_config(small_config)
    cfg["Conv2D"] = {"depth": 18}  # the class of the backbone
    monkeypatch.setattr(models, "build_detector", lambda cfg: TwoLayers())
    network = models.network_of(cfg, (8, 6), "a note")
    cells, weights = 4 * 3, (3 * 4 * 9, 4 * 10)
    assert network == (
        *("small", sum(weights) + 4 + 10, cells * sum(weights)),
        *(("Conv2D", 18), "a note"),
    )
    monkeypatch.undo()
    network = models.network_of(cfg, (96, 128))
    assert network.backbone == ("ResNet", 18) and network.parameters > 100_000


# --------------------------------------------------------------------- engines and their exports
def test_engines_of_the_cpu_run_both_exports_by_default(monkeypatch):
    monkeypatch.setattr(runner, "_has_gpu", lambda: False)
    on_cpu = ("onednn", "onednn_target_cpu", "onnxruntime", "openvino", "openvino_target_cpu")
    assert runner.default_engines() == on_cpu
    monkeypatch.setattr(runner, "_has_gpu", lambda: True)
    assert runner.default_engines() == (*on_cpu, "gpu", "trt_fp32", "trt_fp16", "trt_int8")
    for plain in ("onednn", "onnxruntime", "openvino"):
        expected, found = engines.ENGINES[plain], engines.ENGINES[f"{plain}_target_cpu"]
        assert expected.kind.target == "any"
        assert found == expected._replace(kind=expected.kind._replace(target="cpu"))
    assert engines.ENGINES["onednn_target_cpu"].kernels == "oneDNN"
    telling = [name for name, engine in engines.ENGINES.items() if engine.tells_operators]
    assert telling == ["paddle", "onednn", "onednn_bfloat16", "onednn_target_cpu"]


def test_every_target_is_exported_once_per_stage(monkeypatch, small_config, tmp_path):
    calls = []

    def export(cfg, folder, options):
        formats, target = options.formats, options.target
        calls.append((options.stage, target, formats, options.portable_dcn))
        if formats == ("onnx",) and target == "cpu":
            raise ExportMismatch("another score")
        if target == "cpu" and "onnx" in formats:
            raise UserError("not together")
        folder.mkdir()
        (folder / "infer_cfg.yml").write_text(f"target: {target}")
        return folder

    monkeypatch.setattr(models, "export_model", export)
    names = (*engines.DEFAULT_ENGINES, "trt_int8")
    folders, note, left_out = models.export_stages(
        load_config(small_config), tmp_path, names, ("raw", "nms"), say=lambda text: None
    )
    assert calls == [
        ("raw", "any", ("onnx", "paddle"), True),
        ("raw", "any", ("paddle-legacy",), False),
        ("raw", "cpu", ("onnx", "paddle"), True),
        ("raw", "cpu", ("onnx",), True),
        ("raw", "cpu", ("paddle",), False),
        ("nms", "any", ("onnx", "paddle"), True),
        ("nms", "any", ("paddle-legacy",), False),
        ("nms", "cpu", ("paddle",), False),
    ]
    assert left_out == {"openvino_target_cpu": "another score"} and note == ""
    assert len(set(folders.values())) == 6
    assert set(folders) == {
        (stage, engines.Kind(*kind))
        for stage in ("raw", "nms")
        for kind in (("onnx",), ("paddle",), ("paddle-legacy",), ("paddle", "cpu"))
    }


def test_an_engine_that_fell_back_is_not_measured():
    wanted = engines.ENGINES["onednn_target_cpu"]
    opened = SimpleNamespace(kernels="Paddle")
    deploy = runner.Deploy(lambda files, options: opened, None)
    with pytest.raises(UserError, match="this CPU or Paddle runs it as Paddle"):
        runner._open(wanted, None, deploy, runner.Settings())
    opened.kernels = "oneDNN"
    assert runner._open(wanted, None, deploy, runner.Settings()) is opened


# --------------------------------------------------------------------------------------- the tool
def test_settings_that_cannot_be(small_config, jpegs, tmp_path):
    cfg = load_config(small_config)
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    cases = [
        (
            runner.Settings(engines=("fast",)),
            ConfigError,
            "--engines: found fast, allowed: paddle,",
        ),
        (runner.Settings(input_size=(1, 2, 3)), UserError, "`input_size`: found 1 2 3, allowed"),
        (runner.Settings(stages=("nms",)), ConfigError, "--stages: raw, the network alone,"),
        (
            runner.Settings(images=(str(image),)),
            DataError,
            "a.png: the benchmark reads JPEG files only",
        ),
    ]
    for settings, kind, message in cases:
        with pytest.raises(kind, match=message):
            runner.run(cfg, [], None, settings, lambda text: None)
    cfg["weights"] = str(tmp_path / "gone")
    settings = runner.Settings(engines=("onednn",), stages=("raw",))
    with pytest.raises(CheckpointError, match="gone"):
        runner.run(cfg, [], None, settings, lambda text: None)
    with pytest.raises(DataError, match="no infer_cfg.yml"):
        runner.run(None, [str(tmp_path)], None, runner.Settings(), lambda text: None)
    (tmp_path / "infer_cfg.yml").write_text("a: [")
    with pytest.raises(DataError, match="infer_cfg.yml: not a YAML file"):
        runner.run(None, [str(tmp_path)], None, runner.Settings(), lambda text: None)
    (tmp_path / "infer_cfg.yml").write_text("text")
    with pytest.raises(DataError, match="infer_cfg.yml: not the settings of an export"):
        runner.run(None, [str(tmp_path)], None, runner.Settings(), lambda text: None)
    nowhere = runner.Settings(json_path=str(tmp_path / "a.png" / "x.json"))
    (tmp_path / "a.png").write_text("")
    with pytest.raises(UserError, match="x.json: cannot be written"):
        runner.run(cfg, [], None, nowhere, lambda text: None)


def test_folders_of_images_may_hold_others(jpegs, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    assert runner._jpegs([str(tmp_path)], tmp_path) == jpegs


def test_folders_that_cannot_be_compared(tmp_path):
    def folder(batch, side):
        steps = [{"type": "Resize", "target_size": [side, side], "keep_ratio": False}]
        return SimpleNamespace(
            path="x", config=InferConfig(preprocess=steps, class_names=[], batch=batch)
        )

    steps = runner._check_folder(folder(None, 64), None)
    assert runner._check_folder(folder(1, 64), steps) == steps
    with pytest.raises(
        ConfigError, match="exported with --batch 4, but the benchmark measures one"
    ):
        runner._check_folder(folder(4, 64), None)
    with pytest.raises(ConfigError, match="--model_dir x: Preprocess: found .*96.* have .*64"):
        runner._check_folder(folder(1, 96), steps)


def test_the_peak_has_as_many_threads_as_the_engines(repo, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--model_dir", "gone", "--threads", "3"])
    with pytest.raises(DataError, match="--model_dir gone"):
        runpy.run_path(str(repo / "tools/benchmark.py"))["main"]()
    assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "3"


SMALL_MAPS_TOO = """
import runpy, sys
from ppdet_lite.export.rewrite import limits
limits.MEASURED = limits.Limits(channels=128, tiles=1, products=0)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a tool with an export for CPUs in which small maps are no obstacle."""


def test_the_tool_from_a_configuration(repo, small_config, jpegs, tmp_path):
    out = tmp_path / "out.json"
    tool = str(repo / "tools/benchmark.py")
    command = [sys.executable, "-c", SMALL_MAPS_TOO, tool, "-c", str(small_config)]
    command += ["--engines", "onednn", "paddle", "onednn_target_cpu"]
    command += ["--repeats", "2", "--warmup", "1"]
    command += ["--threads", "1", "--json", str(out), "--output_dir", str(tmp_path / "kept")]
    command += ["--images", str(jpegs[0]), str(jpegs[1]), "--stages", "raw", "nms"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("small, batch 1, input 96 x 128 (height x width), ")
    assert lines[3].startswith(
        "| engine | network ms (p5-p95) | FPS | + decode | + NMS | JPEG to boxes |"
    )
    names = ["onednn", "paddle", "onednn_target_cpu"]
    assert [line.split()[1] for line in lines[5:8]] == names
    cells = [cell.strip() for cell in lines[5].strip("|").split("|")]
    assert [bool(cell) for cell in cells] == [True, True, True, False] + [True] * 4
    for name in names:
        line = next(x for x in lines if x.startswith(f"{name}, time of the network by operator: "))
        assert "conv2d" in line and line.endswith("%")
    assert any(line.startswith("oneDNN with an export for CPUs (--target cpu) ") for line in lines)
    assert lines[-1].startswith("Times as fast with the export for CPUs (--target cpu) as ")
    content = json.loads(out.read_text())
    for engine in content["engines"]:
        assert {key: len(v) for key, v in engine["times_ms"].items()} == {
            "raw": 2,
            "nms": 2,
            "end to end": 2,
        }
    folders = [str(path.parent) for path in sorted((tmp_path / "kept").rglob("infer_cfg.yml"))]
    found = [yaml.safe_load((Path(f) / "infer_cfg.yml").read_text()) for f in folders]
    kinds = sorted((content["stage"], content["target"]) for content in found)
    assert kinds == [("nms", "any"), ("nms", "cpu"), ("raw", "any"), ("raw", "cpu")]
    for_cpu = [f for f, content in zip(folders, found) if content["target"] == "cpu"]
    command = [sys.executable, tool, "--model_dir", *for_cpu, "--repeats", "1", "--warmup", "1"]
    command += ["--engines", "onednn", "onednn_target_cpu", "openvino_target_cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("small, batch 1, ")
    assert "| onednn_target_cpu | " in done.stdout and "M parameters" not in done.stdout
    for name, kind in (("onednn", "paddle, --target any"), ("openvino_target_cpu", "onnx, --t")):
        line = f"left out: {name}: no folder of --model_dir holds files for it ({kind}"
        assert line in done.stdout


def test_the_tool_without_a_model(repo):
    command = [sys.executable, str(repo / "tools/benchmark.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: give -c CONFIG, or --model_dir with exported folders\n"
