"""Folders of exports: those that the benchmark writes, and those that are given to it."""

import os

import paddle
import pytest
import yaml

from ppdet_lite.benchmark import exports
from ppdet_lite.benchmark.engines import DEFAULT_ENGINES, Kind
from ppdet_lite.benchmark.exports import find_exports, model_name, write_exports
from ppdet_lite.benchmark.random_weights import CANDIDATE_SHARE, set_random_weights
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.check import ExportMismatch, built_in_image
from ppdet_lite.modeling.build_detector import build_detector


@pytest.fixture
def cfg(small_config):
    return load_config(small_config)


@pytest.fixture
def folder(tmp_path):
    """folder("a", "raw", "net", "model.json") makes one that looks like an export."""

    def make(path, stage, model, *files, **settings):
        (tmp_path / path).mkdir(parents=True)
        content = {"Preprocess": [], "label_list": [], "stage": stage, "model_name": model}
        (tmp_path / path / "infer_cfg.yml").write_text(yaml.safe_dump({**content, **settings}))
        for file in files:
            (tmp_path / path / file).write_text("")
        return tmp_path / path

    return make


def silent(text):
    """Takes lines about the progress."""


# ------------------------------------------------------------------------------- given folders
def test_folders_are_sorted_by_stage_and_target(folder):
    files = ("model.json", "model.onnx")
    old, nms = folder("old", "raw", "net", *files), folder("nms", "nms", "net", *files)
    cpu = folder("cpu", "raw", "net", *files, target="cpu")
    found = find_exports([str(cpu), str(old), str(nms)], ("raw", "nms"))
    assert found.folders == {
        ("raw", Kind("paddle", "any")): old,
        ("raw", Kind("onnx", "any")): old,
        ("raw", Kind("paddle", "cpu")): cpu,
        ("raw", Kind("onnx", "cpu")): cpu,
        ("nms", Kind("paddle", "any")): nms,
        ("nms", Kind("onnx", "any")): nms,
    }
    assert find_exports([old, nms], ("nms",)).folders.keys() == {
        ("nms", Kind("paddle")),
        ("nms", Kind("onnx")),
    }


def test_two_folders_of_one_kind(folder):
    first, second = (folder(name, "raw", "net", "model.onnx") for name in ("a", "b"))
    with pytest.raises(ConfigError, match=f"model_dir` {second}: .*raw.*as {first} does"):
        find_exports([first, second], ("raw",))
    assert find_exports([first, second], ("nms",)).folders == {}  # neither is asked for
    assert set(find_exports([first, first], ("raw",)).folders.values()) == {first}
    for_cpu = folder("c", "raw", "net", "model.onnx", target="cpu")
    assert len(find_exports([first, for_cpu], ("raw",)).folders) == 2


def test_folders_of_two_models(folder):
    theirs = folder("t", "raw", None, "model.pdmodel")  # PaddleDetection names none
    first, second = (folder(name, "nms", name, "model.json") for name in ("one", "two"))
    with pytest.raises(ConfigError, match=f"{second}: of the model two, but {first} is of one"):
        find_exports([theirs, first, second], ("raw",))
    assert len(find_exports([theirs, first], ("raw", "nms")).folders) == 3
    assert (model_name(str(first)), model_name(str(theirs))) == ("one", "t")


@pytest.mark.parametrize("turn", [1, -1])
def test_the_legacy_format_is_for_paddle_where_there_is_no_other(folder, turn):
    old = folder("old", "raw", "net", "model.pdmodel")
    new = folder("new", "raw", "net", "model.json")
    found = find_exports([old, new][::turn], ("raw",)).folders
    kinds = Kind("paddle"), Kind("paddle-legacy")
    assert found == {("raw", kinds[0]): new, ("raw", kinds[1]): old}
    assert find_exports([old], ("raw",)).folders == {("raw", kind): old for kind in kinds}


@pytest.mark.parametrize(
    "content, kind, key",
    [
        (None, ConfigError, r"infer_cfg\.yml"),
        ("a: [", ConfigError, r"infer_cfg\.yml.*not valid YAML"),
        ("text", ConfigError, r"infer_cfg\.yml.*Preprocess"),
        ("{Preprocess: [], label_list: [], target: toaster}", ConfigError, "target.*toaster"),
    ],
)
def test_folders_of_no_export(tmp_path, content, kind, key):
    if content is not None:
        (tmp_path / "infer_cfg.yml").write_text(content)
    with pytest.raises(kind, match=key):
        find_exports([str(tmp_path)], ("raw",))


