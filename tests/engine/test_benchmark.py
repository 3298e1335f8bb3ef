"""The benchmark: its protocol with engines that only count, its report, and small networks."""

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

from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, ImageError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.image_ops import Preprocess
from ppdet_lite.engine import benchmark as protocol
from ppdet_lite.engine import benchmark_models as models
from ppdet_lite.engine import benchmark_report as report
from ppdet_lite.engine import benchmark_run as runner

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


def measured(name, device="CPU", **times):
    """A contestant with given times."""
    times = {key.replace("_", " "): list(values) for key, values in times.items()}
    entry = protocol.Contestant(name, {}, device, times)
    rounds = len(times["raw"])
    entry.parts = {part: [2.0] * rounds for part in protocol.PARTS}
    entry.parts["network + NMS"] = [value + 3.0 for value in times["raw"]]
    return entry


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


def test_summary_and_overhead_by_hand():
    assert protocol.summarize(range(101)) == (50, 5, 95)
    entry = measured("x", raw=[100, 120, 110], nms=[101, 140, 140])
    assert entry.best("raw") == 100
    assert entry.beside_the_network() == {
        "jpeg": 2,
        "preprocess": 2,
        "input": 2,
        "output": 2,
        "decode + NMS": 1,
    }
    assert entry.overhead == 9 and report.overhead_share(entry) == 0.09
    entry.times["nms"][0] = 90.0  # chance must not make the way to the boxes shorter
    assert entry.overhead == 8
    assert protocol.Contestant("x", {}, "CPU", {"raw": [1.0]}).overhead is None
    assert measured("x", raw=[100] * 19 + [150]).unrest == pytest.approx(0.025)
    assert measured("x", raw=[100, 150]).unrest == pytest.approx(147.5 / 102.5 - 1)


def test_peak_of_matrix_products():
    assert 0.05 < MATRIX_PEAK((64, 128), 2) < 1e5


def test_no_engine_says_why(jpegs):
    with pytest.raises(UserError) as caught:
        protocol.run_benchmark([], PREPROCESS, jpegs, 1, 1, {"gpu": "no GPU"})
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


def test_a_broken_picture_is_named(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=str(path)):
        protocol.run_benchmark([contestant("a", [])], PREPROCESS, [path], 1, 1, {})


# -------------------------------------------------------------------------------------- the report
NETWORK = report.Network("net", 54_000_000, 60_000_000_000, ("ResNet", 50))


def test_report_of_a_cpu_by_hand():
    onednn = measured("onednn", raw=[1000.0] * 3, nms=[1010.0] * 3, end_to_end=[1011.0] * 3)
    onednn.operators = {"conv2d": 800.0, "b": 100.0, "c": 50.0, "d": 25.0, "e": 20.0, "f": 5.0}
    slower = measured("onnxruntime", raw=[2000.0, 1850.0, 1800.0])
    result = protocol.Result(
        [onednn, slower], {"openvino": "not installed"}, (640, 640), [120, 160]
    )
    text = report.markdown(result, NETWORK, {"CPU": "test (2 threads)", "Paddle": "3"})
    assert (
        "net, batch 1, input 640 x 640 (height x width), 54.00 M parameters, 60.00 GFLOPs" in text
    )
    assert "CPU test (2 threads), Paddle 3" in text
    row = "| onednn | 1000.0 (1000.0-1000.0) | 1.00 |  | 1010.0 | 1011.0 | 1.1% | 75% |"
    assert row in text
    assert "left out: openvino: not installed" in text
    assert (
        "onednn, ms beside the network: jpeg 2.0, preprocess 2.0, input 2.0, output 2.0, "
        "decode + NMS 3.0; together 11.0" in text
    )
    assert (
        "oneDNN computes 120 GFLOP/s, 0.75 of the machine's 160 GFLOP/s in float32 matrix products "
        "(target 0.9: missed)" in text
    )
    assert "oneDNN is 1.80 times as fast as ONNX Runtime (target 1.7: reached)" in text
    assert (
        "JPEG to boxes takes 1.1% of the network's time more than the network (target 5%: reached)"
        in text
    )
    assert (
        "onednn, time of the network by operator: conv2d 80.0%, b 10.0%, c 5.0%, d 2.5%, others "
        "2.5%" in text
    )
    assert "\nMedians of 3 rounds. " in text and "not quiet" not in text
    slower.times["raw"][0] = 2900.0
    assert "\nSlow rounds took 55% longer than fast ones: this machine was not quiet" in (
        report.markdown(result, NETWORK, {})
    )
    assert "TensorRT" not in text
    content = report.as_dict(result, NETWORK, {"CPU": "test"})
    assert content["onednn_over_onnxruntime"] == 1.8
    assert content["engines"][0]["share_of_peak"] == 0.75
    assert content["engines"][0]["summary"]["raw"]["p95"] == 1000
    assert content["engines"][0]["operators_ms"] == onednn.operators
    json.dumps(content)


