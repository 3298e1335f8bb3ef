"""float16 forms of ONNX graphs: types, casts, and their arithmetic simulated in float32."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
pytest.importorskip("paddle2onnx", reason="needs the package paddle2onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from ppdet_lite.core.errors import UserError  # noqa: E402
from ppdet_lite.export.onnx.deform_conv import without_deform_conv  # noqa: E402
from ppdet_lite.export.onnx.float16.half import (  # noqa: E402
    FLOAT,
    HALF,
    count_casts,
    float32_by_design,
    tensor_types,
    to_half,
)
from ppdet_lite.export.onnx.float16.half_layers import (  # noqa: E402
    largest_values,
    layers_for_float32,
)
from ppdet_lite.export.onnx.float16.half_simulation import (  # noqa: E402
    SimulatedHalf,
    simulated_half,
)
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402
from ppdet_lite.runtime.engines.openvino import kept_core  # noqa: E402


def run(model, **feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def numbers(*shape, seed=0, spread=1.0):
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def mish_network():
    """Two convolutions with Mish and a shortcut, then the raw output and what decodes it."""
    g = OnnxGraph(prefix="net")
    x = g.input("image", "float32", ["batch", 3, "height", "width"])
    for i, channels in enumerate((3, 8)):
        x = g.op("Conv", x, numbers(8, channels, 3, 3, seed=i, spread=0.3), pads=[1] * 4)
        x = x * g.op("Tanh", g.op("Softplus", x))
        x = g.op("Concat", x, x * 0.5, axis=1).slice(0, 8, 1) + x
    raw = g.op("Resize", x, None, [1.0, 1.0, 2.0, 2.0], mode="nearest")
    g.output("raw", raw, "float32", ["batch", 8, "rows", "columns"])
    decoder = OnnxGraph(g.model)
    decoder.output("scores", decoder.op("Sigmoid", raw), "float32", ["batch", 8, "rows", "columns"])
    return g.model


def deformable_network(portable):
    """A convolution, a deformable one whose offsets and mask another predicts, a convolution."""
    g = OnnxGraph(prefix="net")
    image = g.input("image", "float32", ["batch", 3, "height", "width"])
    x = g.op("Relu", g.op("Conv", image, numbers(6, 3, 1, 1)))
    predicted = g.op("Conv", x, numbers(27, 6, 3, 3, seed=1, spread=0.2), pads=[1] * 4)
    mask = g.op("Sigmoid", predicted.slice(18, 27, 1))
    weight = numbers(5, 6, 3, 3, seed=2, spread=0.3)
    x = g.op("DeformConv", x, weight, predicted.slice(0, 18, 1), None, mask, pads=[1] * 4)
    x = g.op("Conv", g.op("Relu", x), numbers(4, 5, 1, 1, seed=3))
    g.output("raw", x, "float32", ["batch", 4, "rows", "columns"])
    return without_deform_conv(g.model) if portable else g.model


def types_of_nodes(model):
    """[(operator, types of its inputs of float numbers, type of its first output)]"""
    types = tensor_types(model)
    return [
        (
            node.op_type,
            {types[name] for name in node.input if name and types[name] in (FLOAT, HALF)},
            types[node.output[0]],
        )
        for node in model.graph.node
    ]


# --------------------------------------------------------------------------------------- types
def test_the_network_is_half_and_its_inputs_outputs_and_decoding_are_not():
    model = mish_network()
    half = to_half(model, float32_by_design(model))
    onnx.checker.check_model(half, full_check=True)
    kinds = [info.type.tensor_type.elem_type for info in [*half.graph.input, *half.graph.output]]
    assert kinds == [FLOAT] * 3
    for kind, inputs, output in types_of_nodes(half):
        if kind == "Cast":
            continue
        expected = {FLOAT} if kind in ("Sigmoid", "Identity") else {HALF}
        if kind == "Resize":
            expected = {HALF, FLOAT}  # its scales are float32 in every network
        assert inputs == expected and output in expected, kind
    # The image, the raw output, and the same for decoding.
    assert count_casts(half.graph.node) == 3
    assert sum(tensor.data_type == HALF for tensor in half.graph.initializer) == 4


@pytest.mark.parametrize("portable", [False, True])
def test_sampling_and_what_predicts_offsets_stay_in_float32(portable):
    model = deformable_network(portable)
    half = to_half(model, float32_by_design(model))
    onnx.checker.check_model(half, full_check=True)
    nodes = [entry for entry in types_of_nodes(half) if entry[0] not in ("Cast", "Shape")]
    convolutions = [output for kind, _, output in nodes if kind == "Conv"]
    assert convolutions == ([HALF, FLOAT, HALF, HALF] if portable else [HALF, FLOAT, HALF])
    in_half = {kind for kind, _, output in nodes if output == HALF}
    assert in_half == {"Conv", "Relu"}
    sampling = next(entry for entry in nodes if entry[0] in ("DeformConv", "GridSample"))
    assert sampling[1:] == ({FLOAT}, FLOAT)
    assert len({node.output[0] for node in half.graph.node}) == len(half.graph.node)


def test_a_tensor_is_cast_once_and_constants_are_stored_as_they_are_read():
    g = OnnxGraph(prefix="net")
    x = g.input("x", "float32", [1, 4])
    both = g.constant([1.0, 2.0, 3.0, 4.0])
    left, right, kept = x * both, x + both, g.op("Sub", x, both)
    g.output("y", left * right, "float32", [1, 4])
    g.output("z", kept, "float32", [1, 4])
    half = to_half(g.model, {kept.name})
    stored = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert stored == {both.name: FLOAT, f"{both.name}.float16": HALF}
    assert count_casts(half.graph.node) == 2  # of x, read twice, and to y
    feeds = {"x": numbers(1, 4)}
    for one, other in zip(run(half, **feeds), run(g.model, **feeds)):
        np.testing.assert_allclose(one, other, rtol=5e-3, atol=5e-3)


def test_an_output_of_the_network_itself_keeps_its_name_and_type():
    g = OnnxGraph(prefix="net")
    y = g.input("x", "float32", [1, 4]) * 2.0
    g.model.graph.node[-1].output[0] = "y"
    g.graph.output.append(onnx.helper.make_tensor_value_info("y", FLOAT, [1, 4]))
    g.output("z", g.op("Relu", g.value("y")), "float32", [1, 4])
    assert y.name != "y"
    half = to_half(g.model, set())
    onnx.checker.check_model(half, full_check=True)
    x = np.array([[-1, 0.5, 2, 3]], np.float32)
    np.testing.assert_array_equal(run(half, x=x), [2 * x, np.maximum(2 * x, 0)])


def test_an_operator_that_nobody_knows_is_named():
    g = OnnxGraph()
    x = g.input("x", "float32", [1])
    node = onnx.helper.make_node("Unheard", ["x"], ["u"], domain="own")
    g.graph.node.append(node)
    g.output("y", g.op("Relu", g.value("u")) + x, "float32", [1])
    g.model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    with pytest.raises(UserError, match=r"the type of u \(Unheard\)"):
        to_half(g.model, set())


# ---------------------------------------------------------------------------------- simulation
def rounding_network():
    g = OnnxGraph(prefix="net")
    g.output("y", g.input("x", "float32", ["n"]) * 1.0, "float32", ["n"])
    return simulated_half(to_half(g.model, set()))


def test_rounding_is_that_of_float16():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 20_000) * 2.0 ** rng.uniform(-30, 18, 20_000)
    x = np.concatenate([x, [0, -0.0, 65504, -65519, 65521, -1e30, np.inf, np.nan]])
    x = x.astype(np.float32)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16).astype(np.float32)
    assert np.isinf(expected).sum() > 100 and (expected == 0).sum() > 100
    np.testing.assert_array_equal(run(rounding_network(), x=x)[0], expected)


def test_halves_stay_as_they_are():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(run(rounding_network(), x=every)[0], every)


def test_the_simulation_computes_what_onnx_says_of_float16():
    """The reference implementation of ONNX adds the products of a convolution in float16."""
    model = mish_network()
    half = to_half(model, float32_by_design(model))
    image = numbers(1, 3, 6, 6, seed=5)
    exact = run(model, image=image)[0]
    with np.errstate(over="ignore"):
        reference = ReferenceEvaluator(half).run(None, {"image": image})[0]
    simulated = run(simulated_half(half), image=image)[0]
    scale = np.linalg.norm(exact)
    gaps = [np.linalg.norm(found - exact) / scale for found in (reference, simulated)]
    assert 1e-4 < gaps[1] < 1.2 * gaps[0] < 2e-3
    # ONNX Runtime rounds the weights only.
    assert np.linalg.norm(run(half, image=image)[0] - exact) / scale < 0.8 * gaps[1]


def test_the_simulation_overflows_where_float16_does():
    g = OnnxGraph(prefix="net")
    g.output("y", (g.input("x", "float32", [3]) * 300.0) * 1e-3, "float32", [3])
    half = to_half(g.model, set())
    x = np.array([200, 218, 300], np.float32)
    assert np.isinf(run(simulated_half(half), x=x)[0]).tolist() == [False, False, True]
    assert np.isfinite(run(half, x=x)[0]).all()  # ONNX Runtime would not have told


@pytest.mark.parametrize("portable", [False, True])
def test_deformable_networks_run_and_are_near(portable):
    model = deformable_network(portable)
    half = to_half(model, float32_by_design(model))
    image = numbers(2, 3, 8, 10, seed=7)
    try:
        exact = run(model, image=image)[0]
    except Exception as error:
        if "DeformConv" not in str(error):
            raise
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} has no DeformConv yet")
    scale = np.linalg.norm(exact)
    for form in (half, simulated_half(half)):
        gap = np.linalg.norm(run(form, image=image)[0] - exact) / scale
        assert 1e-5 < gap < 2e-3


def test_openvino_reads_the_portable_form():
    openvino = pytest.importorskip("openvino", reason="needs the package openvino")
    model = deformable_network(True)
    half = to_half(model, float32_by_design(model))
    image = numbers(1, 3, 8, 10, seed=7)
    graph = kept_core(openvino).read_model(half.SerializeToString())
    compiled = kept_core(openvino).compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    exact = run(model, image=image)[0]
    gap = np.linalg.norm(compiled({"image": image})[0] - exact) / np.linalg.norm(exact)
    assert gap < 2e-3


# --------------------------------------------------------------------- layers that stay in float32
TINY = "output of 2e-05 at most"


def layered_network():
    """image -> a (times 2) -> b (times 1e4) -> Relu -> c (times 1e-4), then decoding."""
    g = OnnxGraph(prefix="net")
    x = g.input("image", "float32", ["batch", 1, 2, 2])
    shape = g.input("im_shape", "float32", ["batch", 2])
    for name, factor in (("a", 2.0), ("b", 1e4), ("c", 1e-4)):
        x = g.op("Conv", x, np.full((1, 1, 1, 1), factor, np.float32))
        g.graph.node[-1].name = name
        x = g.op("Relu", x) if name == "b" else x
    decoder = OnnxGraph(g.model)
    decoded = decoder.op("ReduceMax", x, keepdims=0) * shape * 1e6
    decoder.output("boxes", decoded, "float32", ["batch", 2])
    return g.model


def batches(*values):
    for value in values:
        yield {
            "image": np.full((1, 1, 2, 2), value, np.float32),
            "im_shape": np.full((1, 2), 640, np.float32),
        }


def test_the_largest_value_of_each_tensor_over_all_images(tmp_path):
    model = layered_network()
    found = largest_values(model, batches(0.5, -1.5, 1.0), tmp_path)
    outputs = {node.name: found.get(node.output[0]) for node in model.graph.node}
    assert (outputs["a"], outputs["b"], outputs["c"]) == (3, 3e4, pytest.approx(2))
    assert found["image"] == 1.5 and "im_shape" not in found  # no part of the network
    assert not any(name.startswith("detector.") for name in found)


@pytest.mark.parametrize("values", [(np.nan, 1.0), (1.0, np.inf)])
def test_values_that_are_no_numbers_are_too_large(values, tmp_path):
    model = layered_network()
    _, layers = layers_for_float32(model, largest_values(model, batches(*values), tmp_path))
    assert set(layers) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, {}),
        (1.5, {"b": "output up to 3e+04", "c": "input up to 3e+04"}),
        (1e-5, {"a": TINY, "b": TINY.replace("output", "input"), "c": TINY}),
        (0.0, {}),
    ],
)
def test_layers_with_values_that_float16_cannot_hold(value, expected, tmp_path):
    model = layered_network()
    largest = largest_values(model, batches(value), tmp_path)
    nodes, layers = layers_for_float32(model, largest)
    assert layers == expected
    half = to_half(model, float32_by_design(model) | nodes)
    types = {
        node.name: output for node, (_, _, output) in zip(half.graph.node, types_of_nodes(half))
    }
    assert {name for name in "abc" if types[name] == FLOAT} == set(layers)
    (inputs,) = batches(value)
    exact, found = run(model, **inputs)[0], SimulatedHalf(save(half, tmp_path)).run(inputs)[0]
    np.testing.assert_allclose(found, exact, rtol=5e-3)


def save(model, folder):
    onnx.save(model, str(folder / "half.onnx"))
    return folder / "half.onnx"


def test_the_simulation_gives_the_raw_outputs_behind_the_others(tmp_path):
    model = layered_network()
    half = SimulatedHalf(save(to_half(model, float32_by_design(model)), tmp_path))
    (inputs,) = batches(0.5)
    boxes, raw = half.run(inputs)
    assert half.raw_count == 1 and boxes.shape == (1, 2)
    np.testing.assert_allclose(raw, np.full((1, 1, 2, 2), 1.0), rtol=2e-3)
