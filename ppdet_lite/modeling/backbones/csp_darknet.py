"""CSPDarkNet, the backbone of YOLOX (arXiv:2107.08430) and, in another form, of YOLOv5.

Parameters are named as in PaddleDetection's weight files: `stem.conv.conv.weight`, then every layer
with its number and its stage: `layers1.stage1.conv_layer.conv.weight`,
`layers2.stage1.csp_layer.conv1.conv.weight`, ... `layers8.stage4.spp_layer.conv1.conv.weight`.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Optional

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import above_zero, check_arguments, one_of, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec
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
    """One stage at full width and depth.

    channels: of its output. blocks: bottlenecks. shortcut: see `BottleNeck`. pools: `before` or
    `after` the CSP layer there are max pools of several sizes, or none.
    """

    channels: int
    blocks: int
    shortcut: bool = True
    pools: Optional[str] = None


PLANS = {
    "X": (
        StagePlan(128, 3),
        StagePlan(256, 9),
        StagePlan(512, 9),
        StagePlan(1024, 3, shortcut=False, pools="before"),
    ),
    "P5": (
        StagePlan(128, 3),
        StagePlan(256, 6),
        StagePlan(512, 9),
        StagePlan(1024, 3, pools="after"),
    ),
}
"""X: YOLOX. P5: YOLOv5 of version 6, with a plain 6x6 convolution as stem."""


@register
class CSPDarkNet(Backbone):
    """A stem, then four stages of a strided convolution and a CSP layer each.

    Args:
        arch: X or P5, see `PLANS`.
        depth_mult: factor on the bottlenecks of each stage, at least one is left.
        width_mult: factor on all channels.
        depthwise: separable 3x3 convolutions.
        act: name of the activations.
        return_idx: stages whose output is returned, 1 (stride 4) to 4 (stride 32), rising.
    """

    __shared__ = ("depth_mult", "width_mult", "act")
    __unused__ = ("trt",)

    def __init__(
        self,
        arch: Literal["X", "P5"] = "X",
        depth_mult: float = 1.0,
        width_mult: float = 1.0,
        depthwise: bool = False,
        act: Optional[str] = "silu",
        return_idx: Sequence[int] = (2, 3, 4),
    ):
        super().__init__()
        channels = int(STEM_CHANNELS * width_mult)
        check_arguments(
            one_of("arch", arch, list(PLANS)),
            above_zero("depth_mult", depth_mult),
            ("width_mult", width_mult, channels >= 2, f"{2 / STEM_CHANNELS} or more"),
            rising("return_idx", return_idx, 1, 4),
        )
        self._return_idx = list(return_idx)
        if arch == "X":
            self.stem = Focus(3, channels, act=act)
        else:
            self.stem = BaseConv(3, channels, 6, stride=2, act=act)
        self._stages, self.out_shape, number = [], [], 0
        for index, plan in enumerate(PLANS[arch], start=1):
            ch_out = int(plan.channels * width_mult)
            layers = []
            for kind, layer in _stage_layers(plan, channels, ch_out, depth_mult, depthwise, act):
                number += 1
                layers.append(self.add_sublayer(f"layers{number}.stage{index}.{kind}", layer))
            self._stages.append(layers)
            if index in self._return_idx:
                self.out_shape.append(ShapeSpec(ch_out, 2 * 2**index))
            channels = ch_out

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        maps = []
        for index, layers in enumerate(self._stages):  # graphs do not know `start=1`
            for layer in layers:
                x = layer(x)
            if index + 1 in self._return_idx:
                maps.append(x)
        return maps


def _stage_layers(
    plan: StagePlan, ch_in: int, ch_out: int, depth_mult: float, depthwise: bool, act: Optional[str]
) -> Iterator[tuple[str, nn.Layer]]:
    """The layers of a stage with their names."""
    yield "conv_layer", conv_class(depthwise)(ch_in, ch_out, 3, stride=2, act=act)
    if plan.pools == "before":
        yield "spp_layer", SPPLayer(ch_out, ch_out, act=act)
    blocks = scaled_depth(plan.blocks, depth_mult)
    yield "csp_layer", CSPLayer(ch_out, ch_out, blocks, plan.shortcut, depthwise, act)
    if plan.pools == "after":
        # Three pools of 5 in a row, "SPPF", give what pools of 5, 9 and 13 give.
        yield "sppf_layer", SPPLayer(ch_out, ch_out, act=act)
