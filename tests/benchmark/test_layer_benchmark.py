"""Layers in both forms, as tools/benchmark_layers.py measures them."""

import copy
import subprocess
import sys

import numpy as np
import paddle
import pytest

from ppdet_lite.benchmark import layer_benchmark as layers
from ppdet_lite.benchmark.layer_benchmark import BLOCKS, KINDS, Case
from ppdet_lite.export.rewrite.cpu_forms import Replaced, for_cpu
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2


@pytest.mark.parametrize(
    "kind, wanted", [("winograd", Replaced(BLOCKS, 0)), ("deformable", Replaced(0, BLOCKS))]
)
def test_versions_differ_in_the_layer_alone(kind, wanted):
    paddle.seed(0)
    plain = layers._Blocks(8, KINDS[kind].make)
    other = copy.deepcopy(plain)
    assert for_cpu(other, (12, 8), KINDS[kind].always) == wanted
    image = paddle.randn([1, 3, 12, 8])
    with paddle.no_grad():
        (maps,), (others,) = plain.raw_outputs(image), other.raw_outputs(image)
    assert tuple(maps.shape) == (1, 8, 12, 8) and float(maps.max()) > 0
    np.testing.assert_allclose(maps.numpy(), others.numpy(), rtol=1e-4, atol=1e-5)


def test_deformable_layers_sample_between_cells():
    layer = KINDS["deformable"].make(8)
    assert isinstance(layer, DeformableConvV2)
    assert float(layer.conv_offset(paddle.randn([1, 8, 6, 6])).abs().mean()) > 0.1


def test_the_layers_share_of_the_time(monkeypatch):
    """Without the layer 10 ms, with it 40 and 25."""
    called = []
    for name in ("prefer_fast_blas", "keep_freed_memory"):
        monkeypatch.setattr(layers, name, lambda name=name: called.append(name))
    monkeypatch.setattr(layers, "_fastest_rounds", lambda *args: [10.0, 40.0, 25.0])
    (case,) = layers.benchmark_layers(["winograd"], [128], [40], 1, lambda text: None)["winograd"]
    assert set(called) == {"prefer_fast_blas", "keep_freed_memory"}  # as in deployment
    assert (case.plain, case.other) == (30.0 / BLOCKS, 15.0 / BLOCKS)
    assert case.gain == 2 and case.chosen
    (case,) = layers.benchmark_layers(["winograd"], [4], [8], 1, lambda text: None)["winograd"]
    assert not case.chosen


def test_layers_that_no_network_has_are_left_out(monkeypatch):
    monkeypatch.setattr(layers, "_measure", lambda kind, width, side, repeats: (width, side))
    monkeypatch.setattr(layers, "_cell", str)
    cases = layers.benchmark_layers(["winograd"], [256, 512], [40, 80], 1, lambda text: None)
    assert cases == {"winograd": [(256, 40), (256, 80), (512, 40)]}


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
def test_whether_the_limits_are_right(plain, other, chosen, right):
    assert Case(64, 20, plain, other, chosen).is_right == right


def test_the_report():
    cases = {
        "winograd": [Case(128, 20, 2.0, 1.0, True), Case(128, 40, 9.0, 4.0, False)],
        "deformable": [Case(64, 20, 1.0, 2.0, False)],
    }
    text = layers.report(cases)
    assert "| 128 | 2.00, 1.00: 2.00 * | 9.00, 4.00: 2.25 |" in text
    assert "| 64 | 1.00, 2.00: 0.50 |" in text
    assert "in 2 of 3 cases; not with: winograd, 128 channels, 40 x 40" in text


def test_the_tool(repo):
    command = [sys.executable, "tools/benchmark_layers.py", "--channels", "4", "--sides", "8"]
    done = subprocess.run(
        [*command, "--repeats", "1"], cwd=repo, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "winograd, 4 channels, 8 x 8" in done.stderr
    assert done.stdout.count("| 4 | ") == 2 and "of 2 cases" in done.stdout
    done = subprocess.run(
        [*command, "--repeats", "0"], cwd=repo, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2 and "1 or more" in done.stderr
