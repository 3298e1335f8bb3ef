"""The benchmark of inference: its options, the engines it opens, and small networks from end to
end."""

import json
import os
from contextlib import nullcontext
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from ppdet_lite.benchmark.engines import (
    DEFAULT_ENGINES,
    ENGINES,
    GRAPH,
    ONNX_GPU_ENGINES,
    PADDLE_GPU_ENGINES,
    Kind,
)
from ppdet_lite.benchmark.exports import Exports
from ppdet_lite.benchmark.inference_benchmark import (
    InferenceOptions,
    benchmark_inference,
    default_engines,
    describe_network,
    find_jpegs,
    open_engines,
)
from ppdet_lite.benchmark.protocol import NoEngine
from ppdet_lite.cli.tool import named_as_options
from ppdet_lite.commands.speed import benchmark
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import InferConfig
from tests.tools.in_process import run_tool


@pytest.fixture(scope="module")
def raw_export(small_config, tmp_path_factory):
    """The folder of the small network alone."""
    folder = tmp_path_factory.mktemp("benchmark") / "raw"
    return export_model(load_config(small_config), folder, ExportOptions(stage="raw", batch=1))


def silent(text):
    """Takes lines about the progress."""


# -------------------------------------------------------------------------------------- options
@pytest.mark.parametrize(
    "options, key",
    [
        ({"engines": ("fast",)}, "engines.*fast.*paddle"),
        ({"stages": ("nms",)}, "stages.*raw"),
        ({"repeats": 0}, "repeats.*0"),
        ({"threads": -1}, "threads.*-1"),
        ({"random_weights": True, "model_dir": ("gone",)}, "random_weights.*model_dir"),
        ({"input_size": (320,), "model_dir": ("gone",)}, "input_size.*model_dir"),
        ({"output_dir": "kept", "model_dir": ("gone",)}, "output_dir.*model_dir"),
    ],
)
def test_options_that_cannot_be(options, key):
    with pytest.raises(ConfigError, match=key):
        benchmark_inference(None, InferenceOptions(**options), silent)


def test_nothing_is_made_for_options_that_cannot_be(small_config, tmp_path):
    cfg = load_config(small_config, ["weights=gone"])
    (tmp_path / "file").write_text("")
    cases = [
        ({"images": (str(tmp_path / "gone.jpg"),)}, "images.*gone.jpg: no such"),
        ({"json": str(tmp_path)}, "it is a folder"),
        ({"json": str(tmp_path / "file" / "x.json")}, "x.json.*cannot be written"),
        ({"json": str(tmp_path / "new" / "x.json")}, "weights.*gone|gone"),
    ]
    for options, key in cases:
        with pytest.raises(UserError, match=key):
            benchmark_inference(cfg, InferenceOptions(engines=("onednn",), **options), silent)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "arguments, kind, key",
    [
        ([], ConfigError, "-c CONFIG.*--model_dir"),
        (["--model_dir", "gone", "-o", "num_classes=3"], ConfigError, "give -c CONFIG"),
        (["--model_dir", "gone", "--print-config"], ConfigError, "give -c CONFIG"),
        (["--model_dir", "gone"], ConfigError, "gone"),
    ],
)
def test_options_that_need_others(arguments, kind, key):
    with pytest.raises(kind, match=key):
        run_tool("benchmark", *arguments)


