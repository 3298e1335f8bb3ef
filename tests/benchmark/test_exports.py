"""Options of the benchmarks and exports: what is refused, what is the default, what help says."""

import os
import runpy
import sys

import pytest
import yaml

from ppdet_lite.benchmark import engines
from ppdet_lite.benchmark import exports as models
from ppdet_lite.benchmark import inference_benchmark as runner
from ppdet_lite.benchmark.protocol import Result
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import load_config


def silent(text):
    """Takes lines about the progress."""


# ------------------------------------------------------------------------------- folders of exports
@pytest.fixture
def folder(tmp_path):
    """folder("a", "raw", "net", "model.json") makes one that looks like an export."""

    def make(path, stage, model, *files, **settings):
        (tmp_path / path).mkdir()
        content = {"stage": stage, "model_name": model, **settings}
        (tmp_path / path / "infer_cfg.yml").write_text(yaml.safe_dump(content))
        for file in files:
            (tmp_path / path / file).write_text("")
        return tmp_path / path

    return make


def test_folders_are_sorted_by_target(tmp_path):
    settings = {
        "old": {"stage": "raw"},
        "cpu": {"stage": "raw", "target": "cpu"},
        "nms": {"target": "any"},
    }
    for name, content in settings.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "infer_cfg.yml").write_text(yaml.safe_dump(content))
        for file in ("model.json", "model.onnx"):
            (tmp_path / name / file).write_text("")
    old, cpu, nms = (tmp_path / name for name in settings)
    found = models.stage_folders([str(cpu), str(old), str(nms)], ("raw", "nms"))
    assert found == {
        ("raw", engines.Kind("paddle", "any")): old,
        ("raw", engines.Kind("onnx", "any")): old,
        ("raw", engines.Kind("paddle", "cpu")): cpu,
        ("raw", engines.Kind("onnx", "cpu")): cpu,
        ("nms", engines.Kind("paddle", "any")): nms,
        ("nms", engines.Kind("onnx", "any")): nms,
    }
    (cpu / "infer_cfg.yml").write_text("target: toaster")
    with pytest.raises(DataError, match="cpu/infer_cfg.yml: target: found toaster, allowed: any, "):
        models.stage_folders([str(cpu)], ("raw",))


def test_two_folders_for_the_same(folder):
    first = folder("a", "raw", "net", "model.json", "model.onnx")
    second = folder("b", "raw", "net", "model.onnx")
    with pytest.raises(ConfigError) as caught:
        models.stage_folders([first, second], ("raw",))
    assert str(caught.value) == (
        f"--model_dir {second}: holds stage raw (onnx, --target any), as {first} does; leave one "
        "of them out"
    )
    assert models.stage_folders([first, second], ("nms",)) == {}  # neither is asked for
    assert set(models.stage_folders([first, first], ("raw",)).values()) == {first}
    for_cpu = folder("c", "raw", "net", "model.onnx", target="cpu")
    assert len(models.stage_folders([first, for_cpu], ("raw",))) == 3


def test_folders_of_two_models(folder):
    theirs = folder("t", "raw", None, "model.pdmodel")  # PaddleDetection names none
    first, second = (folder(name, "nms", name, "model.json") for name in ("one", "two"))
    with pytest.raises(ConfigError) as caught:
        models.stage_folders([theirs, first, second], ("raw",))
    assert str(caught.value) == (
        f"--model_dir {second}: of the model two, but {first} is of one; the benchmark measures "
        "one model"
    )
    assert len(models.stage_folders([theirs, first], ("raw", "nms"))) == 3


@pytest.mark.parametrize("turn", [1, -1])
def test_the_legacy_format_is_for_paddle_where_there_is_no_other(folder, turn):
    old = folder("old", "raw", "net", "model.pdmodel")
    new = folder("new", "raw", "net", "model.json")
    found = models.stage_folders([old, new][::turn], ("raw",))
    kinds = engines.Kind("paddle"), engines.Kind("paddle-legacy")
    assert found == {("raw", kinds[0]): new, ("raw", kinds[1]): old}
    assert models.stage_folders([old], ("raw",)) == {("raw", kind): old for kind in kinds}


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"random_weights": True}, "--random-weights"),
        ({"input_size": (320,)}, "--input-size"),
        ({"output_dir": "kept", "input_size": (320,)}, "--input-size, --output_dir"),
    ],
)
def test_folders_take_no_options_of_exporting(settings, options):
    with pytest.raises(ConfigError, match=f"^{options}: not with --model_dir"):
        runner.run(None, ["gone"], None, runner.Settings(**settings), silent)


@pytest.mark.parametrize("option", [["-o", "num_classes=3"], ["--print-config"]])
def test_options_about_a_configuration_need_one(repo, monkeypatch, option):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--model_dir", "gone", *option])
    with pytest.raises(ConfigError, match="-o and --print-config .* give -c CONFIG"):
        runpy.run_path(str(repo / "tools/benchmark.py"))["main"]()


