"""Decoding and NMS of the heads with anchors."""

from typing import Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.contracts import PostProcess
from ppdet_lite.modeling.post_process.box_decoders import YOLOBox
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS, NMSLayer


@register
class BBoxPostProcess(PostProcess):
    """`PostProcess` of a head with anchors; None stands for `YOLOBox` and `MatrixNMS`."""

    __shared__ = ("num_classes",)
    __inject__ = ("decode", "nms")
    __unused__ = ("export_onnx", "export_eb")

    def __init__(
        self,
        num_classes: int = 80,
        decode: Optional[YOLOBox] = None,
        nms: Optional[NMSLayer] = None,
    ):
        decode = YOLOBox(num_classes) if decode is None else decode
        super().__init__(decode, MatrixNMS() if nms is None else nms)
        stated = getattr(decode, "num_classes", num_classes)  # a user's own may not say
        if stated != num_classes:
            raise ConfigError(
                f"num_classes of the decoder is {stated}, that of BBoxPostProcess {num_classes}"
            )
