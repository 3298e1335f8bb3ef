"""Base classes of detectors and their parts: the interface that the rest of the package relies on.

Detectors must derive from `Detector`. Backbones, necks, heads and losses only need the attributes
and methods of their class here; deriving from it lets configurations check where a class may be
used. Constructors raise `ConfigError` for invalid arguments.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.batch_tensors import as_tensors
from ppdet_lite.modeling.layers.full_precision import full_precision


class ShapeSpec(NamedTuple):
    """Channels of a feature map and its stride in input pixels."""

    channels: int
    stride: int


class Backbone(nn.Layer):
    """Images [B, 3, H, W] to a list of feature maps, finest first, described by `out_shape`."""

    __checked__ = True

    out_shape: Sequence[ShapeSpec]


def chain(x: Tensor, layers: Sequence[nn.Layer], returned: Sequence[int]) -> list[Tensor]:
    """Runs `layers` one after the other; returns the outputs with the indices `returned`."""
    maps = []
    for i, layer in enumerate(layers):
        x = layer(x)
        if i in returned:
            maps.append(x)
    return maps


def freeze(layers: Iterable[nn.Layer]) -> None:
    """Excludes the parameters of the layers from training."""
    for layer in layers:
        for parameter in layer.parameters():
            parameter.trainable = False


class Neck(nn.Layer):
    """Feature maps of a backbone to those of the head, described by `out_shape`.

    `from_config` gets the `out_shape` of the backbone as `input_shape`. The order of the returned
    maps is the one that the detector's head expects.
    """

    __checked__ = True

    out_shape: Sequence[ShapeSpec]


class Head(nn.Layer):
    """Feature maps of a neck to raw outputs, one map per level.

    `from_config` gets the `out_shape` of the neck as `input_shape`.

    Attributes:
        num_classes: C.
        levels: description of each output map for loss and decoder, with at least a `stride` in
            input pixels.
    """

    __checked__ = True

    num_classes: int
    levels: Sequence[Any]

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        """Returns the loss terms and their sum `loss` for raw outputs and a training batch."""
        raise NotImplementedError

    def objectness_outputs(self) -> list[tuple[nn.Conv2D, list[int]]]:
        """Returns, per level, the convolution that predicts objectness and its channels for it."""
        raise ConfigError(f"{type(self).__name__} does not say which outputs are objectness")


class PostProcess(nn.Layer):
    """Raw outputs to detections: decoding, then NMS.

    Args:
        decode: layer that takes the arguments of `forward` and returns boxes_xyxy_px [B, M, 4] in
            pixels of the original images and scores [B, C, M]; its `conf_thresh` is the score below
            which it drops candidates.
        nms: layer from boxes and scores to bbox, bbox_num and index as in `ops.nms`, with its
            settings by name in `arguments`.
    """

    __checked__ = True

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
        """Returns bbox and bbox_num.

        Args:
            outputs, levels: raw outputs and `levels` of the head.
            im_shape: [B, 2] height and width of the resized images before padding; may be None if
                the decoder does not use it.
            scale_factor: [B, 2] resized / original, y and x.

        Returns:
            bbox [N, 6] (class, score, x1, y1, x2, y2 in pixels of the original image), image after
            image, and bbox_num [B], the number of detections per image.
        """
        with full_precision():
            boxes, scores = self.decode(outputs, levels, im_shape, scale_factor)
            bbox, bbox_num, _ = self.nms(boxes, scores)
        return bbox, bbox_num


class Detector(nn.Layer):
    """Images to losses in training and to detections in evaluation.

    Attributes:
        inference_inputs: inputs of the exported graph: `image`, `im_shape`, `scale_factor` or some
            of them.
        export_arch, min_subgraph_size: `arch` and `min_subgraph_size` of infer_cfg.yml, which
            PaddleDetection's deployment code reads.
    """

    __checked__ = True

    backbone: nn.Layer
    neck: nn.Layer
    head: nn.Layer
    post_process: nn.Layer
    inference_inputs: Sequence[str] = ("image", "im_shape", "scale_factor")
    export_arch: str = "YOLO"
    min_subgraph_size: int = 3

    @property
    def largest_stride(self) -> int:
        """Height and width of the network input must be multiples of it."""
        return max(level.stride for level in self.head.levels)

    def remarks(self, epochs: int, mosaic_epoch: Optional[int]) -> list[str]:
        """Returns warnings about training settings that do not fit the detector.

        `mosaic_epoch` is the setting of the reader, None if it makes no mosaics.
        """
        return []

    def forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Returns loss terms with their sum `loss` in training, else `bbox` and `bbox_num`.

        Args:
            inputs: tensors or a reader's numpy batch: `image` [B, 3, H, W] and the keys that the
                loss needs in training, else those of `inference_inputs`.
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
        """Returns the batch to train on; detectors that resize it override this."""
        return batch

    def raw_outputs(self, image: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] to the raw outputs of the head, one map per level.

        Raises:
            ConfigError: H or W is not a multiple of `largest_stride`.
        """
        if paddle.in_dynamic_mode():  # the size may be unknown in a graph
            (height, width), stride = image.shape[-2:], self.largest_stride
            if height % stride or width % stride:
                raise ConfigError(
                    f"network input of {height} x {width} (height x width): both must be multiples "
                    f"of {stride}; set the target_size of the reader's last resize accordingly"
                )
        return self.head(self.neck(self.backbone(image)))

    def losses(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        """Returns the loss terms and their sum `loss` for raw outputs and a training batch."""
        return self.head.get_loss(outputs, batch)

    def attack_loss(self, outputs: Sequence[Tensor]) -> Tensor:
        """Returns what `SelfAdversarialTraining` lowers by changing the image: a scalar that is
        small where the outputs show no object.
        """
        name = type(self).__name__
        raise ConfigError(f"SelfAdversarialTraining: found {name}, allowed: detectors of YOLOv4")

    def decode(
        self, raw: Sequence[Tensor], im_shape: Optional[Tensor], scale_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Raw outputs to boxes [B, M, 4] in pixels of the original images and scores [B, C, M]."""
        return self.post_process.decode(raw, self.head.levels, im_shape, scale_factor)
