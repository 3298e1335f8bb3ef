"""Sources of pixels: an array, or a JPEG file that is decoded when needed."""

from dataclasses import dataclass
from typing import Optional, Protocol

import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.clock import Clock, no_clock
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.image_ops import check_is_image, decode_bytes

REDUCTIONS = (8, 4, 2)
"""Fractions 1/r of the full size at which a JPEG can be decoded."""

_MARGIN = 1.5


def largest_reduction(size_hw: SizeHW, target_hw: SizeHW) -> int:
    """The largest r in 8, 4, 2, 1 for which 1/r of the image still holds all that is needed to
    bring `size_hw` to `target_hw`.

    Both sides of the reduced image must be at least 1.5 times as long as those of the target.
    The JPEG decoder keeps the frequencies up to the reduced image's limit, which is then above
    that of the target; the margin is for the interpolation, which blurs what is near the limit.
    """
    for reduction in REDUCTIONS:
        if all(side >= reduction * _MARGIN * new for side, new in zip(size_hw, target_hw)):
            return reduction
    return 1


class UndecodableError(ImageError):
    """A JPEG file, `path`, whose header is fine but whose pixels cannot be decoded."""

    def __init__(self, message: str, path: str):
        super().__init__(message, path)  # both travel between processes
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


class PixelSource(Protocol):
    """An image of (height, width) `size_hw`."""

    @property
    def size_hw(self) -> SizeHW: ...

    def usable_reduction(self, wanted: int) -> int:
        """The reduction at which pixels are there when 1/`wanted` of the size is enough."""
        ...

    def pixels(self, reduction: int = 1) -> np.ndarray:
        """uint8 RGB [ceil(H / r), ceil(W / r), 3] to be read only, r = `usable_reduction(...)`."""
        ...


class ArrayPixels:
    """A decoded image, uint8 [H, W, 3] RGB, or what has been kept of one.

    Args:
        size_hw: (height, width) of the whole image, of which only 1/`reduction` is there.
    """

    def __init__(self, array: np.ndarray, size_hw: Optional[SizeHW] = None, reduction: int = 1):
        check_is_image(array)
        self.array = array
        self.size_hw = size_hw or (array.shape[0], array.shape[1])
        self.reduction = reduction

    def usable_reduction(self, wanted: int) -> int:
        return self.reduction

    def pixels(self, reduction: int = 1) -> np.ndarray:
        return self.array


@dataclass(eq=False)
class JpegPixels:
    """A JPEG file that is decoded by every call of `pixels`.

    Args:
        data: content of the file `path`.
        size_hw: (height, width) of the image once it is turned upright.
        orientation: EXIF orientation to turn upright from.
        reducible: may be decoded at a fraction of its size.
        clock: told of the step `decode`.
    """

    data: bytes
    path: str
    size_hw: SizeHW
    orientation: int = 1
    reducible: bool = False
    clock: Clock = no_clock

    def usable_reduction(self, wanted: int) -> int:
        return wanted if self.reducible else 1

    def pixels(self, reduction: int = 1) -> np.ndarray:
        """Raises UndecodableError."""
        reduction = self.usable_reduction(reduction)
        try:
            with self.clock("decode", self.path):
                image = decode_bytes(self.data, self.path, self.orientation, reduction)
        except ImageError as error:
            raise UndecodableError(str(error), self.path) from error
        height, width = (-(-side // reduction) for side in self.size_hw)
        if image.shape[:2] != (height, width):
            found = f"decoded to {image.shape[1]}x{image.shape[0]} pixels"
            text = f"{self.path}: {found}, expected {width}x{height} from its header"
            raise UndecodableError(text, self.path)
        return image


class DecodedOnce:
    """The pixels of sources while one image is rendered, each source decoded once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[np.ndarray, int]] = {}

    def get(self, source: PixelSource, reduction: int) -> tuple[np.ndarray, int]:
        """Pixels at 1/reduction, or larger where they are known already, and the reduction."""
        reduction = source.usable_reduction(reduction)
        known = self._known.get(id(source))
        if known is None or known[1] > reduction:
            known = self._known[id(source)] = (source.pixels(reduction), reduction)
        return known
