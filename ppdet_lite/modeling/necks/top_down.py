"""Base class of the feature pyramids of YOLOv3, PP-YOLO and PP-YOLO tiny."""

from collections.abc import Sequence
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.upsample import upsample_x2
from ppdet_lite.modeling.necks.pyramid import PyramidNeck


class DetectionBlock(nn.Layer):
    """Map of a level to its route (for the next level) and its tip (for the head)."""

    def __init__(self, layers: Sequence[tuple[str, nn.Layer]], tip: nn.Layer):
        super().__init__()
        self.conv_module = nn.Sequential(*layers)
        self.tip = tip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        route = self.conv_module(x)
        return route, self.tip(route)


class TopDownNeck(PyramidNeck):
    """Backbone maps, finest first, to neck maps of the same sizes, coarsest first.

    The block of a level takes the backbone map, after the coarsest level concatenated to the
    upsampled route of the previous level. Subclasses append levels with `add_level`.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.laterals = [shape.channels for shape in self.shapes[::-1]]
        self.yolo_block, self.yolo_transition = nn.LayerList(), nn.LayerList()

    def add_level(
        self, block: DetectionBlock, out_channels: int, transition: Optional[nn.Layer] = None
    ) -> None:
        """Appends a level; `out_channels` are those of its tip, the finest has no transition."""
        stride = self.shapes[-1 - len(self.yolo_block)].stride
        self.yolo_block.append(block)
        self.out_shape.append(ShapeSpec(out_channels, stride))
        if transition is not None:
            self.yolo_transition.append(transition)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        tips, route = [], None
        for i, feature in enumerate(self.prepare(features)):
            if i > 0:
                route = upsample_x2(self.yolo_transition[i - 1](route))
                feature = paddle.concat([route, feature], axis=1)
            route, tip = self.yolo_block[i](feature)
            tips.append(tip)
        return tips

    def prepare(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the inputs of the blocks, coarsest first."""
        return list(features)[::-1]
