"""RepVGG pairs as one convolution."""

import numpy as np
from paddle import nn

from ppdet_lite.modeling.layers.rep_vgg import RepVGGBlock


class JoinedRepVGG(nn.Layer):
    """The same maps as a `RepVGGBlock` whose norms are folded, from one 3x3 convolution: the filter
    of the 1x1 is added to the middle of the 3x3."""

    def __init__(self, block: RepVGGBlock):
        super().__init__()
        wide, narrow = block.conv1.conv, block.conv2.conv
        ch_out, ch_in = wide.weight.shape[:2]
        self.conv = nn.Conv2D(ch_in, ch_out, 3, padding=1)
        weight = wide.weight.numpy().astype(np.float64)
        weight[:, :, 1, 1] += narrow.weight.numpy()[:, :, 0, 0]
        bias = wide.bias.numpy().astype(np.float64) + narrow.bias.numpy()
        self.conv.weight.set_value(weight.astype(np.float32))
        self.conv.bias.set_value(bias.astype(np.float32))
        self._activation = block._activation

    def forward(self, x):
        x = self.conv(x)
        return x if self._activation is None else self._activation(x)


def join_rep_vgg(network: nn.Layer) -> None:
    """Joins all pairs of a network, in place. Batch norms have to be folded before."""
    for layer in network.sublayers(include_self=True):
        for name, child in list(layer.named_children()):
            if isinstance(child, RepVGGBlock):
                setattr(layer, name, JoinedRepVGG(child))
