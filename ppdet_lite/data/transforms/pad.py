"""Pad, PadResize and CornerLetterbox: images of any shape on a sheet of one size."""

from dataclasses import dataclass
from typing import Any, Literal, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.resampling import letterbox_size
from ppdet_lite.data.transforms.objects import Sample, moved_objects, select_objects
from ppdet_lite.data.transforms.resize import with_new_size
from ppdet_lite.data.transforms.transform import CORNERS, Context, ImageSizes, Transform, lazy_image

# Share of the free space that goes left of and above the image, per pad_mode.
_SHARES = {0: 0.0, 1: 0.5, 2: 1.0}


@register
@dataclass(eq=False)
class Pad(Transform):
    """Place the image on a larger sheet of one color; boxes move with it.

    `im_shape` stays the size before padding, `scale_factor` stays: detections of an image padded
    right and below need no correction.

    Args:
        size: [height, width] of the sheet, or one side of a square; None for the next multiples of
            `size_divisor`.
        pad_mode: the padding goes: 0 right and below, 1 all around, 2 left and above, -1 as
            `offsets` say.
        offsets: [x, y] of the image's top-left corner on the sheet, for pad_mode -1.
        fill_value: color of the sheet, one number or R, G, B in 0..255.
    """

    takes_boxes = CORNERS

    size: Optional[kinds.Size] = None
    size_divisor: kinds.Count = 32
    pad_mode: Literal[-1, 0, 1, 2] = 0
    offsets: Optional[kinds.Offsets] = None
    fill_value: kinds.Fill = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        if (self.pad_mode == -1) != (self.offsets is not None):
            raise ConfigError(
                f"offsets: found {self.offsets!r} with pad_mode {self.pad_mode}, allowed: [x, y] "
                "with pad_mode -1, none with the others"
            )
        self.sheet_hw = None if self.size is None else kinds.height_width(self.size)

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = lazy_image(sample)
        height, width = image.size_hw
        sheet_h, sheet_w, left, top = self._layout(height, width)
        if not self.holds(height, width):
            raise ImageError(
                f"{sample.get('im_file', 'image')}: {width}x{height} does not fit into "
                f"{sheet_w}x{sheet_h} of Pad at ({left}, {top})"
            )
        if (height, width) == (sheet_h, sheet_w):
            return sample
        image = image.expand(sheet_w, sheet_h, left, top, self.fill_value)
        return {**sample, "image": image, **moved_objects(sample, shift_xy=(left, top))}

    def holds(self, height: int, width: int) -> bool:
        """True if an image of this size fits."""
        sheet_h, sheet_w, left, top = self._layout(height, width)
        return min(left, top) >= 0 and left + width <= sheet_w and top + height <= sheet_h

    def _layout(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Height and width of the sheet for an image of this size; its left and top edge there."""
        sheet_h, sheet_w = self.sheet_hw or (
            -(-side // self.size_divisor) * self.size_divisor for side in (height, width)
        )
        if self.offsets is not None:
            return sheet_h, sheet_w, self.offsets[0], self.offsets[1]
        share = _SHARES[self.pad_mode]
        return sheet_h, sheet_w, int((sheet_w - width) * share), int((sheet_h - height) * share)

    def output_sizes(self, sizes: Optional[ImageSizes]) -> Optional[ImageSizes]:
        if sizes is not None:
            self._check_sizes(sizes)
        if self.sheet_hw is not None:
            return ImageSizes((self.sheet_hw,), "Pad.size")
        if sizes is None or sizes.keep_ratio:
            return None
        sheets = (self._layout(*size_hw)[:2] for size_hw in sizes.all_hw)
        return ImageSizes(tuple(dict.fromkeys(sheets)), "Pad.size_divisor")

    def _check_sizes(self, sizes: ImageSizes) -> None:
        """Refuses a sheet that does not hold one of the sizes (with `keep_ratio`: in any shape)."""
        for height, width in sizes.all_hw:
            shapes = ((height, 1), (1, width)) if sizes.keep_ratio else ((height, width),)
            if any(self.holds(*shape) for shape in shapes):
                continue
            found = f"offsets: found {self.offsets}"
            if self.sheet_hw is not None:
                more = f" with offsets {list(self.offsets)}" if self.offsets else ""
                found = f"size: found {list(self.sheet_hw)}{more}"
            raise ConfigError(
                f"{found}, which does not hold the images of {sizes.set_by} "
                f"{[height, width]}{' (keep_ratio)' if sizes.keep_ratio else ''}"
            )

    def export_step(self) -> dict[str, Any]:
        if self.sheet_hw is None or self.pad_mode != 0:
            needed = "size, and pad_mode 0 (right and below)"
            raise ConfigError(f"Pad cannot be exported without {needed}")
        values = np.broadcast_to(np.asarray(self.fill_value, np.float64), (3,))
        return {"type": "Pad", "size": list(self.sheet_hw), "fill_value": values.tolist()}


@register
@dataclass(eq=False)
class PadResize(Transform):
    """Fit the image into `target_size`, keeping its shape, and pad right and below.

    Boxes are scaled, not cut; objects whose smaller side is then 1 px or less are left out.
    `im_shape` becomes the size before padding, `scale_factor` (y, x) is multiplied by new / old.

    Args:
        target_size: [height, width], or one side of a square.
        fill_value: color of the padding, one number or R, G, B in 0..255.
    """

    takes_boxes = CORNERS

    target_size: kinds.Size
    fill_value: kinds.Fill = 114

    def __post_init__(self) -> None:
        self.target_hw = kinds.height_width(self.target_size)

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = lazy_image(sample)
        height, width = image.size_hw
        target_h, target_w = self.target_hw
        scale = min(target_h / height, target_w / width)
        # Fractions are cut off, as PaddleDetection does in training (its evaluation rounds).
        new_hw = max(int(height * scale), 1), max(int(width * scale), 1)
        if new_hw != (height, width):
            image = image.resize(*new_hw, 1)
        if new_hw != self.target_hw:
            image = image.expand(target_w, target_h, 0, 0, self.fill_value)
        fitted = with_new_size(sample, image, new_hw)
        fitted.update(moved_objects(sample, [float(np.float32(scale))] * 2))
        if "gt_bbox" not in sample:
            return fitted
        sides = fitted["gt_bbox"][:, 2:] - fitted["gt_bbox"][:, :2]
        return select_objects(fitted, np.flatnonzero(sides.min(axis=1) > 1))

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes((self.target_hw,), "PadResize.target_size")


@register
@dataclass(eq=False)
class CornerLetterbox(Transform):
    """Fit the image into `target_size` in its top-left corner, as YOLOX's authors do.

    The factor is min(target height / height, target width / width); sides are cut off to whole
    pixels. `scale_factor` (y, x) is multiplied by the factor itself, not by the quotients of the
    cut sides, so that detections are divided by one number. `im_shape` becomes the size before
    padding. Boxes are multiplied by the factor.

    Args:
        target_size: [height, width], or one side of a square.
        fill_value: color of the padding, one number or R, G, B in 0..255.
    """

    takes_boxes = CORNERS

    target_size: kinds.Size
    fill_value: kinds.Fill = 114

    def __post_init__(self) -> None:
        self.target_hw = kinds.height_width(self.target_size)

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = lazy_image(sample)
        new_hw, ratio = letterbox_size(image.size_hw, self.target_hw)
        if new_hw != image.size_hw:
            image = image.resize(*new_hw, 1)
        if new_hw != self.target_hw:
            image = image.expand(self.target_hw[1], self.target_hw[0], 0, 0, self.fill_value)
        scale = np.asarray(sample.get("scale_factor", (1.0, 1.0)), np.float64) * ratio
        return {
            **sample,
            **moved_objects(sample, (ratio, ratio)),
            "image": image,
            "im_shape": np.array(new_hw, np.float32),
            "scale_factor": scale.astype(np.float32),
        }

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes((self.target_hw,), "CornerLetterbox.target_size")

    def export_step(self) -> dict[str, Any]:
        values = np.broadcast_to(np.asarray(self.fill_value, np.float64), (3,))
        size = list(self.target_hw)
        return {"type": "CornerLetterbox", "target_size": size, "fill_value": values.tolist()}
