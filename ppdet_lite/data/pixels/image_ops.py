"""Reading, resizing and normalizing an image: what training, evaluation and deployment share.

Only numpy and OpenCV are needed here. Images are uint8 arrays [H, W, 3] in RGB order; sizes are
(height, width); `scale_factor` is (y, x) = new size / old size.
"""

import inspect
import os
from typing import Any, Callable, Literal, Optional, Sequence, Union

import cv2
import numpy as np

from ppdet_lite.core.annotations import checked
from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.data.kinds import Color, Divisor, Fill, Interp, Size, Switch, height_width
from ppdet_lite.data.pixels.headers import (
    MAX_PIXELS,
    ImageHeader,
    SizeHW,
    check_header,
    check_scans,
    read_header,
)
from ppdet_lite.data.pixels.memory import Scratch
from ppdet_lite.data.pixels.resampling import letterbox_size, resize, resize_exact, resized_size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Older OpenCV releases have no flag for RGB order; there the channels are swapped after decoding.
_READ_RGB: Optional[int] = getattr(cv2, "IMREAD_COLOR_RGB", None)

# IMREAD_REDUCED_GRAYSCALE_n without the color bits: read at 1/n of the size.
_READ_REDUCED = {1: 0, 2: 16, 4: 32, 8: 64}

_NOISES = bytes(range(85, 255)) * 4, bytes(range(254, 0, -3)) * 9

FillValue = Union[float, Sequence[float]]
"""A color: one number or R, G, B in 0..255."""

