"""The part of a graph that stays in float, on graphs small enough to see through."""

from ppdet_lite.export.onnx.int8.float_part import Operator, float_part

NETWORK = {
    "stem": Operator("Conv", [None, None]),
    "relu": Operator("Relu", ["stem"]),
    "tower": Operator("Conv", ["relu", None]),
    "last": Operator("Conv", ["tower", None]),
    "bias": Operator("Add", ["last", None]),
    "sigmoid": Operator("Sigmoid", ["bias"]),
    "size": Operator("Shape", ["bias"]),
    "scale": Operator("Div", [None, None]),
    "boxes": Operator("Mul", ["sigmoid", "scale"]),
}


def test_decoding_and_last_convolutions():
    found = float_part(NETWORK, ["bias"])
    assert found == {"last", "bias", "sigmoid", "size", "scale", "boxes"}


def test_joined_outputs_have_a_last_convolution_each():
    graph = {
        "a": Operator("Conv", [None, None]),
        "b": Operator("Conv", ["a", None]),
        "c": Operator("Conv", ["a", None]),
        "joined": Operator("Concat", ["b", "c"]),
    }
    assert float_part(graph, ["joined"]) == {"b", "c", "joined"}


def test_deformable_convolution_and_what_predicts_its_places():
    graph = {
        "x": Operator("Conv", [None, None]),
        "offset": Operator("Conv", ["x", None]),
        "split": Operator("Split", ["offset"]),
        "mask": Operator("Sigmoid", ["split"]),
        "deform": Operator("DeformConv", ["x", None, "split", None, "mask"]),
        "tower": Operator("Conv", ["deform", None]),
        "last": Operator("Conv", ["tower", None]),
    }
    assert float_part(graph, ["last"]) == {"offset", "split", "mask", "deform", "last"}


def test_portable_form_of_a_deformable_convolution():
    """Sampling, the product behind it, and what predicts the places, but not what only gives its
    size to them."""
    graph = {
        "x": Operator("Convolution", [None, None]),
        "size": Operator("ShapeOf", ["x"]),
        "offset": Operator("Convolution", ["x", None]),
        "place": Operator("Divide", ["offset", "size"]),
        "sample": Operator("GridSample", ["x", "place"]),
        "flat": Operator("Reshape", ["sample", None]),
        "product": Operator("Convolution", ["flat", None]),
        "tower": Operator("Convolution", ["product", None]),
        "last": Operator("Convolution", ["tower", None]),
    }
    found = float_part(graph, ["last"])
    assert found == {"offset", "place", "sample", "flat", "product", "last"}