# ------------------------------------------------------------------------------ written folders
def test_every_target_is_exported_once_per_stage(cfg, folder, tmp_path):
    calls = []

    def export(cfg, path, options):
        assert (options.batch, options.input_size) == (1, (96, 128))
        stage, formats, target = options.stage, options.formats, options.target
        calls.append((stage, target, formats, options.portable_dcn))
        if formats == ("onnx",) and target == "cpu":
            raise ExportMismatch("another score")
        if target == "cpu" and "onnx" in formats:
            raise UserError("not together")
        return folder(path, stage, "small", target=target)

    written = write_exports(
        cfg, tmp_path, (*DEFAULT_ENGINES, "trt_int8"), ("raw", "nms"), say=silent, export=export
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
    assert written.left_out == {"openvino_target_cpu": "another score"} and written.note == ""
    assert len(set(written.folders.values())) == 6
    assert set(written.folders) == {
        (stage, Kind(*kind))
        for stage in ("raw", "nms")
        for kind in (("onnx",), ("paddle",), ("paddle-legacy",), ("paddle", "cpu"))
    }


def test_random_weights_are_not_kept(cfg, folder, tmp_path):
    seen, plain = [], folder("plain", "raw", "net", "model.json")

    def export(cfg, path, options):
        seen.append(os.path.isfile(cfg["weights"]))
        return plain

    kept = tmp_path / "kept"
    written = write_exports(
        cfg, kept, ("onednn",), ("raw",), random_weights=True, say=silent, export=export
    )
    assert seen == [True] and not os.path.exists(cfg["weights"])
    assert list(kept.iterdir()) == [] and written.note.startswith("random weights")


def test_an_export_for_cpus_that_is_the_plain_one(cfg, folder, tmp_path):
    plain = folder("plain", "raw", "net", "model.json", target="any")
    names, stages = ("onednn", "onednn_target_cpu"), ("raw", "nms")
    written = write_exports(
        cfg, tmp_path, names, stages, say=silent, export=lambda *arguments: plain
    )
    assert set(written.folders) == {("raw", Kind()), ("nms", Kind())}
    assert written.left_out == {"onednn_target_cpu": exports.NOTHING_TO_CHANGE}


@pytest.mark.parametrize("random_weights", [True, False])
def test_a_size_that_cannot_be_is_said_before_anything_is_made(cfg, tmp_path, random_weights):
    lines = []
    with pytest.raises(UserError, match="input.size.*: found 100"):
        write_exports(
            cfg,
            tmp_path / "kept",
            ("onednn",),
            ("raw",),
            input_size=(100,),
            random_weights=random_weights,
            say=lines.append,
        )
    assert lines == [] and list(tmp_path.iterdir()) == []


def test_places_and_weights_that_cannot_be_used(cfg, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="output_dir.*/file: cannot be written to"):
        write_exports(cfg, tmp_path / "file", ("onednn",), ("raw",), say=silent)
    cfg["weights"] = str(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="gone"):
        write_exports(cfg, tmp_path, ("onednn",), ("raw",), say=silent)


def test_random_weights_let_few_candidates_through(cfg, tmp_path):
    path = tmp_path / "random.pdparams"
    assert set_random_weights(cfg, path, (96, 128)).startswith("random weights")
    assert cfg["weights"] == str(path)
    model = build_detector(cfg)
    model.set_state_dict(paddle.load(str(path)))
    model.eval()
    preprocess = Preprocess(create("TestReader", cfg).preprocess_config())
    inputs = preprocess(built_in_image())
    sample = {key: paddle.to_tensor(value[None]) for key, value in inputs.items()}
    raw = model.raw_outputs(sample["image"])
    _, scores = model.decode(raw, sample["im_shape"], sample["scale_factor"])
    passed = (scores.numpy() >= 0.01).mean()
    assert 0.2 * CANDIDATE_SHARE < passed <= 1.01 * CANDIDATE_SHARE
