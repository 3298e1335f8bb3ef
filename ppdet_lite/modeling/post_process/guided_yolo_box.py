"""Decoding of heads with guided anchors, as in ASFF (arXiv:1911.09516)."""

from collections.abc import Sequence

from paddle import Tensor

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.guided_layout import join_guided
from ppdet_lite.modeling.layers.full_precision import to_float32
from ppdet_lite.modeling.post_process.box_decoders import YOLOBox


@register
class GuidedYOLOBox(YOLOBox):
    """`YOLOBox` for a `GuidedAnchorHead`; scores are objectness x class."""

    guided = True

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[AnchorLevel],
        im_shape: Tensor,
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `YOLOBox.forward`."""
        joined = [
            join_guided(to_float32(output), len(level.anchors), self.num_classes)
            for output, level in zip(outputs, levels)
        ]
        return super().forward(joined, levels, im_shape, scale_factor)
