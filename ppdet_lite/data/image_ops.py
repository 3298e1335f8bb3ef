"""Reading, resizing and normalising a picture: what training, evaluation and deployment share.

Only numpy and OpenCV are needed here, so a deployment machine loads nothing else. Pictures are
uint8 arrays [H, W, 3] in RGB order; sizes are (height, width); `scale_factor` is (y, x) = new size
/ old size.
"""

import os
import struct
from typing import Optional, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, ImageError

MAX_PIXELS = 178_956_970
"""Pictures with more pixels are refused before they are decoded (about 0.5 GB as RGB)."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

INTERPOLATIONS = {
    0: cv2.INTER_NEAREST,
    1: cv2.INTER_LINEAR,
    2: cv2.INTER_CUBIC,
    3: cv2.INTER_AREA,
    4: cv2.INTER_LANCZOS4,
}
"""Interpolation numbers as they stand in configs: nearest, linear, cubic, area, Lanczos."""

# Older OpenCV releases have no flag for RGB order; there the channels are swapped after decoding.
_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)


def decode_image(
    source: Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray],
    max_pixels: int = MAX_PIXELS,
    name: Optional[str] = None,
    apply_exif: bool = True,
) -> np.ndarray:
    """Read a picture file, or the bytes of one, as uint8 [H, W, 3] RGB.

    The EXIF orientation is applied (unless `apply_exif` is off), gray pictures become three equal
    channels, an alpha channel is dropped (the colours under it stay) and 16-bit channels keep their
    upper 8 bits.

    Args:
        source: a path, or the content of a picture file.
        max_pixels: limit on width x height, checked in the file header where the format allows.
        name: what to call the picture in errors when `source` is bytes.
    Raises:
        ImageError: the file is missing, empty, damaged, cut short, too large or not a picture; the
            message names it.
    """
    data, name = _read(source, name)
    if not data:
        raise ImageError(f"{name}: the file is empty")
    size = header_size(data)
    if size is not None:
        _check_pixels(size, max_pixels, name)
    if _is_cut_jpeg(data):
        raise ImageError(f"{name}: the JPEG is cut short (its end marker is missing)")
    buffer = np.frombuffer(data, np.uint8)
    flags = cv2.IMREAD_COLOR if _READ_RGB is None else _READ_RGB
    if not apply_exif:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(buffer, flags)
        if _READ_RGB is None and image is not None:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({_one_line(error)})") from error
    if image is None:
        raise ImageError(f"{name}: not a picture that OpenCV can decode, or a damaged one")
    _check_pixels(image.shape[:2], max_pixels, name)
    return image


def _read(source, name: Optional[str]) -> "tuple[bytes, str]":
    """Content of `source` and the name to use in messages."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        try:
            with open(path, "rb") as stream:
                return stream.read(), name or path
        except OSError as error:
            raise ImageError(f"{name or path}: cannot be read ({error.strerror})") from error
    return bytes(source), name or "picture given as bytes"