_TURNS: dict[Optional[int], Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""How a stored image becomes upright, per EXIF orientation."""


def decode_image(
    source: Union[str, os.PathLike[str], bytes, bytearray, memoryview, np.ndarray],
    max_pixels: int = MAX_PIXELS,
    name: Optional[str] = None,
    apply_exif: bool = True,
) -> np.ndarray:
    """Read an image file, or the bytes of one, as uint8 [H, W, 3] RGB.

    The EXIF orientation is applied (unless `apply_exif` is off), gray images become three equal
    channels, an alpha channel is dropped (the colors under it stay) and 16-bit channels keep their
    upper 8 bits.

    Args:
        source: a path, or the content of an image file.
        max_pixels: limit on width x height, checked in the file header.
        name: what to call the image in errors when `source` is bytes.
    Raises:
        ImageError: names a file that is missing, damaged, cut short, too large or not an image.
    """
    if isinstance(source, (str, os.PathLike)):
        name = name or os.fspath(source)
        data = read_file(source)
    else:
        name, data = name or "image given as bytes", bytes(source)
    header = checked_header(data, name, max_pixels)
    orientation = header.orientation if header.kind in ("JPEG", "WebP") else None
    return decode_bytes(data, name, orientation if apply_exif else 1)


def read_file(path: Union[str, os.PathLike[str]]) -> bytes:
    """The content of an image file; an ImageError where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read()
    except OSError as error:
        raise ImageError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error


def checked_header(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """The header of an image file, before anything is decoded.

    Raises:
        ImageError: the file is empty or no image, has more than `max_pixels` pixels, or is a JPEG
            cut short, of which OpenCV would silently fill the rest with gray.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty")
    header = read_header(data)
    check_header(header, name, max_pixels)
    if header.is_in_scans:
        check_scans(data, name)
    if header.is_cut:
        # With all pixels there, what follows them changes nothing.
        pixels = data.rstrip(b"\xff")  # half a marker
        image, *others = (decode_bytes(pixels + more, name) for more in (b"", *_NOISES))
        if not all(np.array_equal(image, other) for other in others):
            raise ImageError(f"{name}: the JPEG is cut short (pixels and end marker are missing)")
    return header


def decode_bytes(
    data: bytes, name: str, orientation: Optional[int] = 1, reduction: int = 1
) -> np.ndarray:
    """The only place where decoders are called: from a file's content to uint8 [H, W, 3] RGB.

    Args:
        name: what to call the image in errors.
        orientation: EXIF orientation to turn upright from, 1 for the image as stored; None leaves
            it to OpenCV, which knows it for some formats other than JPEG.
        reduction: 2, 4 or 8 for a JPEG at ceil(side / reduction), computed by the JPEG decoder from
            the low frequencies of every block of 8 x 8 pixels.
    Raises:
        ImageError: not an image, or a damaged one.
    """
    if data[:2] == b"\xff\xd8" and data[-2:] != b"\xff\xd9":
        data += b"\xff\xd9"  # an end marker that is missing is no reason to stop
    flags = (cv2.IMREAD_COLOR if _READ_RGB is None else _READ_RGB) | _READ_REDUCED[reduction]
    if orientation is not None:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: Optional[np.ndarray] = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if _READ_RGB is None and image is not None:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(f"{name}: cannot be decoded ({reason})") from error
    if image is None:
        raise ImageError(f"{name}: not an image, or damaged")
    return _TURNS[orientation](image) if orientation in _TURNS else image


def check_is_image(image: np.ndarray) -> None:
    """A ValueError where this is no uint8 image [H, W, 3]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 image [H, W, 3], got {image.dtype} {list(image.shape)}")


_scratch = Scratch()


class Normalizer:
    """(pixel / 255 - mean) / std and HWC -> CHW.

    Args:
        mean, std: per channel (RGB), in units of 0-1 when `is_scale`, of 0-255 otherwise.
        is_scale: divide pixels by 255 first.
        norm_type: "mean_std", or "none" for no mean and no std.
    """

    @checked
    def __init__(
        self,
        mean: Color = IMAGENET_MEAN,
        std: Divisor = IMAGENET_STD,
        is_scale: Switch = True,
        norm_type: Literal["mean_std", "none"] = "mean_std",
    ):
        if norm_type == "none":
            mean, std = (0, 0, 0), (1, 1, 1)
        offset, scale = (np.asarray(v, np.float64).reshape(-1, 1) for v in (mean, std))
        levels = np.arange(256) / (255.0 if is_scale else 1.0)
        self.table = (levels - offset) / scale

    def pixel_map(self) -> np.ndarray:
        """The same as numbers, float32 [2, 3]: pixel * [0] + [1] per channel."""
        slope = (self.table[:, 255] - self.table[:, 0]) / 255
        return np.stack([slope, self.table[:, 0]]).astype(np.float32)

    @classmethod
    def identity(cls) -> "Normalizer":
        """Pixels as floats 0-255, unchanged (readers without NormalizeImage)."""
        return cls(is_scale=False, norm_type="none")

    def __call__(self, image: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """uint8 [H, W, 3] -> float32 [3, H, W], into `out` when given."""
        check_is_image(image)
        if out is None:
            out = np.empty((3,) + image.shape[:2], np.float32)
        planes = _scratch.empty("planes", out.shape, np.uint8)
        cv2.split(image, tuple(planes))
        for levels, plane, values in zip(self.table, planes, out):
            _map_levels(plane, levels, values)
        return out


def _map_levels(plane: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    """out = levels[plane] for levels that rise or fall evenly; uint8 [H, W] to float32 [H, W].

    `cv2.normalize` maps the smallest and the largest value to two given numbers, the others evenly
    between them: this map, but for float32 rounding, three times as fast as a look-up table.
    """
    low, high = (int(value) for value in cv2.minMaxLoc(plane)[:2])
    if low == high:
        out.fill(levels[low])
    elif levels[low] < levels[high]:
        cv2.normalize(plane, out, levels[low], levels[high], cv2.NORM_MINMAX, cv2.CV_32F)
    else:  # a negative std: normalize sorts its two numbers
        np.take(levels.astype(np.float32), plane, out=out, mode="clip")


class ResizeStep:
    """Resize of `Preprocess`."""

    key = "Resize.target_size"

    @checked
    def __init__(self, target_size: Size, keep_ratio: Switch = True, interp: Interp = 1):
        self.target_hw = height_width(target_size)
        self.keep_ratio, self.interp = bool(keep_ratio), interp

    def output_hw(self, input_hw: Optional[SizeHW]) -> Optional[SizeHW]:
        """(height, width) afterwards; None where it follows the shape of the image."""
        if not self.keep_ratio:
            return self.target_hw
        return None if input_hw is None else resized_size(input_hw, self.target_hw, True)


class PadStep:
    """Pad of `Preprocess`."""

    key = "Pad.size"

    @checked
    def __init__(self, size: Size, fill_value: Fill = 114.0):
        self.target_hw, self.fill_value = height_width(size), fill_to_uint8(fill_value)

    def output_hw(self, input_hw: Optional[SizeHW]) -> Optional[SizeHW]:
        """See `ResizeStep`."""
        return self.target_hw


class LetterboxStep:
    """CornerLetterbox of `Preprocess`."""

    key = "CornerLetterbox.target_size"

    @checked
    def __init__(self, target_size: Size, fill_value: Fill = 114.0):
        self.target_hw, self.fill_value = height_width(target_size), fill_to_uint8(fill_value)

    def output_hw(self, input_hw: Optional[SizeHW]) -> Optional[SizeHW]:
        """See `ResizeStep`."""
        return self.target_hw


class _ToBGRStep:
    """ToBGR of `Preprocess`, which has no settings."""


class _PermuteStep:
    """Permute of `Preprocess`, which has no settings."""


_STEPS: dict[str, tuple[int, type]] = {
    "Resize": (0, ResizeStep),
    "Pad": (0, PadStep),
    "CornerLetterbox": (0, LetterboxStep),
    "ToBGR": (1, _ToBGRStep),
    "NormalizeImage": (2, Normalizer),
    "Permute": (3, _PermuteStep),
}
"""Place in the order, and class, of the entries of `Preprocess`."""


class Preprocess:
    """The `Preprocess` list of an exported model's infer_cfg.yml: steps that run in their order.

    Known entries (`type` and PaddleDetection's keys): Resize {target_size, keep_ratio, interp} and
    Pad {size, fill_value}, and CornerLetterbox {target_size, fill_value} (this project's own), as
    many as there are; then ToBGR {} (our own), NormalizeImage {mean, std, is_scale, norm_type} and
    Permute {}, each once at most. Channels come first also without Permute.

    Attributes:
        steps: those that change the size.
        to_bgr: the channels change to B, G, R.
        output_hw: (height, width) of the result; None where it follows the shape of the image.

    Raises:
        ConfigError: an unknown entry or key, a value that cannot be used, or an entry where it
            cannot stand, naming it.
    """

    def __init__(self, ops: Sequence[dict[str, Any]]):
        self.steps: list[Union[ResizeStep, PadStep, LetterboxStep]] = []
        self.to_bgr = False
        self.normalizer = Normalizer.identity()
        self.output_hw: Optional[SizeHW] = None
        previous = "Resize"
        for position, entry in enumerate(ops):
            kind = entry.get("type") if isinstance(entry, dict) else entry
            if not isinstance(kind, str) or not isinstance(entry, dict) or kind not in _STEPS:
                known = ", ".join(sorted(_STEPS))
                text = f"Preprocess.{position}.type: found {kind!r}; this project knows {known}"
                raise ConfigError(text)
            where, (place, cls) = f"Preprocess.{position} ({kind})", _STEPS[kind]
            if place < _STEPS[previous][0] or (place and kind == previous):
                order = (
                    "Resize, Pad and CornerLetterbox in any order, then ToBGR, then "
                    "NormalizeImage, then Permute"
                )
                raise ConfigError(f"{where}: found after {previous}, allowed: {order}")
            keys = inspect.signature(cls).parameters
            arguments = {key: value for key, value in entry.items() if key != "type"}
            if unknown := [key for key in arguments if key not in keys]:
                allowed = ", ".join(sorted(keys)) or "none"
                raise ConfigError(f"{where}: unknown key {unknown[0]!r}; allowed: {allowed}")
            try:
                step = cls(**arguments)
            except ConfigError as error:
                raise ConfigError(
                    [f"Preprocess.{kind}.{text}" for text in error.problems]
                ) from None
            except TypeError as error:  # a key is missing
                raise ConfigError(f"{where}: {error}") from None
            if isinstance(step, Normalizer):
                self.normalizer = step
            elif isinstance(step, _ToBGRStep):
                self.to_bgr = True
            elif isinstance(step, (ResizeStep, PadStep, LetterboxStep)):
                self.steps.append(step)
                self.output_hw = step.output_hw(self.output_hw)
            previous = kind

    def __call__(self, image_rgb: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [H, W, 3] RGB -> `image` float32 [3, H, W], `im_shape` float32 [2] (height, width
        of the resized image before padding) and `scale_factor` float32 [2] (y, x)."""
        scale_y = scale_x = 1.0
        im_shape = image_rgb.shape[:2]
        for step in self.steps:
            if isinstance(step, PadStep):
                height, width = image_rgb.shape[:2]
                if height > step.target_hw[0] or width > step.target_hw[1]:
                    found, allowed = list(step.target_hw), [height, width]
                    text = f"found {found}, allowed for this image: at least {allowed}"
                    raise ImageError(f"Preprocess.Pad.size: {text}")
                image_rgb = pad(image_rgb, step.target_hw, step.fill_value)
                continue
            if isinstance(step, LetterboxStep):
                size_hw, ratio = letterbox_size(image_rgb.shape[:2], step.target_hw)
                image_rgb, im_shape = resize_exact(image_rgb, size_hw, 1), size_hw
                image_rgb = pad(image_rgb, step.target_hw, step.fill_value)
                scale_y, scale_x = scale_y * ratio, scale_x * ratio
                continue
            image_rgb, (y, x) = resize(image_rgb, step.target_hw, step.keep_ratio, step.interp)
            im_shape, scale_y, scale_x = image_rgb.shape[:2], scale_y * y, scale_x * x
        if self.to_bgr:
            image_rgb = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
        return {
            "image": self.normalizer(image_rgb),
            "im_shape": np.array(im_shape, np.float32),
            "scale_factor": np.array((scale_y, scale_x), np.float32),
        }


def pad(
    image: np.ndarray, size_hw: SizeHW, fill_value: Union[FillValue, np.ndarray] = 114.0
) -> np.ndarray:
    """`image` in the top-left corner of a canvas of `size_hw` and one color."""
    height, width = image.shape[:2]
    if height > size_hw[0] or width > size_hw[1]:
        raise ImageError(
            f"an image of {width}x{height} does not fit into {size_hw[1]}x{size_hw[0]}"
        )
    canvas = np.empty((int(size_hw[0]), int(size_hw[1]), 3), np.uint8)
    canvas[:] = fill_to_uint8(fill_value)
    canvas[:height, :width] = image
    return canvas


def fill_to_uint8(fill_value: Union[FillValue, np.ndarray]) -> np.ndarray:
    """uint8 [3] of a fill color given as one number or three, rounded to whole levels."""
    values = np.broadcast_to(np.asarray(fill_value, np.float64), (3,))
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
