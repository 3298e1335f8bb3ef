"""The receptive field block (arXiv:1711.07767) as ASFF (arXiv:1911.09516) uses it."""

import paddle
from paddle import Tensor, nn

BRANCHES = (
    ((1, 1),),
    ((1, 1), (3, 1)),
    ((1, 1), (3, 1), (3, 2)),
    ((1, 1), (5, 1), (3, 3)),
)
"""Filter size and dilation of the convolutions of each branch."""


class RFB(nn.Layer):
    """Four branches of growing receptive field, a quarter of the channels each, side by side.

    [B, C, H, W] to the same shape, C a multiple of 4. Convolutions have a bias; no norm and no
    activation follows.
    """

    def __init__(self, channels: int):
        super().__init__()
        width = channels // len(BRANCHES)

        def branch(plan: tuple) -> nn.Sequential:
            convs = []
            for i, (size, dilation) in enumerate(plan):
                ch_in = width if i else channels
                padding = dilation * (size // 2)
                convs.append(nn.Conv2D(ch_in, width, size, padding=padding, dilation=dilation))
            return nn.Sequential(*convs)

        self.branch = nn.LayerList(branch(plan) for plan in BRANCHES)

    def forward(self, x: Tensor) -> Tensor:
        return paddle.concat([branch(x) for branch in self.branch], axis=1)