def _check_pixels(size_hw, max_pixels: int, name: str) -> None:
    height, width = size_hw
    if height * width > max_pixels:
        raise ImageError(
            f"{name}: {width}x{height} = {height * width} pixels, more than the limit of "
            f"{max_pixels}"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def header_size(data: bytes) -> "Optional[tuple[int, int]]":
    """(height, width) from the header of a JPEG, PNG, BMP or WebP file before EXIF rotation, None
    when unknown.
    """
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(height), abs(width)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    return None


def _jpeg_segments(data: bytes):
    """Marker code and offset of every JPEG segment up to and including the first start of scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        yield marker, position
        if marker == 0xDA:
            return
        has_length = not (marker == 0x01 or 0xD0 <= marker <= 0xD8)
        position += 2 + (struct.unpack(">H", data[position + 2 : position + 4])[0] * has_length)


def _jpeg_size(data: bytes) -> "Optional[tuple[int, int]]":
    for marker, position in _jpeg_segments(data):
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame and position + 9 <= len(data):
            return struct.unpack(">HH", data[position + 5 : position + 9])
    return None


def _webp_size(data: bytes) -> "Optional[tuple[int, int]]":
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        return 1 + int.from_bytes(data[27:30], "little"), width
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + ((bits >> 14) & 0x3FFF), 1 + (bits & 0x3FFF)
    return None


def _is_cut_jpeg(data: bytes) -> bool:
    """True for a JPEG whose scan data ends without the end marker; OpenCV would fill the rest with
    gray silently.

    The marker is looked for behind the start of scan only: an EXIF thumbnail before it has an end
    marker of its own.
    """
    if data[:2] != b"\xff\xd8":
        return False
    for marker, position in _jpeg_segments(data):
        if marker == 0xDA:
            return data.rfind(b"\xff\xd9") < position
    return True


def check_interp(interp: int, where: str = "Resize.interp") -> int:
    """OpenCV's constant for the interpolation number of a config."""
    if isinstance(interp, bool) or interp not in INTERPOLATIONS:
        raise ConfigError(
            f"{where}: found {interp!r}; allowed are 0 nearest, 1 linear, 2 cubic, 3 area, "
            "4 Lanczos"
        )
    return INTERPOLATIONS[interp]


def resized_size(size_hw, target_size_hw, keep_ratio: bool) -> "tuple[int, int]":
    """(height, width) after resizing; with `keep_ratio` the largest size inside the target with the
    same shape.
    """
    height, width = size_hw
    target_h, target_w = target_size_hw
    if not keep_ratio:
        return int(target_h), int(target_w)
    scale = min(target_h / height, target_w / width)
    return max(int(scale * height + 0.5), 1), max(int(scale * width + 0.5), 1)


def resize_exact(image: np.ndarray, size_hw, interp: int) -> np.ndarray:
    """`image` at exactly `size_hw` (height, width), interpolation number as in configs."""
    height, width = size_hw
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[interp])


def resize(
    image: np.ndarray, target_size_hw, keep_ratio: bool = False, interp: int = 2
) -> "tuple[np.ndarray, tuple[float, float]]":
    """Resize `image` [H, W, C] to `target_size_hw`.

    With `keep_ratio` the result fits inside the target and may be smaller on one axis.

    Returns:
        The resized picture and scale_factor (y, x), computed from the rounded size.
    """
    new_hw = resized_size(image.shape[:2], target_size_hw, keep_ratio)
    scale = (new_hw[0] / image.shape[0], new_hw[1] / image.shape[1])
    return resize_exact(image, new_hw, interp), scale


