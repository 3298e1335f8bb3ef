"""Base classes of detectors and their parts: the questions that the code around them may ask.

A detector must derive from `Detector`. A backbone, neck, head or loss of your own need not derive
from anything, only keep to what its class here says; if it derives, configurations can tell where
it may stand. Constructors raise `ConfigError` for arguments that cannot be built. A new family of
detectors touches `modeling` alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.batch_tensors import as_tensors
from ppdet_lite.modeling.layers.full_precision import full_precision


class ShapeSpec(NamedTuple):
    """A feature map: number of channels, and input pixels per cell."""

    channels: int
    stride: int


class Backbone(nn.Layer):
    """Images [B, 3, H, W] to a list of feature maps, finest first; `out_shape` describes them."""

    out_shape: Sequence[ShapeSpec]


class Neck(nn.Layer):
    """Feature maps of a backbone to a list of those that the detector's head takes, in its order.

    `out_shape` describes them. `from_config` takes `input_shape`, that of the backbone.
    """

    out_shape: Sequence[ShapeSpec]


class Head(nn.Layer):
    """Feature maps of a neck to raw outputs, one map per level.

    Its `from_config` takes `input_shape`, the `out_shape` of the neck.

    Attributes:
        num_classes: C.
        levels: what each output map means to loss and decoder, in the order of the raw outputs:
            `stride`, the input pixels per cell, and what else the family needs.
    """

    num_classes: int
    levels: Sequence[Any]

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        """Loss terms and their sum `loss` for raw outputs and a training batch."""
        raise NotImplementedError

    def objectness_outputs(self) -> list[tuple[nn.Conv2D, list[int]]]:
        """Per level, the convolution that gives the objectness, and its channels among the raw
        output.

        Raises:
            ConfigError: the head does not say.
        """
        raise ConfigError(f"{type(self).__name__} does not say which outputs are objectness")


class PostProcess(nn.Layer):
    """Raw outputs to detections: decoding, then NMS.

    Args:
        decode: layer from what `forward` takes to boxes_xyxy_px [B, M, 4] in pixels of the original
            images and scores [B, C, M]; it leaves out candidates with a score below `conf_thresh`.
        nms: layer from those to bbox, bbox_num and index as in `ops.nms`; `arguments` holds its
            settings by name.
    """

    def __init__(self, decode: nn.Layer, nms: nn.Layer):
        super().__init__()
        self.decode = decode
        self.nms = nms

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[Any],
        im_shape: Optional[Tensor],
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decodes and selects.

        Args:
            outputs: raw outputs of the head.
            levels: `Head.levels`.
            im_shape: [B, 2] height and width of the resized image (before padding); None where the
                decoder needs none.
            scale_factor: [B, 2] resized / original, y and x.

        Returns:
            bbox [N, 6] (class, score, x1, y1, x2, y2 in pixels of the original image; the images of
            the batch one after the other) and bbox_num [B].
        """
        with full_precision():
            boxes, scores = self.decode(outputs, levels, im_shape, scale_factor)
            bbox, bbox_num, _ = self.nms(boxes, scores)
        return bbox, bbox_num


class Detector(nn.Layer):
    """Images to losses (training) or detections (evaluation), by backbone, neck and head.

    A detector of another build overrides what it does otherwise.

    Attributes:
        backbone, neck, head, post_process: its parts.
        inference_inputs: inputs of an exported graph, of `image`, `im_shape` and `scale_factor`.
        export_arch, min_subgraph_size: `arch` and `min_subgraph_size` of infer_cfg.yml, from which
            PaddleDetection's deployment code takes how to run the graph.
    """

    backbone: nn.Layer
    neck: nn.Layer
    head: nn.Layer
    post_process: nn.Layer
    inference_inputs: Sequence[str] = ("image", "im_shape", "scale_factor")
    export_arch: str = "YOLO"
    min_subgraph_size: int = 3

    @property
    def largest_stride(self) -> int:
        """Height and width of the network input must be multiples of this."""
        return max(level.stride for level in self.head.levels)

    def remarks(self, epochs: int, mosaic_epoch: Optional[int]) -> list[str]:
        """Lines about settings of a training that do not fit the detector.

        Args:
            epochs: length of the training.
            mosaic_epoch: the reader's setting; None if it makes no mosaics.
        """
        return []

    def forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Losses in training, detections in evaluation.

        Args:
            inputs: `image` [B, 3, H, W]; in training also what `losses` needs, else
                `inference_inputs`. Tensors, or a reader's numpy batch.

        Returns:
            In training the loss terms and their sum `loss`. In evaluation `bbox` and `bbox_num` as
            `PostProcess` gives them.
        """
        if paddle.in_dynamic_mode():
            inputs = as_tensors(inputs)
        if self.training:
            batch = self.training_batch(inputs)
            return self.losses(self.raw_outputs(batch["image"]), batch)
        raw = self.raw_outputs(inputs["image"])
        bbox, bbox_num = self.post_process(
            raw, self.head.levels, inputs.get("im_shape"), inputs["scale_factor"]
        )
        return {"bbox": bbox, "bbox_num": bbox_num}

    def training_batch(self, batch: dict) -> dict:
        """The batch as training takes it; a detector may resize it here."""
        return batch

    def raw_outputs(self, image: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] to the head's raw outputs, one map per level.

        Raises:
            ConfigError: H or W is not a multiple of `largest_stride`.
        """
        if paddle.in_dynamic_mode():  # a graph may leave the size open
            (height, width), stride = image.shape[-2:], self.largest_stride
            if height % stride or width % stride:
                raise ConfigError(
                    f"network input of {height} x {width} (height x width): both must be multiples "
                    f"of {stride}; the target_size of the reader's last resize decides about it"
                )
        return self.head(self.neck(self.backbone(image)))

    def losses(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        """Loss terms and their sum `loss` for raw outputs and a training batch."""
        return self.head.get_loss(outputs, batch)

    def decode(
        self, raw: Sequence[Tensor], im_shape: Optional[Tensor], scale_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Raw outputs to boxes [B, M, 4] in pixels of the original images and scores [B, C, M]."""
        return self.post_process.decode(raw, self.head.levels, im_shape, scale_factor)
