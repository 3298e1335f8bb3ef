"""Raw outputs to boxes in pixels of the original images and scores."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn
from paddle.vision.ops import yolo_box

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Classes, PerLevel
from ppdet_lite.modeling.contracts import PostProcess
from ppdet_lite.modeling.geometry import cell_grid as grid
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel, agreed_value
from ppdet_lite.modeling.layers.full_precision import to_float32
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS, NMSLayer


@register
class YOLOBox(nn.Layer):
    """Raw outputs of a head with anchors to boxes and scores, with the native operator.

    Args:
        num_classes: C.
        conf_thresh: candidates whose objectness (IoU-aware where the head is) is below it get a box
            and scores of zero.
        downsample_ratio: stride of the first level; None: as the head says.
        clip_bbox: cut left and top at 0, right at width - 1 and bottom at height - 1 of the
            original image. A box wholly outside, which only a wide `scale_x_y` can give, stays
            there with a negative side.
        scale_x_y: grid sensitivity; None: as the head says.
    """

    __checked__ = True

    __shared__ = ("num_classes",)

    new_coords = False
    """What `AnchorLevel.new_coords` must be."""

    guided = False
    """What `AnchorLevel.guided` must be."""

    gaussian = False
    """What `AnchorLevel.gaussian` must be."""

    def __init__(
        self,
        num_classes: Classes = 80,
        conf_thresh: Probability = 0.005,
        downsample_ratio: Optional[Count] = None,
        clip_bbox: bool = True,
        scale_x_y: Optional[PerLevel] = None,
    ):
        super().__init__()
        self.num_classes, self.conf_thresh, self.clip_bbox = num_classes, conf_thresh, clip_bbox
        self.downsample_ratio, self.scale_x_y = downsample_ratio, scale_x_y

    def check_levels(self, levels: Sequence[AnchorLevel]) -> None:
        """Refuses outputs of another form, and a stride or grid sensitivity stated here that is not
        the head's."""
        form = self.new_coords, self.guided, self.gaussian
        if any((level.new_coords, level.guided, level.gaussian) != form for level in levels):
            raise ConfigError(
                f"post_process.decode: found {type(self).__name__}, which is for outputs of "
                "another form; allowed: ScaledYOLOBox for YOLOv4Head.new_coords true, "
                "GuidedYOLOBox for GuidedAnchorHead, GaussianYOLOBox for GaussianYOLOHead, else "
                "YOLOBox"
            )
        scales = {
            "YOLOv3Head.scale_x_y (or YOLOv3Loss.scale_x_y)": [x.scale_x_y for x in levels],
            "YOLOBox.scale_x_y": self.scale_x_y,
        }
        agreed_value("grid sensitivity", scales, len(levels))
        strides = {
            "YOLOv3Head.strides": levels[0].stride,
            "YOLOBox.downsample_ratio": self.downsample_ratio,
        }
        agreed_value("the stride of the first level", strides, 1)

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[AnchorLevel],
        im_shape: Tensor,
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """boxes_xyxy_px [B, M, 4] and scores [B, C, M]; M runs over levels, anchors, rows, columns.

        Args:
            outputs, levels: raw outputs and facts of each level.
            im_shape: [B, 2] height and width of the resized image (before padding).
            scale_factor: [B, 2] resized / original, y and x.
        """
        image_hw = image_size(im_shape, scale_factor)
        canvas_hw = image_hw * input_size(outputs[0], levels[0]) / im_shape
        canvas_hw = paddle.floor(canvas_hw + 0.5).astype("int32")
        boxes, scores = [], []
        for output, level in zip(outputs, levels):
            factor = level.iou_aware_factor
            level_boxes, level_scores = yolo_box(
                to_float32(output),
                canvas_hw,
                [side for anchor in level.anchors for side in anchor],
                self.num_classes,
                self.conf_thresh,
                level.stride,
                clip_bbox=self.clip_bbox,
                scale_x_y=float(level.scale_x_y),
                iou_aware=factor is not None,
                iou_aware_factor=0.5 if factor is None else float(factor),
            )
            boxes.append(level_boxes)
            scores.append(level_scores.transpose([0, 2, 1]))
        joined = paddle.concat(boxes, axis=1)
        if self.clip_bbox:  # the operator cuts at the border of the padding
            last = swapped(image_hw).unsqueeze(1) - 1
            joined = paddle.concat([joined[:, :, :2], at_most(joined[:, :, 2:], last)], axis=2)
        return joined, paddle.concat(scores, axis=2)


def at_most(values: Tensor, limit: Tensor) -> Tensor:
    """The smaller of both; Paddle 3.3 has no minimum in graphs of Paddle 2."""
    return paddle.where(values > limit, limit, values)


def image_size(im_shape: Tensor, scale_factor: Tensor) -> Tensor:
    """Height and width of the original images [B, 2]."""
    # Rounded, because 427 / 640 * 640 may come out just below 427.
    return paddle.floor(im_shape / scale_factor + 0.5)


def swapped(pairs_yx: Tensor) -> Tensor:
    """y, x to x, y [B, 2]."""
    # Not reversed with [::-1], which Paddle 2 reads wrongly from a graph that Paddle 3 wrote.
    return paddle.concat([pairs_yx[:, 1:], pairs_yx[:, :1]], axis=1)


def input_size(output: Tensor, level: AnchorLevel) -> Tensor:
    """Height and width of the network input in pixels, padding included, float32 [2]."""
    height, width = output.shape[2:]
    sides = [paddle.full([1], side * level.stride, "float32") for side in (height, width)]
    return paddle.concat(sides)


@register
class BBoxPostProcess(PostProcess):
    """`PostProcess` of a head with anchors; None stands for `YOLOBox` and `MatrixNMS`."""

    __shared__ = ("num_classes",)
    __inject__ = ("decode", "nms")
    __unused__ = ("export_onnx", "export_eb")

    def __init__(
        self,
        num_classes: Classes = 80,
        decode: Optional[YOLOBox] = None,
        nms: Optional[NMSLayer] = None,
    ):
        super().__init__(decode or YOLOBox(num_classes), nms or MatrixNMS())
        stated = getattr(decode, "num_classes", num_classes)  # a user's own may not say
        if stated != num_classes:
            raise ConfigError(
                f"num_classes of the decoder is {stated}, that of BBoxPostProcess {num_classes}"
            )


class CellBox(nn.Layer):
    """Raw outputs of an anchor-free head to boxes and scores; see `cell_grid`.

    Boxes are not cut at the borders of the image, as in PaddleDetection. Every cell is a candidate;
    the NMS sorts out.
    """

    conf_thresh = 0.0

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[grid.CellLevel],
        im_shape: Optional[Tensor],
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Same as `YOLOBox.forward`, but ignores `im_shape`; raw outputs are [B, 5 + C, H, W]."""
        flat = grid.flatten_levels([to_float32(output) for output in outputs])
        strides = [level.stride for level in levels]
        boxes = grid.decode_boxes(flat[:, :4], *grid.cell_grid(outputs, strides))
        scale_xy = swapped(scale_factor).reshape([-1, 1, 1, 2])
        boxes = (boxes.reshape([0, -1, 2, 2]) / scale_xy).reshape([0, -1, 4])
        return boxes, self.scores(flat)

    def scores(self, flat: Tensor) -> Tensor:
        """Raw outputs [B, 5 + C, A] to scores [B, C, A]."""
        return grid.joint_scores(flat[:, 4:5], flat[:, 5:])
