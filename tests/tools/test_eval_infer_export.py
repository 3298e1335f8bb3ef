"""The command lines of evaluation, inference and export, run as a user runs them."""

import json
import subprocess
import sys

import pytest

from ppdet_lite.cli.tool import named_as_options
from ppdet_lite.commands import infer
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export import run as export
from ppdet_lite.export.options import ExportOptions
from tests.tools.in_process import run_tool


def test_eval_options_reach_the_evaluation(small_config, tmp_path, capsys):
    run_tool("eval", "-c", small_config, "--classwise", "--output_eval", tmp_path)
    printed = capsys.readouterr().err
    assert "images/s" in printed and "square" in printed and "circle" in printed
    entries = json.loads((tmp_path / "bbox.json").read_text())
    run_tool("eval", "-c", small_config, "--json_eval", "--output_eval", tmp_path)
    assert "evaluated" not in capsys.readouterr().err  # the network did not run
    run_tool("eval", "-c", small_config, "--bias", "--output_eval", tmp_path)
    biased = json.loads((tmp_path / "bbox.json").read_text())
    assert [round(b - a, 3) for a, b in zip(entries[0]["bbox"], biased[0]["bbox"])] == [0, 0, 1, 1]


def test_infer_options_reach_the_predictor(small_config, tiny_coco, tmp_path):
    image = tiny_coco / "images" / "val_0.jpg"
    common = ("-c", small_config, "--image", image, "--output_dir", tmp_path)
    run_tool("infer", *common, "--threshold", "0.02", "--save_results")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bbox.json", "val_0.jpg", "val_0.json"]
    assert json.loads((tmp_path / "val_0.json").read_text())["threshold"] == 0.02


def test_infer_names_its_option_for_a_wrong_threshold(small_config, tiny_coco, tmp_path):
    options = ("--infer_img", tiny_coco / "images" / "val_0.jpg", "--output_dir", tmp_path)
    with pytest.raises(ConfigError) as caught:
        run_tool("infer", "-c", small_config, *options, "--draw_threshold", "2")
    printed = named_as_options(str(caught.value), infer.build_parser())
    assert printed.startswith("--threshold: found 2.0")


def test_infer_asks_for_images(small_config, capsys):
    with pytest.raises(SystemExit) as stop:
        run_tool("infer", "-c", small_config)
    assert stop.value.code == 2
    assert "--image/--image_file/--infer_img --image_dir/--infer_dir" in capsys.readouterr().err


def test_export_options_reach_the_export(small_config, monkeypatch):
    asked = []
    monkeypatch.setattr(export, "export_model", lambda *args, **more: asked.append((args, more)))
    run_tool("export_model", "-c", small_config, "--output_dir", "somewhere", "--verify", "a.jpg")
    ((cfg, *rest), more) = asked.pop()
    assert (cfg.name, rest) == ("small", ["somewhere", ExportOptions(formats=["paddle"])])
    assert more == {"verify": ["a.jpg"]}
    named = ("--format", "onnx", "paddle-legacy", "--portable-dcn", "--stage", "raw")
    sizes = ("--input-size", 64, 96, "--batch", 2, "--target", "cpu")
    run_tool("export_model", "-c", small_config, *named, *sizes)
    run_tool("export_model", "-c", small_config, "--input-size", "dynamic")
    assert asked[0][0][2] == ExportOptions(
        ["onnx", "paddle-legacy"], (64, 96), 2, "raw", portable_dcn=True, target="cpu"
    )
    assert asked[1][0][2].input_hw is None
    half = ("--format", "onnx", "--precision", "fp16", "--calib_dir", "photos")
    run_tool("export_model", "-c", small_config, *half)
    wanted = ExportOptions(["onnx"], precision="fp16", calib_dir="photos")
    assert asked[2][0][2] == wanted


def test_two_processes_share_an_evaluation(repo, small_config, tmp_path):
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    launch += ["--log_dir", str(tmp_path / "log"), str(repo / "tools/eval.py")]
    launch += ["-c", str(small_config), "--output_eval", str(tmp_path / "two")]
    done = subprocess.run(launch, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    run_tool("eval", "-c", small_config, "--output_eval", tmp_path / "one")
    shared, single = (
        sorted(
            (e["image_id"], e["category_id"], round(e["score"], 3))
            for e in json.loads((tmp_path / folder / "bbox.json").read_text())
        )
        for folder in ("two", "one")
    )
    assert len(shared) > 50 and shared == single
    first_log = (tmp_path / "log" / "workerlog.0").read_text()
    assert first_log.count("AP by size:") == 1
    assert "AP by size" not in (tmp_path / "log" / "workerlog.1").read_text()
