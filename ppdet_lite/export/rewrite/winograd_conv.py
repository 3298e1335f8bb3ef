"""3x3 convolutions by Winograd's minimal filtering, for exports that run on a CPU.

A tile of 4x4 outputs depends on 6x6 inputs. Written as A [(G w G^T) * (B d B^T)] A^T
(arXiv:1509.09308) it takes 36 multiplications per pair of channels instead of 144, and over all
tiles these are 36 matrix products. GPU libraries have this inside; oneDNN, with which Paddle
Inference runs on CPUs, has not, so the graph itself has to say it. The weights take four times the
room, and rounding errors are about five times those of the plain sum (in float32: some 1e-6 of the
largest value, over a whole detector).
"""

from typing import Sequence

import numpy as np
from paddle import nn
from paddle.nn import functional as F

TILE, TAPS = 4, 3
WINDOW = TILE + TAPS - 1
"""Inputs per side that a tile depends on."""

POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
"""Points at which the polynomials of the method are evaluated, beside infinity: binary fractions
that round less than half as badly as the usual 0, 1, -1, 2, -2."""


def winograd_matrices(
    tile: int = TILE, taps: int = TAPS, points: Sequence[float] = POINTS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B [n, n], G [n, taps] and A [tile, n] of F(tile, taps), n = tile + taps - 1, in float64.

    For inputs d [n] and a filter w [taps], A [(G w) * (B d)] are the `tile` sums of products
    d[i : i + taps] . w. This is Toom and Cook's multiplication of polynomials (evaluate both at
    `points` and infinity, multiply, interpolate), transposed.
    """
    n = tile + taps - 1

    def evaluation(coefficients: int) -> np.ndarray:
        finite = np.vander(points, coefficients, increasing=True)
        infinite = np.eye(coefficients)[-1:]
        return np.concatenate([finite, infinite])

    interpolation = np.linalg.inv(evaluation(n)).T
    # The denominators of Lagrange's polynomials go to G, which is applied once, in float64.
    scale = np.array([np.prod([p - q for q in points if q != p]) for p in points] + [1.0])
    scale = scale[:, None]
    return interpolation * scale, evaluation(taps) / scale, evaluation(tile).T


def is_winograd_form(layer: nn.Layer) -> bool:
    """True if `WinogradConv2D` can replace `layer`; not a subclass, which may use its weight in
    another way."""
    return (
        type(layer) is nn.Conv2D
        and layer._padding_mode == "zeros"
        and layer._data_format == "NCHW"
        and tuple(layer.weight.shape[2:]) == (TAPS, TAPS)
        and layer._groups == 1
        and all(step in (1, [1, 1]) for step in (layer._stride, layer._dilation, layer._padding))
    )


class WinogradConv2D(nn.Layer):
    """The same maps as a 3x3 convolution with stride 1 and padding 1, from standard operators.

    The transform of the input is a convolution of every channel by itself with 36 filters of 6x6
    and stride 4; those of the products and of the output are matrix products.
    """

    def __init__(self, conv: nn.Conv2D):
        super().__init__()
        weight = conv.weight.numpy().astype(np.float64)
        self._ch_out, self._ch_in = weight.shape[:2]
        b, g, a = winograd_matrices()
        filters = np.einsum("ia,ocab,jb->ijoc", g, weight, g)
        self.weight = self._constant(filters, [WINDOW**2, self._ch_out, self._ch_in])
        self.to_tiles = self._constant(np.kron(b, b), [WINDOW**2, 1, WINDOW, WINDOW])
        self.from_tiles = self._constant(np.kron(a, a), [TILE**2, WINDOW**2])
        bias = np.zeros(self._ch_out) if conv.bias is None else conv.bias.numpy()
        self.bias = self._constant(bias, [1, self._ch_out, 1, 1])

    def _constant(self, values: np.ndarray, shape: list[int]):
        parameter = self.create_parameter(shape)
        parameter.set_value(values.reshape(shape).astype(np.float32))
        return parameter

    def forward(self, x):
        """[B, ch_in, H, W] to [B, ch_out, H, W]."""
        height, width = x.shape[2:]
        # One pixel before the map, and behind it as many as the last tile can need.
        padding = [1, TILE, 1, TILE]
        single = x.transpose([1, 0, 2, 3]).reshape([-1, 1, height, width])
        tiles = F.conv2d(single, self.to_tiles, stride=TILE, padding=padding)
        rows, columns = tiles.shape[2:]
        # Transposed before it is reshaped: the other way round, Paddle 3.3 makes both a part of
        # the matrix product, which then reads oneDNN's layout of the map in the wrong order.
        tiles = tiles.transpose([1, 0, 2, 3]).reshape([WINDOW**2, self._ch_in, -1])
        products = self.weight.matmul(tiles)  # [36, ch_out, B tiles]
        y = self.from_tiles.matmul(products.reshape([WINDOW**2, -1]))
        y = y.reshape([TILE, TILE, self._ch_out, -1, rows, columns]).transpose([3, 2, 4, 0, 5, 1])
        y = y.reshape([-1, self._ch_out, rows * TILE, columns * TILE])
        if (rows * TILE, columns * TILE) != (height, width):
            y = y[:, :, :height, :width]
        return y + self.bias
