"""Decoding of YOLOX as its authors wrote it."""

import paddle.nn.functional as F
from paddle import Tensor

from ppdet_lite.modeling.post_process.box_decoders import CellBox


class ProductCellBox(CellBox):
    """`CellBox` with the scores of YOLOX's authors: objectness x class, without a square root."""

    def scores(self, flat: Tensor) -> Tensor:
        return F.sigmoid(flat[:, 4:5]) * F.sigmoid(flat[:, 5:])