# -------------------------------------------------------------------------------- the network input
@pytest.mark.parametrize("random_weights", [True, False])
def test_a_size_that_cannot_be_is_said_once(small_config, tmp_path, random_weights):
    settings = runner.Settings(
        input_size=(100,), random_weights=random_weights, output_dir=str(tmp_path / "kept")
    )
    lines = []
    with pytest.raises(UserError) as caught:
        runner.run(load_config(small_config), [], None, settings, lines.append)
    assert "`input_size`: found 100, allowed" in str(caught.value)
    assert lines == [] and list(tmp_path.iterdir()) == []


def test_random_weights_are_not_kept(small_config, folder, tmp_path, monkeypatch):
    seen, plain = [], folder("plain", "raw", "net", "model.json")

    def export(cfg, folder, options):
        seen.append(os.path.isfile(cfg["weights"]))
        return plain

    monkeypatch.setattr(models, "export_model", export)
    cfg = load_config(small_config)
    models.export_stages(
        cfg, tmp_path / "kept", ("onednn",), ("raw",), random_weights=True, say=silent
    )
    assert seen == [True] and not os.path.exists(cfg["weights"])
    assert list((tmp_path / "kept").iterdir()) == []


def test_an_export_for_cpus_that_is_the_plain_one(small_config, folder, tmp_path, monkeypatch):
    plain = folder("plain", "raw", "net", "model.json", target="any")
    monkeypatch.setattr(models, "export_model", lambda *arguments: plain)
    folders, _, left_out = models.export_stages(
        load_config(small_config),
        tmp_path / "kept",
        ("onednn", "onednn_target_cpu"),
        ("raw", "nms"),
        random_weights=True,
        say=silent,
    )
    assert set(folders) == {("raw", engines.Kind()), ("nms", engines.Kind())}
    assert left_out == {"onednn_target_cpu": models.NOTHING_TO_CHANGE}


def test_places_that_cannot_be_used_are_named_before_anything_is_made(small_config, tmp_path):
    (tmp_path / "file").write_text("")
    settings = runner.Settings(output_dir=str(tmp_path / "file"), random_weights=True)
    with pytest.raises(DataError, match="--output_dir .*/file: cannot be written to"):
        runner.run(load_config(small_config), [], None, settings, silent)
    settings = runner.Settings(images=(str(tmp_path / "gone.jpg"),), random_weights=True)
    with pytest.raises(DataError, match="--images .*/gone.jpg: no such file or folder"):
        runner.run(load_config(small_config), [], None, settings, silent)


def test_a_report_is_not_lost_with_the_json(folder, tmp_path, monkeypatch):
    result = Result([], {}, (64, 96))
    monkeypatch.setattr(runner, "run_benchmark", lambda *arguments, **options: result)

    def full(path, content):
        raise UserError(f"--json {path}: cannot be written (No space left on device)")

    monkeypatch.setattr(runner, "write_json", full)
    settings = runner.Settings(json_path=str(tmp_path / "x.json"), engines=("onednn",))
    lines = []
    with pytest.raises(UserError, match="No space left"):
        runner.run(None, [folder("a", "raw", "net")], None, settings, lines.append)
    assert lines[-1].startswith("net, batch 1, input 64 x 96 (height x width)")


# ----------------------------------------------------------------------------------------- defaults
def test_threads_are_the_cores_that_may_be_used(repo, monkeypatch):
    path = str(repo / "ppdet_lite/runtime/options.py")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    for cores, threads in ((3, 3), (12, 8)):
        allowed = set(range(4, 4 + cores))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, a=allowed: a, raising=False)
        assert runpy.run_path(path)["DEFAULT_THREADS"] == threads


def test_the_benchmark_takes_the_cores_that_may_be_used(repo, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5, 6}, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--model_dir", "gone"])
    with pytest.raises(DataError, match="--model_dir gone"):
        runpy.run_path(str(repo / "tools/benchmark.py"))["main"]()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"


def test_the_help_lists_every_engine(repo, monkeypatch):
    listed = engines.engines_help().splitlines()
    assert listed[0].split() == [
        "onednn*",
        "onnxruntime*",
        "openvino*",
        "paddle",
        "onednn_bfloat16",
    ]
    assert listed[1].split()[:2] == ["onednn_target_cpu*", "onnxruntime_target_cpu"]
    assert listed[1].index("exports with") == listed[0].index("paddle")
    assert listed[2].index("where there is a GPU") == listed[0].index("paddle")
    words = {word for line in listed for word in line.split()}
    assert {word.rstrip("*") for word in words} >= set(engines.ENGINES)
    starred = {word[:-1] for word in words if word.endswith("*")}
    assert starred == {*engines.DEFAULT_ENGINES, *engines.GPU_ENGINES}
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert engines.engines_help() in runpy.run_path(str(repo / "tools/benchmark.py"))["EXAMPLES"]