class Normalizer:
    """(pixel / 255 - mean) / std and HWC -> CHW in one pass, through one table of 256 floats per
    channel.

    Args:
        mean, std: per channel (RGB), in units of 0-1 when `is_scale`, of 0-255 otherwise.
        is_scale: divide pixels by 255 first.
        norm_type: "mean_std", or "none" for no mean and no std.
    """

    def __init__(self, mean=IMAGENET_MEAN, std=IMAGENET_STD, is_scale=True, norm_type="mean_std"):
        if norm_type not in ("mean_std", "none"):
            raise ConfigError(
                f"NormalizeImage.norm_type: found {norm_type!r}; allowed are mean_std, none"
            )
        mean = np.zeros(3) if norm_type == "none" else np.asarray(mean, np.float64).reshape(-1)
        std = np.ones(3) if norm_type == "none" else np.asarray(std, np.float64).reshape(-1)
        if mean.size != 3 or std.size != 3:
            raise ConfigError("NormalizeImage: mean and std must have three numbers each (R, G, B)")
        if not np.all(np.abs(std) > 0):
            raise ConfigError(f"NormalizeImage.std: {std.tolist()} contains a zero")
        levels = np.arange(256) / (255.0 if is_scale else 1.0)
        self.table = ((levels[None] - mean[:, None]) / std[:, None]).astype(np.float32)

    @classmethod
    def identity(cls) -> "Normalizer":
        """Pixels as floats 0-255, unchanged (readers without NormalizeImage)."""
        return cls(is_scale=False, norm_type="none")

    def __call__(self, image: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """uint8 [H, W, 3] -> float32 [3, H, W], into `out` when given."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"expected a uint8 picture [H, W, 3], got {image.dtype} {list(image.shape)}"
            )
        if out is None:
            out = np.empty((3,) + image.shape[:2], np.float32)
        plane = np.empty(image.shape[:2], np.uint8)
        for channel in range(3):
            cv2.extractChannel(image, channel, plane)
            cv2.LUT(plane, self.table[channel], out[channel])
        return out


class Preprocess:
    """The `Preprocess` list of an exported model's infer_cfg.yml.

    Known entries (`type` and PaddleDetection's keys): Resize {target_size, keep_ratio, interp}, Pad
    {size, fill_value}, NormalizeImage {mean, std, is_scale, norm_type}, Permute {}.

    Raises:
        ConfigError: an unknown entry or key, naming it.
    """

    _KEYS = {
        "Resize": {"target_size", "keep_ratio", "interp"},
        "Pad": {"size", "fill_value"},
        "NormalizeImage": {"mean", "std", "is_scale", "norm_type"},
        "Permute": set(),
    }

    def __init__(self, ops: "list[dict]"):
        self.resize_args = None
        self.pad_args = None
        self.normalizer = Normalizer.identity()
        for position, entry in enumerate(ops):
            arguments = {key: value for key, value in entry.items() if key != "type"}
            kind = entry.get("type")
            if kind not in self._KEYS:
                known = ", ".join(sorted(self._KEYS))
                raise ConfigError(
                    f"Preprocess.{position}.type: found {kind!r}; this project knows {known}"
                )
            unknown = sorted(set(arguments) - self._KEYS[kind])
            if unknown:
                allowed = ", ".join(sorted(self._KEYS[kind])) or "none"
                raise ConfigError(
                    f"Preprocess.{position} ({kind}): unknown key {unknown[0]!r}; "
                    f"allowed: {allowed}"
                )
            self._add(kind, arguments)

    def _add(self, kind: str, arguments: dict) -> None:
        if kind == "Resize":
            target = arguments["target_size"]
            target = (target, target) if isinstance(target, int) else tuple(target)
            interp = arguments.get("interp", 1)
            check_interp(interp, "Preprocess.Resize.interp")
            self.resize_args = (target, bool(arguments.get("keep_ratio", True)), interp)
        elif kind == "Pad":
            self.pad_args = (tuple(arguments["size"]), arguments.get("fill_value", 114.0))
        elif kind == "NormalizeImage":
            self.normalizer = Normalizer(**arguments)

    def __call__(self, image_rgb: np.ndarray) -> "dict[str, np.ndarray]":
        """uint8 [H, W, 3] RGB -> `image` float32 [3, H, W], `im_shape` float32 [2] (height, width
        of the resized picture before padding) and `scale_factor` float32 [2] (y, x)."""
        scale = (1.0, 1.0)
        if self.resize_args is not None:
            image_rgb, scale = resize(image_rgb, *self.resize_args)
        im_shape = np.array(image_rgb.shape[:2], np.float32)
        if self.pad_args is not None:
            image_rgb = pad(image_rgb, *self.pad_args)
        return {
            "image": self.normalizer(image_rgb),
            "im_shape": im_shape,
            "scale_factor": np.array(scale, np.float32),
        }


def pad(image: np.ndarray, size_hw, fill_value=114.0) -> np.ndarray:
    """`image` in the top-left corner of a canvas of `size_hw`, filled with one number or one per
    channel.
    """
    height, width = image.shape[:2]
    if height > size_hw[0] or width > size_hw[1]:
        raise ImageError(
            f"a picture of {width}x{height} does not fit into {size_hw[1]}x{size_hw[0]}"
        )
    canvas = np.empty((int(size_hw[0]), int(size_hw[1]), 3), np.uint8)
    canvas[:] = fill_to_uint8(fill_value)
    canvas[:height, :width] = image
    return canvas


def fill_to_uint8(fill_value) -> np.ndarray:
    """uint8 [3] of a fill colour given as one number or three, rounded to whole levels."""
    values = np.broadcast_to(np.asarray(fill_value, np.float64), (3,))
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
