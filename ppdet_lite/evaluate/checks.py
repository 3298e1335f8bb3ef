"""Checks before any image is read: that data and model fit."""

from typing import Any

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.pixels.file_check import ALL_CHECKED, SAMPLE, files_to_check
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.modeling.contracts import Detector
from ppdet_lite.utils.logger import get_logger

_FILES_SHOWN = 10


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


def tell_detection_limit(dataset: Dataset, model: Detector) -> None:
    """Warns of images with more objects than the network may return."""
    limit, most = model.post_process.nms.arguments.get("keep_top_k", -1), dataset.most_objects()
    if 0 <= limit < most:
        get_logger().warning(
            "%s: up to %d objects in an image, but nms.keep_top_k keeps %d detections: the others "
            "count as missed; set BBoxPostProcess.nms.keep_top_k=%d",
            *(dataset.name, most, limit, most),
        )


def readable_part(dataset: Dataset, allowed_share: float, check: str) -> Dataset:
    """The data set without images that cannot be read, so that hours of work do not end at one of
    them. Up to the `allowed_share` of them there is a warning.

    Args:
        check: the setting `check_images`: `auto` or as in `image_problem`.

    Raises:
        DataError: more cannot be read, or none can.
    """
    bad = dataset.unreadable_files(check)
    if check == "auto" and len(dataset) > ALL_CHECKED:
        text = "%s: looked at %d of %d image files; check_images: headers looks at all"
        get_logger().info(text, dataset.name, SAMPLE, len(dataset))
    if not bad:
        return dataset
    part = dataset.without(bad)
    paths = (dataset.image_path(index) for index in range(len(dataset)))
    count = len(files_to_check(paths, check))
    more = [f"and {len(bad) - _FILES_SHOWN} more"] if len(bad) > _FILES_SHOWN else []
    lines = "\n  ".join([*list(bad.values())[:_FILES_SHOWN], *more])
    what = f"{dataset.name}: {len(bad)} of {count} images cannot be read"
    if len(bad) > allowed_share * count or not len(part):
        raise DataError(
            f"{what}, more than max_bad_fraction {allowed_share:g} allows; correct image_dir, "
            f"dataset_dir, the annotations or the files:\n  {lines}"
        )
    get_logger().warning("%s and are left out:\n  %s", what, lines)
    return part
