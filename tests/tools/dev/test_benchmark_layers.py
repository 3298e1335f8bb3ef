"""Layers in both forms, as tools/dev/benchmark_layers.py measures them."""

import copy

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.rewrite.cpu_forms import Replaced, replace_layers
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from tests.tools.in_process import run_tool
from tools.dev.benchmark_layers import (
    BLOCKS,
    KINDS,
    MOST_PRODUCTS,
    Blocks,
    Case,
    benchmark_layers,
    products,
    report,
)


@pytest.mark.parametrize(
    "kind, wanted", [("winograd", Replaced(BLOCKS, 0)), ("deformable", Replaced(0, BLOCKS))]
)
def test_versions_differ_in_the_layer_alone(kind, wanted):
    paddle.seed(0)
    plain = Blocks(8, KINDS[kind].make)
    other = copy.deepcopy(plain)
    assert replace_layers(other, (12, 8), KINDS[kind].always) == wanted
    image = paddle.randn([1, 3, 12, 8])
    with paddle.no_grad():
        (maps,), (others,) = plain.raw_outputs(image), other.raw_outputs(image)
    assert tuple(maps.shape) == (1, 8, 12, 8) and float(maps.max()) > 0
    np.testing.assert_allclose(maps.numpy(), others.numpy(), rtol=1e-4, atol=1e-5)


def test_deformable_layers_sample_between_cells():
    layer = KINDS["deformable"].make(8)
    assert isinstance(layer, DeformableConvV2)
    assert float(layer.conv_offset(paddle.randn([1, 8, 6, 6])).abs().mean()) > 0.1


def test_the_layers_share_of_the_time():
    """10 ms without the layer, 40 and 25 with it."""

    def stopwatch(versions, side, repeats):
        assert [len(version.layers) for version in versions] == [0, BLOCKS, BLOCKS]
        return [10.0, 40.0, 25.0]

    def silent(text):
        pass

    cases = benchmark_layers(["winograd"], [4, 128], [40, 10**6], 1, silent, stopwatch)
    small, large = cases["winograd"]  # no network has a map as large as the second
    assert (large.plain, large.other) == (30.0 / BLOCKS, 15.0 / BLOCKS)
    assert large.gain == 2 and large.chosen and not small.chosen
    assert products(512, 40) < MOST_PRODUCTS < products(512, 80)


@pytest.mark.parametrize(
    "plain, other, chosen, right",
    [
        (2.0, 1.0, True, True),
        (2.0, 1.0, False, False),
        (1.0, 2.0, True, False),
        (1.0, 2.0, False, True),
        (1.0, 1.05, True, True),
        (1.05, 1.0, False, True),
    ],
)
def test_limits_are_right_where_they_take_the_faster_form(plain, other, chosen, right):
    assert Case(64, 20, plain, other, chosen).is_right == right


def test_the_report():
    cases = {
        "winograd": [Case(128, 20, 2.0, 1.0, True), Case(128, 40, 9.0, 4.0, False)],
        "deformable": [Case(64, 20, 1.0, 2.0, False)],
    }
    text = report(cases)
    assert "| 128 | 2.00, 1.00: 2.00 * | 9.00, 4.00: 2.25 |" in text
    assert "| 64 | 1.00, 2.00: 0.50 |" in text
    assert "in 2 of 3 cases; not with: winograd, 128 channels, 40 x 40" in text


def test_the_tool(capsys):
    run_tool("dev.benchmark_layers", "--channels", 4, "--sides", 8, "--repeats", 1)
    printed = capsys.readouterr()
    assert "winograd, 4 channels, 8 x 8" in printed.err
    assert printed.out.count("| 4 | ") == 2 and "of 2 cases" in printed.out
    with pytest.raises(ConfigError, match="repeats"):
        run_tool("dev.benchmark_layers", "--repeats", 0)
