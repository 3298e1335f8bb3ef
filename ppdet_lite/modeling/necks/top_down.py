"""What the pyramids of YOLOv3, PP-YOLO and PP-YOLO tiny have in common."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import nn

from ppdet_lite.modeling.layers.upsample import upsample_x2
from ppdet_lite.modeling.necks.pyramid import PyramidNeck


class DetectionBlock(nn.Layer):
    """Layers up to the route (to the next level), and the tip (to the head) on top of it.

    Args:
        layers: (name, layer) pairs up to the route.
        tip: from the route to the head.
    """

    def __init__(self, layers: Sequence, tip: nn.Layer):
        super().__init__()
        self.conv_module = nn.Sequential(*layers)
        self.tip = tip

    def forward(self, x):
        """A level's input map to its route and its tip."""
        route = self.conv_module(x)
        return route, self.tip(route)


class TopDownNeck(PyramidNeck):
    """Backbone maps, finest first, to neck maps of the same sizes, coarsest first.

    Each level's block takes the backbone's map, behind the coarsest level joined to the enlarged
    route of the level before (the route stands first).

    Subclasses put a `DetectionBlock` per level in `yolo_block` and the layer from each level's
    route to the next level in `yolo_transition`, both coarsest first, with `add_level`.

    Arguments and errors are those of `PyramidNeck`.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Optional[Sequence[int]] = None):
        super().__init__(in_channels, in_strides)
        self.yolo_block, self.yolo_transition = nn.LayerList(), nn.LayerList()

    def add_level(
        self, block: DetectionBlock, out_channels: int, transition: Optional[nn.Layer] = None
    ) -> None:
        """Appends a level, whose tip has `out_channels`; only the finest has no transition."""
        self.yolo_block.append(block)
        self.out_channels.append(out_channels)
        if transition is not None:
            self.yolo_transition.append(transition)

    def forward(self, features):
        """Backbone maps, finest first, to neck maps of the same sizes, coarsest first."""
        tips, route = [], None
        for i, feature in enumerate(self.prepare(features)):
            if i > 0:
                route = upsample_x2(self.yolo_transition[i - 1](route))
                feature = paddle.concat([route, feature], axis=1)
            route, tip = self.yolo_block[i](feature)
            tips.append(tip)
        return tips

    def prepare(self, features) -> list:
        """The backbone's maps, coarsest first, as the blocks take them."""
        return list(features)[::-1]
