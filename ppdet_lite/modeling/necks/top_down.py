"""The common build of the pyramids of YOLOv3, PP-YOLO and PP-YOLO tiny."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.upsample import upsample_x2
from ppdet_lite.modeling.necks.pyramid import PyramidNeck


class DetectionBlock(nn.Layer):
    """Named layers up to the route (to the next level), and the tip (to the head) on top of it."""

    def __init__(self, layers: Sequence[tuple[str, nn.Layer]], tip: nn.Layer):
        super().__init__()
        self.conv_module = nn.Sequential(*layers)
        self.tip = tip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A level's input map to its route and its tip."""
        route = self.conv_module(x)
        return route, self.tip(route)


class TopDownNeck(PyramidNeck):
    """Backbone maps, finest first, to neck maps of the same sizes, coarsest first.

    Each level's block takes the backbone's map, behind the coarsest level joined to the enlarged
    route of the level before (the route stands first). Subclasses append the levels with
    `add_level`. Arguments and errors are those of `PyramidNeck`.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Optional[Sequence[int]] = None):
        super().__init__(in_channels, in_strides)
        self.laterals = [shape.channels for shape in self.shapes[::-1]]
        self.yolo_block, self.yolo_transition = nn.LayerList(), nn.LayerList()

    def add_level(
        self, block: DetectionBlock, out_channels: int, transition: Optional[nn.Layer] = None
    ) -> None:
        """Appends a level, whose tip has `out_channels`; only the finest has no transition."""
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
        """The backbone's maps, coarsest first, as the blocks take them."""
        return list(features)[::-1]
