"""CSPDarkNet, the backbone of YOLOX (arXiv:2107.08430) and, as variant P5, of YOLOv5.

Parameters have the names of PaddleDetection's weight files, with numbers of layer and stage:
`stem.conv.conv.weight`, `layers1.stage1.conv_layer.conv.weight`,
`layers2.stage1.csp_layer.conv1.conv.weight`, ... `layers8.stage4.spp_layer.conv1.conv.weight`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Optional

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Multiple, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain
from ppdet_lite.modeling.layers.csp import (
    BaseConv,
    CSPLayer,
    Focus,
    SPPLayer,
    conv_class,
    scaled_depth,
)

STEM_CHANNELS = 64


class StagePlan(NamedTuple):
    """A stage at full width and depth; `pools` (None, before, after) places an `SPPLayer`."""

    channels: int
    blocks: int
    shortcut: bool = True
    pools: Optional[str] = None


PLANS = {
    "X": (
        *(StagePlan(128, 3), StagePlan(256, 9), StagePlan(512, 9)),
        StagePlan(1024, 3, shortcut=False, pools="before"),
    ),
    "P5": (
        *(StagePlan(128, 3), StagePlan(256, 6), StagePlan(512, 9)),
        StagePlan(1024, 3, pools="after"),
    ),
}
"""X: YOLOX. P5: YOLOv5 version 6, with a 6x6 convolution as stem."""


@register
class CSPDarkNet(Backbone):
    """A stem and four stages, each a strided convolution and a CSP layer.

    Args:
        arch: see `PLANS`.
        depth_mult, width_mult: factors on the bottlenecks of each stage and on all channels.
        depthwise: use depthwise separable 3x3 convolutions.
        return_idx: returned stages, 1 (stride 4) to 4 (stride 32).
    """

    __shared__ = ("depth_mult", "width_mult", "act")
    __unused__ = ("trt",)

    def __init__(
        self,
        arch: Literal["X", "P5"] = "X",
        depth_mult: Multiple = 1.0,
        width_mult: Multiple = 1.0,
        depthwise: bool = False,
        act: Act = "silu",
        return_idx: Sequence[int] = (2, 3, 4),
    ):
        super().__init__()
        channels = int(STEM_CHANNELS * width_mult)
        check_arguments(
            ("width_mult", width_mult, channels >= 2, f"{2 / STEM_CHANNELS} or more"),
            rising("return_idx", return_idx, 1, 4),
        )
        self.stem = (
            Focus(3, channels, act=act) if arch == "X" else BaseConv(3, channels, 6, 2, act=act)
        )
        self._layers: list[nn.Layer] = []
        self._returned, self.out_shape = [], []
        for index, plan in enumerate(PLANS[arch], start=1):
            ch_in, channels = channels, int(plan.channels * width_mult)
            layers = {"conv_layer": conv_class(depthwise)(ch_in, channels, 3, stride=2, act=act)}
            if plan.pools == "before":
                layers["spp_layer"] = SPPLayer(channels, channels, act=act)
            blocks = scaled_depth(plan.blocks, depth_mult)
            csp = CSPLayer(channels, channels, blocks, plan.shortcut, depthwise, act)
            layers["csp_layer"] = csp
            if plan.pools == "after":  # "SPPF": three pools of 5 in a row equal 5, 9 and 13
                layers["sppf_layer"] = SPPLayer(channels, channels, act=act)
            for kind, layer in layers.items():
                name = f"layers{len(self._layers) + 1}.stage{index}.{kind}"
                self._layers.append(self.add_sublayer(name, layer))
            if index in return_idx:
                self._returned.append(len(self._layers) - 1)
                self.out_shape.append(ShapeSpec(channels, 2 * 2**index))

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(self.stem(image), self._layers, self._returned)
