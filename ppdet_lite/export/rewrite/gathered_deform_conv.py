"""Deformable convolution by gathering rows, for exports that run on a CPU.

Paddle's CPU kernel interpolates every channel of every sample by itself, on one core. Here the
channels of a cell lie side by side, so that each corner of a sample is one copied row, and what is
left when the four corners are weighed is one matrix product.
"""

from typing import Sequence

import numpy as np
import paddle
from paddle import nn
from paddle.vision.ops import DeformConv2D


class GatheredDeformConv2D(nn.Layer):
    """The same maps as a `DeformConv2D` without dilation and without groups but those of the
    offsets, on maps of a fixed size: `output_hw` are height and width of those it gives."""

    def __init__(self, conv: DeformConv2D, output_hw: Sequence[int]):
        super().__init__()
        ch_out, ch_in, *window = conv.weight.shape
        self._output_hw, self._groups = tuple(output_hw), conv._deformable_groups
        for axis, places in zip("yx", _tap_places(conv, output_hw)):
            self.register_buffer(f"tap_{axis}", paddle.to_tensor(places))
        if self._groups > 1:
            group = np.arange(self._groups).repeat(int(np.prod(window)))
            cells = int(np.prod(self._output_hw))
            self.register_buffer(
                "group", paddle.to_tensor(np.tile(group, cells).astype(np.float32))
            )
        # Transposed, because oneDNN multiplies by a transposed matrix 1.4 times as fast.
        shape = (ch_out, self._groups, ch_in // self._groups, *window)
        flat = conv.weight.numpy().reshape(shape).transpose(0, 1, 3, 4, 2).reshape(ch_out, -1)
        self.weight = self.create_parameter(list(flat.shape))
        self.weight.set_value(flat)
        self.bias = self.create_parameter([1, ch_out, 1, 1], is_bias=True)
        if conv.bias is not None:
            self.bias.set_value(conv.bias.reshape([1, -1, 1, 1]))

    def forward(self, x, offset, mask=None):
        """Maps [B, ch_in, H, W], offsets [B, 2 groups taps, H', W'] and mask [B, groups taps, H',
        W'] to [B, ch_out, H', W']; only B may be free."""
        samples = self._samples(x, offset, 1.0 if mask is None else _by_cell(mask))
        samples = samples.reshape([-1, self.weight.shape[1]])
        out = samples.matmul(self.weight, transpose_y=True)
        out = out.reshape([-1, *self._output_hw, self.weight.shape[0]]).transpose([0, 3, 1, 2])
        return out + self.bias

    def _samples(self, x, offset, mask):
        """The values that each tap of each output cell sees: [B cells groups taps, ch_in / groups].

        The channels of a group in a cell are one row.
        """
        batch, (channels, height, width) = paddle.shape(x)[0], x.shape[1:]
        rows = x.transpose([0, 2, 3, 1]).reshape([-1, channels // self._groups])
        first_row = paddle.arange(0, batch * height * width, height * width, "float32")
        top, toward_bottom = _split(_by_cell(offset[:, 0::2]) + self.tap_y, height)
        left, toward_right = _split(_by_cell(offset[:, 1::2]) + self.tap_x, width)
        samples = 0.0
        for y, share_y in ((top, 1 - toward_bottom), (top + 1, toward_bottom)):
            row_of_y = y.clip(0, height - 1) * width + first_row.unsqueeze(1)
            share_y = share_y * mask * _inside(y, height)
            for x, share_x in ((left, 1 - toward_right), (left + 1, toward_right)):
                row = row_of_y + x.clip(0, width - 1)
                if self._groups > 1:
                    row = row * self._groups + self.group
                row = row.astype("int32").flatten()
                share = share_y * share_x * _inside(x, width)
                samples = samples + paddle.gather(rows, row) * share.reshape([-1, 1])
        return samples


def _tap_places(conv: DeformConv2D, output_hw: Sequence[int]) -> list[np.ndarray]:
    """The place of each tap of each group and output cell without an offset, in cells of the input:
    float32 y and x, [cells groups taps]."""
    (height, width), (rows, columns) = output_hw, conv.weight.shape[2:]
    steps = np.mgrid[0:height, 0:width, 0:rows, 0:columns]
    places = [
        cell * stride + tap - padding
        for cell, tap, stride, padding in zip(steps, steps[2:], conv._stride, conv._padding)
    ]
    taps = (height * width, 1, rows * columns)
    return [
        place.reshape(taps).repeat(conv._deformable_groups, axis=1).reshape(-1).astype(np.float32)
        for place in places
    ]


def _by_cell(taps):
    """[B, groups taps, H', W'] to [B, cells groups taps], those of a cell side by side."""
    return taps.transpose([0, 2, 3, 1]).flatten(1)


def _split(place, size: int):
    """The cell at or before each place on an axis of `size` cells, and the fraction beyond it.

    Places that are outside by a cell or more count as nothing, wherever they are. Not by `floor`:
    oneDNN in Paddle 3.3 writes it over its input, which is needed once more.
    """
    place = place.clip(-2, size + 1)
    cell = (place + 2).astype("int32").astype("float32") - 2
    return cell, place - cell


def _inside(place, size: int):
    """1.0 where 0 <= place < size, else 0.0."""
    return ((place >= 0) & (place < size)).astype("float32")