def test_the_peak_has_as_many_threads_as_the_engines(monkeypatch):
    """By default the cores that may be used."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5, 6}, raising=False)
    for arguments, threads in (([], "3"), (["--threads", "2"], "2")):
        with pytest.raises(ConfigError, match="gone"):
            benchmark.main(benchmark.build_parser().parse_args(["--model_dir", "gone", *arguments]))
        assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == threads


def test_the_help_lists_every_engine():
    words = set(benchmark.EXAMPLES.split())
    starred = {*DEFAULT_ENGINES, *PADDLE_GPU_ENGINES, *ONNX_GPU_ENGINES}
    plain = [name for name in ENGINES if not name.endswith(GRAPH)]
    assert {f"{name}*" if name in starred else name for name in plain} <= words
    parser = benchmark.build_parser()
    options = InferenceOptions(
        **{name: parser.get_default(name) for name in InferenceOptions._fields}
    )
    assert options == InferenceOptions()._replace(
        **{
            name: list(getattr(options, name))
            for name in ("model_dir", "engines", "stages", "input_size", "images", "against")
        }
    )


def test_folders_of_images_may_hold_others(tmp_path):
    for name in ("0.jpg", "a.png", "1.JPEG"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    assert find_jpegs([str(tmp_path)]) == [tmp_path / "0.jpg", tmp_path / "1.JPEG"]
    with pytest.raises(DataError, match="images.*a.png"):
        find_jpegs([str(tmp_path / "a.png")])


# -------------------------------------------------------------------------------------- engines
def test_engines_of_the_cpu_run_both_exports_by_default():
    on_cpu = ("onednn", "onednn_target_cpu", "onnxruntime", "openvino", "openvino_target_cpu")
    of_paddle = ("gpu", "gpu_fp16", "trt_fp32", "trt_fp16", "trt_int8")
    assert default_engines(paddle_on_gpu=False, onnx_on_gpu=False) == on_cpu
    assert default_engines(paddle_on_gpu=True, onnx_on_gpu=False) == (*on_cpu, *of_paddle)
    on_gpu = default_engines(paddle_on_gpu=False, onnx_on_gpu=True)[len(on_cpu) :]
    assert on_gpu[:3] == ("cuda_fp32", "cuda_tf32", "cuda_fp16") and on_gpu[5:] == (
        "tensorrt_fp16",
        "tensorrt_int8",
    )
    for plain in ("onednn", "onnxruntime", "openvino"):
        expected, found = ENGINES[plain], ENGINES[f"{plain}_target_cpu"]
        assert expected.kind.target == "any"
        assert found == expected._replace(kind=expected.kind._replace(target="cpu"))
    assert ENGINES["onednn_target_cpu"].kernels == "oneDNN"
    telling = [name for name, engine in ENGINES.items() if engine.tells_operators]
    assert telling == ["paddle", "onednn", "onednn_bfloat16", "onednn_target_cpu"]


def test_engines_that_fell_back_or_have_no_folder_are_left_out(raw_export):
    exports = Exports({("raw", Kind()): raw_export}, {"openvino": "earlier"})
    seen = []

    def opener(files, options):
        seen.append((options.engine, options.device, options.enable_mkldnn, options.cpu_threads))
        return SimpleNamespace(kernels="paddle", runs_on="cpu")

    names = ("onednn", "paddle", "onnxruntime", "openvino")
    engines, preprocess = open_engines(names, exports, InferenceOptions(threads=3), opener)
    assert [entry.label for entry in engines] == ["paddle (cpu)"] and preprocess is not None
    assert seen == [("paddle", "CPU", True, 3), ("paddle", "CPU", False, 3)]
    assert set(exports.left_out) == {"onednn", "onnxruntime", "openvino"}
    assert exports.left_out["onednn"].endswith("runs it as paddle")
    assert "format onnx" in exports.left_out["onnxruntime"]
    with pytest.raises(NoEngine, match="gpu: no GPU"):
        open_engines(["gpu"], Exports({}, {"gpu": "no GPU"}), InferenceOptions())


@pytest.mark.parametrize(
    "changed, key", [({"batch_size": 4}, "batches of 4"), ({"Preprocess": []}, "Preprocess")]
)
def test_folders_that_cannot_be_compared(exported, tmp_path, changed, key):
    (tmp_path / "other").mkdir()
    for path in exported.iterdir():
        (tmp_path / "other" / path.name).symlink_to(path)
    config = tmp_path / "other" / "infer_cfg.yml"
    config.unlink()
    content = yaml.safe_load((exported / "infer_cfg.yml").read_text())
    config.write_text(yaml.safe_dump({**content, "image_shape": [3, -1, -1], **changed}))
    folders = {("raw", Kind()): exported, ("nms", Kind()): tmp_path / "other"}
    with pytest.raises(ConfigError, match=f"other.*{key}"):
        open_engines(
            ["paddle"],
            Exports(folders, {}),
            InferenceOptions(),
            lambda files, options: SimpleNamespace(kernels="paddle"),
        )


def test_figures_of_the_network(small_config):
    """They are those of model_info, whose own tests count by hand."""
    network = describe_network(load_config(small_config), (96, 128), "a note")
    assert (network.name, network.backbone, network.note) == ("small", ("ResNet", 18), "a note")
    half = describe_network(load_config(small_config), (96, 64))
    assert half.parameters == network.parameters > 100_000
    assert 2 * half.multiply_adds == network.multiply_adds > 1_000_000


# --------------------------------------------------------------------------------- from end to end
def test_the_tool_with_folders(tiny_coco, exported, raw_export, tmp_path, capsys):
    out, images = tmp_path / "out.json", tiny_coco / "images"
    run_tool(
        "benchmark",
        *("--model_dir", exported, raw_export, "--images", images, "--json", out),
        *("--engines", "onednn", "paddle", "onednn_target_cpu", "--stages", "raw", "nms"),
        *("--repeats", 2, "--warmup", 1, "--threads", 1),
    )
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "small, batch 1, input 96 x 128 (height x width)"
    assert "(1 thread)" in lines[1]
    assert [line.split()[1] for line in lines[5:7]] == ["onednn", "paddle"]
    cells = [cell.strip() for cell in lines[5].strip("|").split("|")]
    assert [bool(cell) for cell in cells] == [True, True, True, False, True, True, True, False]
    assert any(line.startswith("left out: onednn_target_cpu: no folder") for line in lines)
    operators = [line for line in lines if "time of the network by operator: " in line]
    assert len(operators) == 2 and all("conv2d" in line for line in operators)
    assert "JPEG to boxes takes" in captured.out and "round 2 of 2" in captured.err
    content = json.loads(out.read_text())
    for engine in content["engines"]:
        rounds = {column: len(values) for column, values in engine["times_ms"].items()}
        assert rounds == {"raw": 2, "nms": 2, "end to end": 2}


def test_a_configuration_and_a_report_that_outlives_its_file(small_config, tmp_path):
    full = "/dev/full" if os.path.exists("/dev/full") else None
    lines, kept = [], tmp_path / "kept"
    options = InferenceOptions(
        engines=("paddle",), stages=("raw",), output_dir=str(kept), repeats=1, warmup=1, json=full
    )
    with pytest.raises(UserError, match="/dev/full") if full else nullcontext():
        lines.append(benchmark_inference(load_config(small_config), options, lines.append))
    assert lines[0].startswith("exporting raw as paddle")
    assert "M parameters" in lines[-1] and "| paddle (cpu) | " in lines[-1]
    (path,) = kept.rglob("infer_cfg.yml")
    config = InferConfig.read(path)
    assert (config.stage, config.batch, config.input_hw) == ("raw", 1, (96, 128))


def test_mistakes_are_told_in_options():
    with pytest.raises(ConfigError) as caught:
        run_tool("benchmark", "--model_dir", "gone", "--random-weights")
    told = named_as_options(str(caught.value), benchmark.build_parser())
    assert told.startswith("--random-weights: not with --model_dir")
