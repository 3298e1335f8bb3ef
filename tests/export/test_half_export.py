"""Exports with --precision fp16: files, layers that stay in float32, calibration, tolerances."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.calibration import Calibration, find_calibration
from ppdet_lite.export.check import ExportMismatch, load_images, verify_export
from ppdet_lite.export.formats.format import find_formats
from ppdet_lite.export.formats.onnx_format import PACKAGES, OnnxFormat
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import (
    CONFIG_FILE,
    HALF_FILES,
    ONNX_FILE,
    PORTABLE_FILE,
    InferConfig,
)
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.weights.checkpoint import save_checkpoint
from tests.export.conftest import CLASS_NAMES

for package in PACKAGES:
    pytest.importorskip(package, reason=f"needs the package {package}")
if paddle.__version__.startswith("2."):
    pytest.skip("the export to ONNX needs Paddle 3", allow_module_level=True)

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 25):
    reason = "needs ONNX Runtime 1.25, the first with deformable convolution"
    pytest.skip(reason, allow_module_level=True)

from ppdet_lite.export.onnx.float16.half import FLOAT, HALF, float32_by_design, to_half  # noqa: E402
from ppdet_lite.export.onnx.float16.half_layers import (  # noqa: E402
    layers_for_float32,
    weight_problem,
)

HALF_FILE, PORTABLE_HALF_FILE = HALF_FILES[ONNX_FILE], HALF_FILES[PORTABLE_FILE]
WANTED = ExportOptions(["onnx"], portable_dcn=True, precision="fp16")


@pytest.fixture(scope="module")
def half_folder(small_config, mild_settings, tmp_path_factory):
    cfg = load_config(small_config, mild_settings)
    return export_model(cfg, tmp_path_factory.mktemp("half"), WANTED)


def described(folder):
    return yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))


def weights_of(path):
    """Layer -> (type of its weights, largest absolute value)."""
    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type in ("Conv", "DeformConv"):
            tensor = tensors[node.input[1]]
            largest = np.abs(onnx.numpy_helper.to_array(tensor)).max()
            found[node.name] = (tensor.data_type, float(largest))
    return found


# --------------------------------------------------------------------------------------- files
def test_files_stand_beside_those_of_float32_and_are_described(half_folder):
    names = {path.name for path in half_folder.iterdir()}
    assert names == {"infer_cfg.yml", ONNX_FILE, PORTABLE_FILE, HALF_FILE, PORTABLE_HALF_FILE}
    settings = described(half_folder)
    assert settings["fp16"] == {"calibration": "4 images of EvalDataset", "float32_layers": {}}
    assert set(settings["files"]) == names - {"infer_cfg.yml"}
    assert InferConfig.read(half_folder / "infer_cfg.yml").fp16 == settings["fp16"]
    for name, half in HALF_FILES.items():
        sizes = [(half_folder / file).stat().st_size for file in (half, name)]
        assert 0.45 < sizes[0] / sizes[1] < 0.75


@pytest.mark.parametrize("name", [HALF_FILE, PORTABLE_HALF_FILE])
def test_weights_are_half_but_those_of_deformable_layers(half_folder, name):
    model = onnx.load(str(half_folder / name))
    onnx.checker.check_model(model, full_check=True)
    infos = [*model.graph.input, *model.graph.output]
    assert [i.name for i in infos] == ["image", "im_shape", "scale_factor", "bbox", "bbox_num"]
    assert {i.type.tensor_type.elem_type for i in infos[:4]} == {FLOAT}
    layers = weights_of(half_folder / name)
    assert len(layers) > 40 and all(re.match("backbone|neck|yolo_head", name) for name in layers)
    in_float32 = {layer for layer, (kind, _) in layers.items() if kind == FLOAT}
    offsets = {layer for layer in layers if layer.endswith("conv_offset")}
    deformable = {layer.replace("conv_offset", "conv") for layer in offsets}
    assert len(offsets) == 2
    assert in_float32 == (offsets | deformable if name == HALF_FILE else offsets)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_deployment_runs_the_file_that_it_is_asked_for(half_folder, engine):
    pytest.importorskip(engine, reason=f"needs the package {engine}")
    images = list(load_images().values())
    exact = Detector(half_folder, engine=engine).predict(images)
    detector = Detector(half_folder, engine=engine, precision="fp16")
    assert detector.files.graph.name.endswith("_fp16.onnx")
    for one, other in zip(exact, detector.predict(images)):
        assert len(one) == len(other) > 10
        assert 0 < np.abs(one[:, 1] - other[:, 1]).max() < 0.01


@pytest.mark.parametrize("stage", ["raw", "decoded"])
def test_other_stages_with_any_size_and_a_fixed_batch(mild_config, stage, tmp_path, capsys):
    options = ExportOptions(["onnx"], "dynamic", 2, stage, portable_dcn=True, precision="fp16")
    folder = export_model(mild_config, tmp_path, options)
    assert (folder / PORTABLE_HALF_FILE).is_file()
    said = capsys.readouterr().err
    for name in (HALF_FILE, PORTABLE_HALF_FILE):
        assert f"export verified (ONNX Runtime, {name})" in said
        gap = re.search(rf"\(float16 arithmetic, {name}\).* difference (\S+) ", said).group(1)
        assert float(gap) > 1e-4


# ------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"precision": "fp8"}, "^`precision`: found fp8, allowed: fp32, fp16"),
        ({"precision": "fp16", "target": "cpu"}, "^`precision` fp16 needs `target` any"),
        ({"calib_dir": "photos"}, "^`calib_dir` needs `precision` fp16"),
        ({"precision": "fp16"}, "^`precision` fp16 needs one of the `formats` onnx"),
    ],
)
def test_options_that_do_not_go_together(wanted, message):
    with pytest.raises(UserError, match=message):
        find_formats(ExportOptions(**wanted))


# ---------------------------------------------------------------------------------- calibration
@pytest.fixture(scope="module")
def config(half_folder):
    return InferConfig.read(half_folder / "infer_cfg.yml")


def test_images_of_a_folder(mild_config, config, tiny_coco, tmp_path, capsys):
    shutil.copy(tiny_coco / "images" / "val_0.jpg", tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    found = find_calibration(mild_config, tmp_path, replace(config, batch=3), {})
    assert found.source == "2 images of calib_dir"
    (inputs,) = found.batches()
    assert inputs["image"].shape == (3, 3, 96, 128) and inputs["im_shape"].shape == (3, 2)
    assert re.search(r"calibration without .*a\.jpg", capsys.readouterr().err)


def test_folders_that_cannot_be_used(mild_config, config, tmp_path):
    with pytest.raises(DataError, match="`calib_dir` .*no such folder"):
        find_calibration(mild_config, "gone", config, {})
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="`calib_dir`: of 1 images of calib_dir none can be read"):
        list(find_calibration(mild_config, tmp_path, config, {}).batches())


def test_many_images_are_not_all_run(mild_config, config, tmp_path):
    for index in range(100):
        (tmp_path / f"{index:03}.jpg").write_bytes(b"")
    names = [Path(name).stem for name in find_calibration(mild_config, tmp_path, config, {}).images]
    assert len(names) == 32 and names[0] == "000" and names[-1] == "099"


@pytest.mark.parametrize("reason", ["missing", "gone", "no image"])
def test_without_photos_the_check_says_so(mild_config, config, reason, tmp_path, capsys):
    if reason == "missing":
        mild_config["EvalDataset"] = None
    elif reason == "gone":
        mild_config["EvalDataset"]["dataset_dir"] = str(tmp_path / "gone")
    else:
        mild_config["EvalDataset"]["image_dir"] = "elsewhere"
    found = find_calibration(mild_config, None, config, load_images())
    said = capsys.readouterr().err
    assert "overflow is looked for on built-in image and its mirror image only, as EvalDat" in said
    assert found.source == "built-in image and its mirror image"
    assert len(list(found.batches())) == 2


# --------------------------------------------------------------------------------- overflow
PLAIN = ("backbone.res4.res4b.branch2a", "backbone.res4.res4b.branch2b")
DEFORMABLE = ("backbone.res5.res5b.branch2a", "backbone.res5.res5b.branch2b")


@pytest.fixture(scope="module")
def scaled_settings(small_config, mild_settings, tmp_path_factory):
    """Weights of a network that gives the same boxes with values that float16 cannot hold: one
    layer gives them 1e5 times as large and the next takes that back, before a deformable
    convolution it is the other way round."""
    model = load_trained_model(load_config(small_config, mild_settings))[0]
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    for (first, second), factor in ((PLAIN, 1e5), (DEFORMABLE, 1e-8)):
        for key in ("weight", "bias"):
            state[f"{first}.norm.{key}"] *= factor
        for part in ("conv", "conv_offset"):
            if f"{second}.{part}.weight" in state:
                state[f"{second}.{part}.weight"] /= factor
    folder = tmp_path_factory.mktemp("scaled")
    save_checkpoint(str(folder), "scaled", state, CLASS_NAMES)
    return [f"weights={folder / 'scaled'}"]


@pytest.fixture(scope="module")
def scaled_folder(small_config, scaled_settings, tmp_path_factory):
    cfg = load_config(small_config, scaled_settings)
    return export_model(cfg, tmp_path_factory.mktemp("out"), WANTED)


def test_layers_that_overflow_stay_in_float32_and_are_named(scaled_folder, tmp_path, capsys):
    """The export's own check has shown that its boxes are right."""
    kept = described(scaled_folder)["fp16"]["float32_layers"]
    conv, offset = f"{DEFORMABLE[1]}.conv", f"{DEFORMABLE[1]}.conv_offset"
    expected = {
        f"{PLAIN[0]}.conv": r"output up to \d\S*e\+0\d",
        f"{PLAIN[1]}.conv": r"weights lose 0\.\d+ of their norm",
        f"{DEFORMABLE[0]}.conv": r"weights lose \S+ of their norm|output of \S+e-0\d at most",
        conv: r"weights up to \S+e\+0\d",
    }
    assert set(kept) == set(expected)
    for layer, reason in expected.items():
        assert re.fullmatch(reason, kept[layer]), layer
    layers = weights_of(scaled_folder / PORTABLE_HALF_FILE)
    others = {name for name in layers if name.endswith("conv_offset")} | {offset}
    assert {name for name, (kind, _) in layers.items() if kind == FLOAT} == set(kept) | others
    assert max(largest for kind, largest in layers.values() if kind == HALF) < 65504

    shutil.copytree(scaled_folder, tmp_path / "copy")
    images = Calibration("the images", load_images(), InferConfig.read(scaled_folder / CONFIG_FILE))
    again = OnnxFormat().write_half(tmp_path / "copy", images)
    assert set(again["float32_layers"]) == set(kept) and again["calibration"] == "the images"
    said = capsys.readouterr().err
    assert "float16 cannot hold the values of 4 layers on the images, they stay in float32" in said
    assert all(f"{layer} ({reason})" in said for layer, reason in again["float32_layers"].items())


