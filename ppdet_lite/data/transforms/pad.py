"""Pad and PadResize: images of any shape on a sheet of one size."""

from typing import Any, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.pixels.image_ops import FillValue
from ppdet_lite.data.transforms.objects import (
    Sample,
    moved_polygons,
    select_objects,
    shifted_objects,
)
from ppdet_lite.data.transforms.resize import height_width, with_new_size
from ppdet_lite.data.transforms.transform import (
    Context,
    ImageSizes,
    Transform,
    checked_fill,
    lazy_image,
)

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
        size: Optional[Union[int, Sequence[int]]] = None,
        size_divisor: int = 32,
        pad_mode: int = 0,
        offsets: Optional[Sequence[int]] = None,
        fill_value: FillValue = (127.5, 127.5, 127.5),
    ):
        if pad_mode not in (*_SHARES, -1):
            raise ConfigError(f"pad_mode: found {pad_mode!r}, allowed: -1, 0, 1, 2")
        if (pad_mode == -1) != (offsets is not None) or (offsets and len(offsets) != 2):
            raise ConfigError(
                f"offsets: found {offsets!r} with pad_mode {pad_mode}, allowed: [x, y] with "
                "pad_mode -1, none with the others"
            )
        if size is None and size_divisor < 1:
            raise ConfigError(f"size_divisor: found {size_divisor}, allowed: 1 or more")
        self.size = None if size is None else height_width(size, "size")
        self.size_divisor = size_divisor
        self.pad_mode = pad_mode
        self.offsets = offsets
        self.fill_value = checked_fill(fill_value)

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
        return {**sample, "image": image, **shifted_objects(sample, left, top)}

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
            if sizes.keep_ratio:
                fits = self.holds(height, 1) or self.holds(1, width)
            else:
                fits = self.holds(height, width)
            if not fits:
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
            raise ConfigError(
                "Pad cannot be exported without size or with another pad_mode than 0 (right and "
                "below)"
            )
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

    def __init__(self, target_size: Union[int, Sequence[int]], fill_value: FillValue = 114):
        self.target_size = height_width(target_size)
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
        fitted.update(moved_polygons(sample, (scale, scale)))
        if "gt_bbox" not in sample:
            return fitted
        fitted["gt_bbox"] = boxes_xyxy = sample["gt_bbox"] * np.float32(scale)
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        return select_objects(fitted, np.flatnonzero(sides.min(axis=1) > 1))

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes((self.target_size,), "PadResize.target_size")
