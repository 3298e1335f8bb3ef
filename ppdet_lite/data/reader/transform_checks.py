"""What cannot work in a reader's transform lists, found when the reader is made."""

from typing import Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.transforms.distort import RandomDistort
from ppdet_lite.data.transforms.expand_flip import RandomFlip
from ppdet_lite.data.transforms.hsv import AugmentHSV
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad, PadResize
from ppdet_lite.data.transforms.resize import BatchRandomResize, Resize
from ppdet_lite.data.transforms.transform import Transform

_SETS_SIZE = (BatchRandomResize, Pad, PadResize, Resize)
_KEEPS_SIZE = (AugmentHSV, NormalizeImage, Permute, RandomDistort, RandomFlip)


def check_sheets(sample_transforms: list, batch_transforms: list) -> None:
    """Looks for a `Pad` whose sheet is smaller than the images that the step before makes.

    Only what is certain counts: a fixed size that does not fit, or, after a resize that keeps the
    shape of images, a sheet that none of them fits into, whatever its shape.

    Raises:
        ConfigError: there is one; its key starts with the list that it stands in.
    """
    groups = {"sample_transforms": sample_transforms, "batch_transforms": batch_transforms}
    before = None  # key and step that decide about the size of the images
    for group, steps in groups.items():
        for index, step in enumerate(steps):
            key = f"{group}.{index}.{type(step).__name__}"
            if isinstance(step, Pad) and before is not None:
                _check_sheet(key, step, *before)
            if isinstance(step, _SETS_SIZE):
                before = (key, step) if step.sizes else None
            elif not isinstance(step, _KEEPS_SIZE):
                before = None


def _check_sheet(key: str, pad: Pad, key_before: str, before: Transform) -> None:
    size = _too_large(pad, before)
    if size is None:
        return
    setting = "offsets" if pad.size is None else "size"
    found = getattr(pad, setting)
    offsets = f" with offsets {list(pad.offsets)}" if setting == "size" and pad.offsets else ""
    source = f"{key_before}.{getattr(before, 'size_key', 'target_size')}"
    raise ConfigError(
        f"{key}.{setting}: found {list(found)}{offsets}, which does not hold the images of "
        f"{source} {list(size)}{' (keep_ratio)' if before.keep_ratio else ''}"
    )


def _too_large(pad: Pad, before: Transform) -> Optional[tuple]:
    """The size among those of the step before whose images do not fit; None when all may."""
    for height, width in before.sizes:
        if before.keep_ratio:  # every image has the full height or the full width, or both
            fits = pad.holds(height, 1) or pad.holds(1, width)
        else:
            fits = pad.holds(height, width)
        if not fits:
            return height, width
    return None
