"""CSPResNeXt50: the numbers of YOLOv4's table 1, the parts by hand."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.backbones.csp_resnext50 import CSPResNeXt50, ResNeXtUnit


def test_the_numbers_of_the_papers():
    net = CSPResNeXt50()
    net.eval()
    multiply_adds, windows = [], [("pool", 2, 2)]

    def note(layer, inputs, output):
        per_value = int(np.prod(layer.weight.shape[1:]))
        multiply_adds.append(int(np.prod(output.shape)) * per_value)
        windows.append(("conv", layer.weight.shape[-1], layer._stride[0]))

    for layer in net.sublayers():
        if isinstance(layer, paddle.nn.Conv2D):
            layer.register_forward_post_hook(note)
    with paddle.no_grad():
        maps = net(paddle.zeros([1, 3, 64, 64]))
    assert [x.shape[1:] for x in maps] == [[512, 8, 8], [1024, 4, 4], [2048, 2, 2]]
    # 31 BFLOP at 512, which has 64 times the pixels; 7.93 of CSPNet's classifier at 256.
    operations = 2 * sum(multiply_adds) / 1e9
    assert 64 * operations == pytest.approx(31.7, abs=0.01)
    assert 16 * operations + 2 * 2048 * 1000 / 1e9 == pytest.approx(7.93, abs=0.005)
    numbers = sum(value.size for value in net.state_dict().values())
    assert (numbers + 2048 * 1000 + 1000) / 1e6 == pytest.approx(20.6, abs=0.05)
    pool, stem, *rest = windows
    field, step = 1, 1
    for _, size, stride in (stem, pool, *rest):
        field += (size - 1) * step
        step *= stride
    assert (field, step) == (425, 32)


def test_narrow_ones_keep_the_channels_of_a_group():
    net = CSPResNeXt50(width_mult=0.125, return_idx=[0, 3])
    assert [tuple(shape) for shape in net.out_shape] == [(32, 4), (256, 32)]
    units = [layer for layer in net.sublayers() if isinstance(layer, ResNeXtUnit)]
    assert len(units) == 13 and units[-1].conv2.conv.weight.shape == [128, 32, 3, 3]
    assert units[0].conv2.conv.weight.shape == [16, 4, 3, 3]


def test_activations_are_those_of_darknets_file():
    """Without activation: the split of the second and third stage, the end of every unit."""
    net = CSPResNeXt50(act="mish", width_mult=0.125)
    plain = [
        name for name, layer in net.named_sublayers() if getattr(layer, "_activation", 0) is None
    ]
    splits = [f"stages.{i}.{name}" for i in (1, 2) for name in ("shortcut", "entry")]
    ends = [name for name, _ in net.named_sublayers() if name.endswith(".conv3")]
    assert len(ends) == 13 and sorted(plain) == sorted(splits + ends)


@pytest.mark.parametrize("ch_in", [4, 8])
def test_a_unit_adds_its_input_to_the_first_channels(ch_in):
    unit = ResNeXtUnit(ch_in, 8, groups=2, act="leaky")
    unit.eval()
    x = paddle.to_tensor(np.random.default_rng(0).normal(0, 1, (1, ch_in, 3, 3)).astype(np.float32))
    inner = unit.conv3(unit.conv2(unit.conv1(x))).numpy()
    inner[:, :ch_in] += x.numpy()
    expected = np.where(inner > 0, inner, 0.1 * inner)
    np.testing.assert_allclose(unit(x).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_frozen_stages():
    net = CSPResNeXt50(width_mult=0.125, freeze_at=1)
    parameters = net.named_parameters()
    frozen = {name[:8] for name, p in parameters if p.stop_gradient and ".conv." in name}
    assert frozen == {"stem.con", "stages.0", "stages.1"}
    with pytest.raises(ConfigError, match="return_idx"):
        CSPResNeXt50(return_idx=[4])