def test_a_file_that_overflows_is_refused(scaled_folder, small_config, scaled_settings, tmp_path):
    """Had no layer been kept: engines for CPUs, which compute in float32, would not have told of
    the one whose output overflows."""
    folder = tmp_path / "copy"
    shutil.copytree(scaled_folder, folder)
    config = InferConfig.read(folder / "infer_cfg.yml")
    config = rewrite(folder, config, lambda model: float32_by_design(model) | small_values(model))
    model = load_trained_model(load_config(small_config, scaled_settings))[0]
    trials = [trial for trial in OnnxFormat().trials(folder) if PORTABLE_HALF_FILE in trial.name]
    real, simulated = trials[:2]
    verify_export(model, [real], config, load_images())
    with pytest.raises(ExportMismatch, match=r"\(float16 arithmetic, model_portable_fp16.onnx\)"):
        verify_export(model, [simulated], config, load_images())


def small_values(model):
    """All that `layers_for_float32` finds without images."""
    return layers_for_float32(model)[0]


def rewrite(folder, config, in_float32):
    """Writes the float16 files of a folder again with other nodes in float32."""
    for name, half in HALF_FILES.items():
        model = onnx.load(str(folder / name))
        onnx.save(to_half(model, in_float32(model)), str(folder / half))
    config = config.with_files(folder)
    config.write(folder / "infer_cfg.yml")
    return config


