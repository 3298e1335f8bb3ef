"""Heads of NMS-free YOLOX (arXiv:2107.08430, section 2.1 and table 1).

Two 3x3 convolutions more per level predict whether a prediction answers for its object alone. Their
gradient stops at the features that they take, those of the boxes, so the rest of the network trains
as without them. Output channels of a level: a logit for each prediction of a cell, then those of
the head without the branch.
"""

from collections.abc import Sequence
from typing import Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.assigners.ground_truth import pad_ground_truth
from ppdet_lite.modeling.geometry import cell_grid
from ppdet_lite.modeling.geometry.anchor_grid import anchor_grid, flatten_anchors
from ppdet_lite.modeling.heads.anchor_yolox_heads import (
    AnchorYOLOXHead,
    CoupledAnchorHead,
    DecoupledAnchorHead,
    output_conv,
)
from ppdet_lite.modeling.heads.upstream_yolox_head import UpstreamYOLOXHead
from ppdet_lite.modeling.layers.csp import BaseConv
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.single_loss import SingleLoss
from ppdet_lite.modeling.post_process.end_to_end_boxes import (
    SingleAnchorBox,
    SingleCellBox,
    anchors_of,
    split_singles,
)
from ppdet_lite.modeling.post_process.nms_layers import NMSLayer
from ppdet_lite.modeling.post_process.top_scores import TopScores


def single_branch(channels: int, width: int, outputs: int, act: Optional[str]) -> nn.Sequential:
    """Two 3x3 convolutions and the output of the branch; logits start at 0."""
    convs = (BaseConv(channels, width, 3, act=act), BaseConv(width, width, 3, act=act))
    return nn.Sequential(*convs, output_conv(width, [0.0] * outputs))


@register
class EndToEndYOLOXHead(UpstreamYOLOXHead):
    """`UpstreamYOLOXHead` with the branch; arguments are the same, `nms` None is `TopScores`."""

    decoder_class = SingleCellBox

    def add_branches(self, channels: int, act: Optional[str]) -> None:
        self.single_loss = SingleLoss()
        self.conv_single = nn.LayerList(
            single_branch(channels, channels, 1, act) for _ in self.levels
        )

    def default_nms(self) -> NMSLayer:
        return TopScores()

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        outputs = []
        for i, feature in enumerate(features):
            stem = self.stem_conv[i](feature)
            *convs, output = self.conv_reg[i]
            x = stem
            for conv in convs:
                x = conv(x)
            single = self.conv_single[i](x.detach())
            outputs.append(paddle.concat([single, output(x), self.conv_cls[i](stem)], axis=1))
        return outputs

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        singles, rest = split_singles(outputs, self.levels)
        terms = super().get_loss(rest, batch)
        with full_precision():
            flat = cell_grid.flatten_levels([to_float32(output) for output in rest])
            grid = cell_grid.cell_grid(rest, [level.stride for level in self.levels])
            truth = pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
            terms["loss_single"] = self.single_loss(
                to_float32(singles),
                F.sigmoid(flat[:, 4:5]) * F.sigmoid(flat[:, 5:]),
                cell_grid.decode_boxes(flat[:, :4], *grid).detach(),
                self.loss.assign(flat, *grid, truth),
                truth,
            )
            terms["loss"] = terms["loss"] + terms["loss_single"]
        return terms


class EndToEndAnchorHead(AnchorYOLOXHead):
    """The branch for the heads with anchors."""

    decoder_class = SingleAnchorBox

    def _build(self, in_channels: list[int], width_mult: float, act: Optional[str]) -> None:
        super()._build(in_channels, width_mult, act)
        width = max(1, int(256 * width_mult))
        self.single_loss = SingleLoss()
        self.conv_single = nn.LayerList(
            single_branch(channels, width, anchors_of(level), act)
            for channels, level in zip(self.feature_channels, self.levels)
        )

    def default_nms(self) -> NMSLayer:
        return TopScores()

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        outputs = []
        for i, feature in enumerate(features):
            output, x = self.level_outputs(i, feature)
            outputs.append(paddle.concat([self.conv_single[i](x.detach()), output], axis=1))
        return outputs

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        singles, rest = split_singles(outputs, self.levels)
        terms = super().get_loss(rest, batch)
        with full_precision():
            rest = [to_float32(output) for output in rest]
            flat = flatten_anchors(rest, self.levels, self.num_classes)
            grid = anchor_grid(rest, self.levels)
            boxes = grid.boxes(flat.box).detach()
            truth = pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
            terms["loss_single"] = self.single_loss(
                to_float32(singles),
                F.sigmoid(flat.objectness).unsqueeze(1) * F.sigmoid(flat.classes),
                boxes,
                self.loss.assigner(boxes, grid, truth)[0],
                truth,
            )
            terms["loss"] = terms["loss"] + terms["loss_single"]
        return terms


@register
class EndToEndCoupledHead(EndToEndAnchorHead, CoupledAnchorHead):
    """`CoupledAnchorHead` with the branch, on the features of its 3x3 convolution."""


@register
class EndToEndDecoupledHead(EndToEndAnchorHead, DecoupledAnchorHead):
    """`DecoupledAnchorHead` with the branch, on the features of its boxes."""
