"""The sizes from which layers are written in another form for CPUs."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Sizes from which another form pays, measured by tools/dev/benchmark_layers.py with oneDNN on
    two cores with AVX2.

    Attributes:
        channels, tiles, products: of Winograd's convolutions. With few channels moving tiles about
            costs more than the multiplications saved: on 80 x 80 cells 1.5 times as fast with 128,
            0.9 times with 64. With few tiles it is reading four times the weights: with 512
            channels 1.5 times as fast on 20 x 20 cells (25 tiles), 0.6 times on 10 x 10 (9). Of
            multiply-adds, 1.1 times as fast with 236 million, 0.6 times with 59.
        deformable_products: multiply-adds of a deformable convolution. 1.4 to 1.7 times as fast
            with 940 million (512 channels on 20 x 20 cells), 0.8 to 1.8 times with 59, 0.5 to 1.0
            times with 15.
    """

    channels: int = 128
    tiles: int = 25
    products: int = 128_000_000
    deformable_products: int = 64_000_000


MEASURED = Limits()
