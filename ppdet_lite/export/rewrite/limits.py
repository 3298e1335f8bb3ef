"""The sizes from which layers are written in another form for CPUs."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Sizes from which another form pays, as tools/benchmark_layers.py measured them with oneDNN on
    two cores with AVX2.

    Attributes:
        channels: of Winograd's convolutions; with fewer, moving tiles about costs more than the
            multiplications saved. On 80 x 80 cells 1.5 times as fast with 128 channels, 0.9 times
            with 64.
        tiles: of theirs; with fewer, reading four times the weights costs more. With 512 channels
            1.5 times as fast on a map of 20 x 20 (25 tiles), 0.6 times on one of 10 x 10 (9).
        products: multiply-adds of theirs. 1.1 times as fast with 236 million (128 channels on
            40 x 40 cells, or 256 on 20 x 20), 0.6 times with 59 (128 on 20 x 20).
        deformable_products: of a deformable convolution. 1.4 to 1.7 times as fast with 940 million
            (512 channels on 20 x 20 cells), 0.8 to 1.8 times with 59, 0.5 to 1.0 times with 15.
    """

    channels: int = 128
    tiles: int = 25
    products: int = 128_000_000
    deformable_products: int = 64_000_000


MEASURED = Limits()
