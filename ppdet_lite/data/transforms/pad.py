"""Pad and PadResize: images of any shape on a sheet of one size."""

from typing import Any, Literal, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms import kinds
from ppdet_lite.data.transforms.objects import Sample, moved_objects, select_objects
from ppdet_lite.data.transforms.resize import with_new_size
from ppdet_lite.data.transforms.transform import Context, ImageSizes, Transform, lazy_image

# Share of the free space that goes left of and above the image, per pad_mode.
_SHARES = {0: 0.0, 1: 0.5, 2: 1.0}


@register
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

    def __init__(
        self,
        size: Optional[kinds.Size] = None,
        size_divisor: kinds.Count = 32,
        pad_mode: Literal[-1, 0, 1, 2] = 0,
        offsets: Optional[kinds.Offsets] = None,
        fill_value: kinds.Fill = (127.5, 127.5, 127.5),
    ):
        if (pad_mode == -1) != (offsets is not None):
            raise ConfigError(
                f"offsets: found {offsets!r} with pad_mode {pad_mode}, allowed: [x, y] with "
                "pad_mode -1, none with the others"
            )
        self.size = None if size is None else kinds.height_width(size)
        self.size_divisor = size_divisor
        self.pad_mode = pad_mode
        self.offsets = offsets
        self.fill_value = fill_value

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
        sheet_h, sheet_w = self.size or (
            -(-side // self.size_divisor) * self.size_divisor for side in (height, width)
        )
        if self.offsets is not None:
            return sheet_h, sheet_w, self.offsets[0], self.offsets[1]
        share = _SHARES[self.pad_mode]
        return sheet_h, sheet_w, int((sheet_w - width) * share), int((sheet_h - height) * share)

    def output_sizes(self, sizes: Optional[ImageSizes]) -> Optional[ImageSizes]:
        if sizes is not None:
            self._check_sizes(sizes)
        if self.size is not None:
            return ImageSizes((self.size,), "Pad.size")
        if sizes is None or sizes.keep_ratio:
            return None
        sheets = (self._layout(*size_hw)[:2] for size_hw in sizes.all_hw)
        return ImageSizes(tuple(dict.fromkeys(sheets)), "Pad.size_divisor")

    def _check_sizes(self, sizes: ImageSizes) -> None:
        """Refuses a sheet that does not hold one of the sizes; where images keep their shapes, one
        that holds none of them, whatever its shape.
        """
        for height, width in sizes.all_hw:
            shapes = ((height, 1), (1, width)) if sizes.keep_ratio else ((height, width),)
            if any(self.holds(*shape) for shape in shapes):
                continue
            found = f"offsets: found {self.offsets}"
            if self.size is not None:
                more = f" with offsets {list(self.offsets)}" if self.offsets else ""
                found = f"size: found {list(self.size)}{more}"
            raise ConfigError(
                f"{found}, which does not hold the images of {sizes.set_by} "
                f"{[height, width]}{' (keep_ratio)' if sizes.keep_ratio else ''}"
            )

    def export_step(self) -> dict[str, Any]:
        if self.size is None or self.pad_mode != 0:
            needed = "size, and pad_mode 0 (right and below)"
            raise ConfigError(f"Pad cannot be exported without {needed}")
        values = np.broadcast_to(np.asarray(self.fill_value, np.float64), (3,))
        return {"type": "Pad", "size": list(self.size), "fill_value": values.tolist()}


@register
class PadResize(Transform):
    """Fit the image into `target_size`, keeping its shape, and pad right and below.

    Boxes are scaled, not cut; objects whose smaller side is then 1 px or less are left out.
    `im_shape` becomes the size before padding, `scale_factor` (y, x) is multiplied by new / old.

    Args:
        target_size: [height, width], or one side of a square.
        fill_value: color of the padding, one number or R, G, B in 0..255.
    """

    def __init__(self, target_size: kinds.Size, fill_value: kinds.Fill = 114):
        self.target_size = kinds.height_width(target_size)
        self.fill_value = fill_value

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = lazy_image(sample)
        height, width = image.size_hw
        target_h, target_w = self.target_size
        scale = min(target_h / height, target_w / width)
        # Fractions are cut off, as PaddleDetection does in training (its evaluation rounds).
        new_hw = max(int(height * scale), 1), max(int(width * scale), 1)
        if new_hw != (height, width):
            image = image.resize(*new_hw, 1)
        if new_hw != self.target_size:
            image = image.expand(target_w, target_h, 0, 0, self.fill_value)
        fitted = with_new_size(sample, image, new_hw)
        fitted.update(moved_objects(sample, [float(np.float32(scale))] * 2))
        if "gt_bbox" not in sample:
            return fitted
        sides = fitted["gt_bbox"][:, 2:] - fitted["gt_bbox"][:, :2]
        return select_objects(fitted, np.flatnonzero(sides.min(axis=1) > 1))

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes((self.target_size,), "PadResize.target_size")