@pytest.mark.parametrize(
    ("backbone", "size", "paper"),
    [
        (("ResNet", 50), (640, 640), "; paper: 54.6 % (68.9 to 106.5 FPS, V100)"),
        (("ResNet", 101), (640, 640), "; paper: 73.0 % (50.3 to 87.0 FPS, V100)"),
        (("ResNet", 50), (320, 320), ""),
        (("ResNet", 18), (640, 640), ""),
    ],
)
def test_speed_up_of_tensorrt_beside_the_papers(backbone, size, paper):
    plain = measured("gpu", "GPU", raw=[9.3, 9.9, 9.6])
    fast = measured("trt_fp16", "GPU", raw=[6.0, 6.0, 6.0])
    result = protocol.Result([plain, fast], {}, size)
    text = report.markdown(result, NETWORK._replace(backbone=backbone), {})
    lines = text.splitlines()
    assert f"TensorRT FP16 is 55.0 % faster than FP32 without TensorRT{paper}" in lines
    assert "target" not in text and "| trt_fp16 | 6.0 (6.0-6.0) | 167 |" in text
    assert "| gpu | 9.6 (9.3-9.9) | 104 |" in text and "by operator" not in text


def test_the_papers_speed_ups_are_those_of_their_frame_rates():
    for slow, fast, percent in report.PAPER_SPEED_UP.values():
        assert round(100 * (fast / slow - 1), 1) == pytest.approx(percent, abs=0.1)


def test_json_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/x.json: cannot be written"):
        report.write_json(tmp_path / "file" / "x.json", {})


# -------------------------------------------------------------------------------- random weights
def test_random_weights_let_few_candidates_through(small_config, tmp_path):
    cfg = load_config(small_config)
    note = models._random_weights(cfg, tmp_path, (96, 128))
    assert note.startswith("random weights, objectness lowered until 0.")
    from ppdet_lite.engine.evaluation import load_trained_model

    model, weights = load_trained_model(cfg)
    assert weights == str(tmp_path / "random.pdparams")
    sample = models._sample(cfg, 96, 128)
    raw = model.raw_outputs(sample["image"])
    _, scores = model.decode(raw, sample["im_shape"], sample["scale_factor"])
    passed = (scores.numpy() >= 0.01).mean()
    assert 0.2 * models.CANDIDATE_SHARE < passed <= 1.01 * models.CANDIDATE_SHARE


def test_network_figures_are_those_of_model_info(small_config):
    from ppdet_lite.engine.model_info import measure

    cfg = load_config(small_config)
    network = models.network_of(cfg, (96, 128))
    total = measure(create(cfg.architecture, cfg), 96, 128).total
    assert network[:4] == ("small", total.values, total.multiply_adds, ("ResNet", 18))


# --------------------------------------------------------------------------------------- the tool
def test_settings_that_cannot_be(small_config, jpegs, tmp_path):
    cfg = load_config(small_config)
    cases = [
        (
            runner.Settings(engines=("fast",)),
            ConfigError,
            "--engines: found fast, allowed: paddle,",
        ),
        (runner.Settings(input_size=(1, 2, 3)), ConfigError, "--input-size: found"),
        (runner.Settings(stages=("nms",)), ConfigError, "--stages: raw, the network alone,"),
        (
            runner.Settings(images=(str(tmp_path / "a.png"),)),
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
    with pytest.raises(UserError, match="--json .*x.json: cannot be written"):
        runner.run(cfg, [], None, nowhere, lambda text: None)


def test_folders_of_pictures_may_hold_others(jpegs, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    assert runner._jpegs([str(tmp_path)], tmp_path) == jpegs


def test_folders_that_cannot_be_compared(tmp_path):
    def folder(batch, side):
        steps = [{"type": "Resize", "target_size": [side, side], "keep_ratio": False}]
        return SimpleNamespace(path="x", batch=batch, settings={"Preprocess": steps})

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


def test_the_tool_from_a_configuration(repo, small_config, jpegs, tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, str(repo / "tools/benchmark.py"), "-c", str(small_config)]
    command += ["--engines", "onednn", "paddle", "--repeats", "2", "--warmup", "1"]
    command += ["--threads", "1", "--json", str(out), "--output_dir", str(tmp_path / "kept")]
    command += ["--images", str(jpegs[0]), str(jpegs[1]), "--stages", "raw", "nms"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("small, batch 1, input 96 x 128 (height x width), ")
    assert lines[3].startswith(
        "| engine | network ms (p5-p95) | FPS | + decode | + NMS | JPEG to boxes |"
    )
    assert lines[5].startswith("| onednn | ") and lines[6].startswith("| paddle | ")
    cells = [cell.strip() for cell in lines[5].strip("|").split("|")]
    assert [bool(cell) for cell in cells] == [True, True, True, False] + [True] * 4
    for name in ("onednn", "paddle"):
        line = next(x for x in lines if x.startswith(f"{name}, time of the network by operator: "))
        assert "conv2d" in line and line.endswith("%")
    assert any(line.startswith("oneDNN computes ") for line in lines)
    content = json.loads(out.read_text())
    for engine in content["engines"]:
        assert {key: len(v) for key, v in engine["times_ms"].items()} == {
            "raw": 2,
            "nms": 2,
            "end to end": 2,
        }
    folders = [str(path.parent) for path in sorted((tmp_path / "kept").rglob("infer_cfg.yml"))]
    stages = {yaml.safe_load((Path(f) / "infer_cfg.yml").read_text())["stage"] for f in folders}
    assert stages == {"raw", "nms"}
    command = [*command[:2], "--model_dir", *folders, "--engines", "onednn", "onnxruntime"]
    command += ["--repeats", "1", "--warmup", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("small, batch 1, ")
    assert "| onednn | " in done.stdout and "M parameters" not in done.stdout
    assert (
        "left out: onnxruntime: no folder of --model_dir holds files for it (onnx)" in done.stdout
    )


def test_the_tool_without_a_model(repo):
    command = [sys.executable, str(repo / "tools/benchmark.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: give -c CONFIG, or --model_dir with exported folders\n"