def test_decoding_in_float16_is_refused(half_folder, mild_model, tmp_path):
    """It moves boxes by no more than the rounding of the network, and is found all the same."""
    folder = tmp_path / "copy"
    shutil.copytree(half_folder, folder)
    config = InferConfig.read(folder / "infer_cfg.yml")
    config = rewrite(folder, config, lambda model: only_sampling(float32_by_design(model), model))
    trials = [trial for trial in OnnxFormat().trials(folder) if "float16 arithmetic" in trial.name]
    with pytest.raises(
        ExportMismatch, match=r"\(float16 arithmetic, model_fp16.onnx\) makes somet"
    ):
        verify_export(mild_model, trials, config, load_images())


def only_sampling(by_design, model):
    """Without decoding, which ends with the boxes and scores of all levels in one; NMS stays."""
    nodes = [node for node in model.graph.node if node.name.startswith("detector.")]
    ends = [
        i
        for i, node in enumerate(nodes)
        if node.op_type == "Concat" and all(x.startswith("detector.reshape") for x in node.input)
    ]
    assert len(ends) == 2
    return by_design - {node.output[0] for node in nodes[: ends[1] + 1]}


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ([1.0, -0.25, 3e-3], ""),
        ([7e4, 1.0], r"weights up to 7e\+04"),
        ([3e-9, -2e-9], r"weights lose 1 of their norm"),
        ([1e-6, 3e-6, 2e-6], r"weights lose 0\.0\d+ of their norm"),
        ([1.0, 1e-9], ""),  # the small one does not matter
        ([np.nan, 1.0], "weights up to nan"),
        ([0.0, 0.0], ""),
        ([], ""),
    ],
)
def test_weights_that_float16_can_hold(weights, problem):
    assert re.fullmatch(problem, weight_problem(np.array(weights, np.float32)))
