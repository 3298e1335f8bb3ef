"""Other detectors in the benchmark: small .onnx files as other projects write them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_lite.benchmark.against import (
    GraphInput,
    closed_copy,
    fill_inputs,
    other_models,
    read_inputs,
)
from ppdet_lite.benchmark.inference_benchmark import InferenceOptions, open_others
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.data.pixels.image_ops import Preprocess
from tests.tools.in_process import run_tool

onnx = pytest.importorskip("onnx")
TYPES = {"float32": 1, "uint8": 2, "int64": 7, "float16": 10}


def write_detector(path, images, dtype="float32", others=()):
    """A graph with images of a shape, whose mean it gives, and of others (name, shape, dtype)."""
    make, helper = onnx.helper.make_tensor_value_info, onnx.helper
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=1),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0),
    ]
    names = [name for name, _, _ in others]
    nodes += [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names]
    entries = [(name, shape, TYPES[kind]) for name, shape, kind in others]
    graph = helper.make_graph(
        nodes,
        "detector",
        [make("images", TYPES[dtype], images), *(make(n, kind, s) for n, s, kind in entries)],
        [make("mean", 1, []), *(make(f"{n}_out", kind, s) for n, s, kind in entries)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_inputs_of_a_file(tmp_path):
    sizes = ("orig_target_sizes", ["batch", 2], "int64")
    path = write_detector(tmp_path / "rt.onnx", ["batch", 3, 640, 640], "float16", [sizes])
    assert read_inputs(path) == [
        GraphInput("images", (None, 3, 640, 640), "float16"),
        GraphInput("orig_target_sizes", (None, 2), "int64"),
    ]


@pytest.mark.parametrize("batch", [1, 8])
def test_inputs_are_filled_by_name_and_shape(batch):
    inputs = [
        GraphInput("x", (None, 3, None, 96), "float32"),
        GraphInput("im_shape", (None, 2), "float32"),
        GraphInput("scale_factor", (batch, 2), "float32"),
        GraphInput("orig_target_sizes", (None, 2), "int64"),
        GraphInput("pixel_mask", (None, None, None), "int64"),
    ]
    filled = fill_inputs(inputs, (64, 128), batch)
    assert list(filled) == [entry.name for entry in inputs]
    assert filled["x"].shape == (batch, 3, 64, 96) and filled["x"].std() == pytest.approx(1, 0.05)
    for name in ("im_shape", "orig_target_sizes"):
        np.testing.assert_array_equal(filled[name], [[64, 96]] * batch)
    np.testing.assert_array_equal(filled["scale_factor"], np.ones((batch, 2)))
    assert filled["pixel_mask"].shape == (batch, 64, 96) and filled["pixel_mask"].all()
    assert [filled[entry.name].dtype.name for entry in inputs] == [e.dtype for e in inputs]


def test_bytes_with_channels_last():
    image = fill_inputs([GraphInput("image", (1, None, 32, 3), "uint8")], (64, 64))["image"]
    assert image.shape == (1, 64, 32, 3) and image.dtype == np.uint8 and image.max() > 200


@pytest.mark.parametrize(
    "inputs, key",
    [
        ([GraphInput("tokens", (1, 77), "int64")], r"tokens \[1, 77\] int64.*four axes"),
        (
            [GraphInput("x", (1, 3, 8, 8), "float32"), GraphInput("text", (1, 77), "int64")],
            r"text \[1, 77\]",
        ),
        ([GraphInput("x", (4, 3, 8, 8), "float32")], "takes 4 images, not 1"),
    ],
)
def test_inputs_that_no_detector_has(inputs, key):
    with pytest.raises(UserError, match=key):
        fill_inputs(inputs, (64, 64))


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "more").mkdir()
    first = write_detector(tmp_path / "a.onnx", [1, 3, 8, 8])
    second = write_detector(tmp_path / "more" / "a.onnx", [1, 3, 8, 8])
    for files, kind, key in (
        ([tmp_path / "gone.onnx"], DataError, "against.*gone.onnx: no such file"),
        ([tmp_path / "text.onnx"], DataError, "text.onnx"),
        ([first, second], ConfigError, "against.*more.a.onnx.*name a"),
    ):
        with pytest.raises(kind, match=key):
            other_models(list(map(str, files)))


def test_sizes_are_closed_in_a_copy(tmp_path):
    """Of the outputs, too; a file that cannot be run keeps those open."""
    pytest.importorskip("onnxruntime")
    sizes = ("orig_target_sizes", ["n", 2], "int64")
    path = write_detector(tmp_path / "a.onnx", ["n", 3, "h", "w"], others=[sizes])
    (model,) = other_models([str(path)]).values()
    closed = closed_copy(model, fill_inputs(model.inputs, (32, 64), 2), tmp_path / "b.onnx")
    assert [entry.shape for entry in closed.inputs] == [(2, 3, 32, 64), (2, 2)]
    outputs = onnx.load(str(tmp_path / "b.onnx")).graph.output
    assert [axis.dim_value for axis in outputs[1].type.tensor_type.shape.dim] == [2, 2]
    content = onnx.load(str(path))
    content.graph.node[0].domain = "an.other"
    onnx.save(content, str(path))
    closed = closed_copy(model, fill_inputs(model.inputs, (32, 64), 2), tmp_path / "c.onnx")
    assert closed.inputs[0].shape == (2, 3, 32, 64)
    outputs = onnx.load(str(tmp_path / "c.onnx")).graph.output
    assert outputs[1].type.tensor_type.shape.dim[0].dim_param == "n"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_detector_runs_in_the_numbers_of_its_file(tmp_path, precision):
    """In engines for another precision its row would be about this one."""
    content = onnx.load(str(write_detector(tmp_path / "a.onnx", [1, 3, 8, 8])))
    kinds = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}
    weights = np.ones((4, 4), kinds[precision])
    content.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    if precision == "int8":
        content.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["w", "w"], ["q"]))
    onnx.save(content, str(tmp_path / "a.onnx"))
    others, left_out = other_models([str(tmp_path / "a.onnx")]), {}
    assert others["a"].precision == precision
    names = [f"tensorrt_{name}" for name in kinds]

    def opener(files, options):
        return SimpleNamespace(runs_on=options.precision, files=files)

    (tmp_path / "more").mkdir()
    (entry,) = open_others(
        names, others, Preprocess([]), InferenceOptions(), left_out, tmp_path / "more", opener
    )
    assert (entry.name, entry.runs_on) == (f"tensorrt_{precision}", precision)
    assert sorted(left_out) == sorted(f"a in {n}" for n in names if not n.endswith(precision))
    assert all(f"is in {precision}" in reason for reason in left_out.values())


def test_others_stand_in_the_table_of_the_network(exported_raw_onnx, tmp_path, capsys):
    """In every engine that reads .onnx; one that an engine cannot run is left out with a reason."""
    sizes = ("orig_target_sizes", ["n", 2], "int64")
    files = [
        write_detector(tmp_path / "rtdetr.onnx", ["n", 3, "h", "w"], others=[sizes]),
        write_detector(tmp_path / "nhwc.onnx", [2, 64, 64, 3], "uint8"),
        write_detector(tmp_path / "one.onnx", [1, 3, 64, 64]),
    ]
    out = tmp_path / "out.json"
    run_tool(
        "benchmark",
        *("--model_dir", exported_raw_onnx, "--engines", "onnxruntime", "paddle", "openvino"),
        *("--stages", "raw", "--batch-size", 2, "--repeats", 2, "--warmup", 1, "--threads", 1),
        *("--against", *files, "--json", out),
    )
    printed = capsys.readouterr().out
    content = json.loads(out.read_text())
    rows = {entry["name"]: entry for entry in content["engines"]}
    for other in ("rtdetr", "nhwc"):
        for engine in ("onnxruntime", "openvino"):
            entry = rows[f"{other} in {engine}"]
            assert entry["model"] == other and len(entry["times_ms"]["raw"]) == 2
            assert f"| {other} in {engine}" in printed
            assert f"times as fast as {other} in {engine}" in printed
    assert rows["onnxruntime"]["model"] == "small" and content["batch_size"] == 2
    assert not any(name.startswith("one in") for name in rows)
    assert "takes 1 images, not 2" in content["left_out"]["one in onnxruntime"]
    assert "small, batch 2" in printed


def test_against_needs_an_engine_that_reads_onnx(exported_raw_onnx, tmp_path):
    path = write_detector(tmp_path / "a.onnx", [1, 3, 8, 8])
    with pytest.raises(ConfigError, match="against.*engines.*onnxruntime"):
        run_tool(
            "benchmark",
            *("--model_dir", exported_raw_onnx, "--engines", "paddle", "--against", path),
        )


@pytest.fixture(scope="module")
def exported_raw_onnx(small_config, tmp_path_factory):
    """The small network alone as .onnx for two images, with deformable convolution in parts."""
    for package in ("onnxruntime", "openvino", "paddle2onnx"):
        pytest.importorskip(package)
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.export.options import ExportOptions
    from ppdet_lite.export.run import export_model

    folder = tmp_path_factory.mktemp("against") / "raw"
    options = ExportOptions(("onnx",), batch=2, stage="raw", portable_dcn=True)
    return export_model(load_config(small_config), folder, options)
