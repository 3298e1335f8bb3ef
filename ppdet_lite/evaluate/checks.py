"""Checks before any image is read: that data and model fit."""

from typing import Any

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.modeling.contracts import Detector
from ppdet_lite.utils.logger import get_logger

_FILES_SHOWN = 3


def check_input_sizes(reader: Any, model: Detector) -> None:
    """Every size that the reader makes must be a multiple of the model's largest stride, because
    the maps of its levels are joined after upsampling.

    Raises:
        ConfigError: names the key, the sizes and the nearest ones that work.
    """
    stride = model.largest_stride
    key, sizes = reader.input_sizes()
    bad = [size for size in sizes if size[0] % stride or size[1] % stride]
    if bad:
        height, width = (max(stride, round(side / stride) * stride) for side in bad[0])
        found = ", ".join(f"{height} x {width}" for height, width in bad)
        raise ConfigError(
            f"{key}: found {found} (height x width), allowed: multiples of {stride}, for instance "
            f"{height} x {width}"
        )


def check_files(dataset: Dataset, allowed_share: float = 0.0) -> None:
    """Looks for images that are not there, so that hours of work do not end at one of them. Up to
    the `allowed_share` of them there is only a warning, because the reader leaves them out.

    Raises:
        DataError: more are missing; names the first.
    """
    missing = dataset.missing_files(limit=len(dataset))
    if not missing:
        return
    more = f" and {len(missing) - _FILES_SHOWN} more" if len(missing) > _FILES_SHOWN else ""
    what = (
        f"{dataset.name}: {len(missing)} of {len(dataset)} images do not exist: "
        f"{', '.join(missing[:_FILES_SHOWN])}{more}."
    )
    if len(missing) > allowed_share * len(dataset):
        raise DataError(f"{what} Correct image_dir or dataset_dir, or the annotations.")
    get_logger().warning("%s They are left out.", what)
