"""CSPResNet: names, shapes, the parts by hand, the pair that exports join."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.rewrite.network import fold_batch_norm
from ppdet_lite.export.rewrite.rep_vgg import JoinedRepVGG, join_rep_vgg
from ppdet_lite.modeling.backbones.csp_resnet import CSPResNet, EffectiveSE
from ppdet_lite.modeling.layers.rep_vgg import RepVGGBlock


def test_names_and_shapes():
    net = CSPResNet(return_idx=[1, 2, 3], use_large_stem=True, width_mult=0.5, depth_mult=0.33)
    state = {key: value.shape for key, value in net.state_dict().items()}
    assert state["stem.conv1.conv.weight"] == [16, 3, 3, 3]
    assert state["stem.conv2.conv.weight"] == [16, 16, 3, 3]
    assert state["stem.conv3.conv.weight"] == [32, 16, 3, 3]
    # Stage 0: 32 to 64 channels by way of 48, 24 in each half; one block.
    assert state["stages.0.conv_down.conv.weight"] == [48, 32, 3, 3]
    assert state["stages.0.conv1.conv.weight"] == [24, 48, 1, 1]
    assert state["stages.0.blocks.0.conv1.conv.weight"] == [24, 24, 3, 3]
    assert state["stages.0.blocks.0.conv2.conv1.conv.weight"] == [24, 24, 3, 3]
    assert state["stages.0.blocks.0.conv2.conv2.conv.weight"] == [24, 24, 1, 1]
    assert state["stages.0.attn.fc.weight"] == [48, 48, 1, 1]
    assert state["stages.0.conv3.conv.weight"] == [64, 48, 1, 1]
    assert "stages.1.blocks.1.conv1.bn._mean" in state and not any(
        ".0.blocks.1." in key for key in state
    )
    assert [tuple(shape) for shape in net.out_shape] == [(128, 8), (256, 16), (512, 32)]
    net.eval()
    with paddle.no_grad():
        maps = net(paddle.zeros([1, 3, 64, 96]))
    assert [x.shape for x in maps] == [[1, 128, 8, 12], [1, 256, 4, 6], [1, 512, 2, 3]]
    small = CSPResNet(layers=[1], channels=[8, 16], return_idx=[0])
    assert "stem.conv3.conv.weight" not in small.state_dict()
    norms = [p for key, p in net.named_parameters() if ".bn." in key and not p.stop_gradient]
    assert {p.regularizer._coeff for p in norms} == {0.0}


def test_channels_are_weighed_by_their_mean():
    layer = EffectiveSE(2)
    layer.fc.weight.set_value(np.float32([[1, 0], [0, 6]]).reshape(2, 2, 1, 1))
    layer.fc.bias.set_value(np.float32([0, 3]))
    x = paddle.to_tensor(np.float32([[[[1, 3]], [[2, -2]]]]))
    # hard sigmoid: v / 6 + 1 / 2 of the means 2 and 0 * 6 + 3
    np.testing.assert_allclose(layer(x).numpy(), [[[[5 / 6, 15 / 6]], [[2, -2]]]], rtol=1e-6)


def test_both_convolutions_of_a_pair_become_one():
    rng = np.random.default_rng(0)
    net = paddle.nn.Sequential(RepVGGBlock(6, "silu"))
    for layer in net.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer._mean.set_value(rng.normal(0, 1, 6).astype(np.float32))
            layer._variance.set_value(rng.uniform(0.5, 2, 6).astype(np.float32))
    net.eval()
    x = paddle.to_tensor(rng.normal(0, 1, (2, 6, 5, 7)).astype(np.float32))
    with paddle.no_grad():
        before = net(x).numpy()
        fold_batch_norm(net)
        join_rep_vgg(net)
        assert [type(layer) for layer in net] == [JoinedRepVGG]
        np.testing.assert_allclose(net(x).numpy(), before, atol=2e-5)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"channels": [64, 128]}, r"channels: found \[64, 128\]"),
        ({"return_idx": [4]}, r"return_idx: found \[4\]"),
        ({"use_alpha": True}, "use_alpha: found"),
    ],
)
def test_settings_that_do_not_fit(settings, match):
    with pytest.raises(ConfigError, match=match):
        CSPResNet(**settings)
