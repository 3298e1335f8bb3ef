"""Weights that leave a graph and are drawn again: the network gives what it gave."""

import numpy as np
import pytest

from ppdet_lite.benchmark.gpu_check.networks.drawn_weights import (
    as_int8,
    drawn,
    write_all_weights,
)
from ppdet_lite.benchmark.gpu_check.networks.skeleton import Skeletons
from ppdet_lite.core.errors import DataError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SHAPE = (24, 8, 3, 3)
SCALE = np.linspace(0.5, 2.0, 24, dtype=np.float32).reshape(-1, 1, 1, 1)


def write_graph(path, extra=()):
    """A convolution, and its products as a matrix, as graphs without DeformConv have them."""
    weight = drawn("conv.weight", SHAPE) * SCALE
    matrix = weight.transpose(0, 2, 3, 1).reshape(24, -1)
    arrays = {
        "w": weight,
        "w_half": weight.astype(np.float16),
        "matrix": np.ascontiguousarray(matrix),
        "bias": np.arange(24, dtype=np.float32),
        **dict(extra),
    }
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["x", "w", "bias"], ["y"]),
        helper.make_node("Cast", ["w_half"], ["w_back"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w_back"], ["z"]),
        helper.make_node("MatMul", ["matrix", "m"], ["p"]),
    ]
    make = helper.make_tensor_value_info
    inputs = [make("x", 1, [1, 8, 5, 5]), make("m", 1, [72, 2])]
    outputs = [make("y", 1, None), make("z", 1, None), make("p", 1, None)]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))


def run(path):
    rng = np.random.default_rng(1)
    feeds = {"x": rng.standard_normal((1, 8, 5, 5)), "m": rng.standard_normal((72, 2))}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.astype(np.float32) for name, value in feeds.items()})


def test_weights_come_back(tmp_path):
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir()
    write_graph(path)
    expected, size = run(path), path.stat().st_size
    Skeletons({"other.weight": SHAPE, "conv.weight": SHAPE}).strip(path)
    assert path.stat().st_size < size / 8
    assert write_all_weights(tmp_path, 2) == 1
    for found, wanted in zip(run(path), expected):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-3)
    held = (path.parent / "model.onnx.weights").stat()
    assert held.st_size > 2 * 4 * 24 * 72
    write_all_weights(tmp_path, 2)
    assert (path.parent / "model.onnx.weights").stat().st_mtime_ns == held.st_mtime_ns


def test_weights_in_int8_come_back(tmp_path):
    """Of a convolution that `ppdet quantize` has rounded, to the last number."""
    step = np.abs(drawn("conv.weight", SHAPE) * SCALE).max(axis=(1, 2, 3)) / 127
    rounded = np.rint(drawn("conv.weight", SHAPE) * SCALE / step.reshape(-1, 1, 1, 1))
    numbers = {"int8": rounded.astype(np.int8), "zero_points": np.zeros(1728, np.int8)}
    write_graph(tmp_path / "model.onnx", numbers.items())
    Skeletons({"conv.weight": SHAPE}).strip(tmp_path / "model.onnx")
    stripped = onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    held = {tensor.name: tensor.external_data for tensor in stripped.graph.initializer}
    assert held["int8"] and not held["bias"]
    write_all_weights(tmp_path, 1)
    found = {t.name: t for t in onnx.load(str(tmp_path / "model.onnx")).graph.initializer}
    for name, array in numbers.items():
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(found[name]), array)
    assert as_int8(np.zeros((2, 3))).tolist() == [[0] * 3] * 2


def test_a_name_gives_the_same_numbers_everywhere():
    """Written down, so that weights drawn on another machine are those drawn here."""
    expected = [[0.469229, 1.379193], [0.438203, 0.669383]]
    np.testing.assert_allclose(drawn("conv.weight", (2, 2)), expected, rtol=1e-5)
    assert not np.allclose(drawn("a", (3,)), drawn("b", (3,)))


def test_weights_that_are_not_known_would_travel_in_vain(tmp_path):
    other = np.random.default_rng(0).standard_normal((800, 1000)).astype(np.float32)
    write_graph(tmp_path / "model.onnx", {"unknown": other}.items())
    with pytest.raises(DataError, match="model.onnx: .* bytes are left"):
        Skeletons({"conv.weight": SHAPE}).strip(tmp_path / "model.onnx")
