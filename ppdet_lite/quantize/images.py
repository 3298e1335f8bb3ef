"""The images from which a quantization learns the ranges of values."""

from pathlib import Path
from typing import Callable, Optional, Union

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.sources.dataset import as_dataset
from ppdet_lite.export.calibration import Calibration, images_of_files
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.logger import get_logger

LEAST_IMAGES = 100
"""With fewer the ranges follow from single images."""

DEFAULT_IMAGES = 128


def find_images(
    cfg: Config, calib_dir: Union[str, Path, None], count: Optional[int]
) -> Callable[[InferConfig], Calibration]:
    """Images of a folder, else of `TrainDataset`; of many `count` of them, evenly spread. They are
    looked for and tried now; the result takes infer_cfg.yml, which says how they are prepared.

    Args:
        count: None for DEFAULT_IMAGES, of which LEAST_IMAGES have to be there; a number that is
            given may be smaller, with a warning.

    Raises:
        DataError: a folder or data set without images, or with too few that can be read.
    """
    if calib_dir is not None:
        paths, origin = list_images(calib_dir, option="calib_dir"), f"`calib_dir` {calib_dir}"
    elif cfg.settings.TrainDataset is None:
        raise DataError("TrainDataset: found none, allowed: one, or a folder `calib_dir`")
    else:
        dataset = as_dataset(create("TrainDataset", cfg))
        paths = [Path(dataset.image_path(index)) for index in range(len(dataset))]
        origin = f"TrainDataset ({dataset.name})"
    wanted = DEFAULT_IMAGES if count is None else count
    chosen = list(images_of_files(paths, "", InferConfig([], []), wanted).images.values())
    readable = [path for path in chosen if isinstance(path, Path) and _is_readable(path)]
    least = min(wanted, LEAST_IMAGES)
    if len(readable) < least:
        some = f"{len(readable)} that can be read of " if len(readable) < len(chosen) else ""
        raise DataError(
            f"{origin}: found {some}{len(chosen)} images, allowed: {least} or more; with fewer the "
            "ranges of values follow from single images (`calib_images` N takes fewer all the same)"
        )
    if len(readable) < LEAST_IMAGES:
        text = "%s: calibration on %d images only; %d or more are needed for ranges that hold"
        get_logger().warning(text, origin.replace("`", ""), len(readable), LEAST_IMAGES)
    name = "TrainDataset" if calib_dir is None else Path(calib_dir).name
    return lambda config: images_of_files(readable, name, config, len(readable))


def _is_readable(path: Path) -> bool:
    try:
        decode_image(path)
    except ImageError as error:
        get_logger().warning("calibration without %s: %s", path, error)
        return False
    return True
