"""Images that show the values inside a network, as inputs of its graph."""

from pathlib import Path
from typing import Iterator, Mapping, NamedTuple, Sequence, Union

import numpy as np

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ImageError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.sources.dataset import as_dataset
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.runtime.engines.engine import Arrays, shortened, stack_samples
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.logger import get_logger

MAX_IMAGES = 32
"""Largest values hardly grow with more, and each image costs a run of the network."""

Images = Mapping[str, Union[np.ndarray, Path]]


class Calibration(NamedTuple):
    """Images as a graph takes them.

    Attributes:
        source: number and origin, for people.
        images: uint8 RGB images or paths of files, by name.
        config: infer_cfg.yml, with the preprocessing and the batch size.
    """

    source: str
    images: Images
    config: InferConfig

    def batches(self) -> Iterator[Arrays]:
        """Inputs by name, one image at a time, as often as a fixed batch size wants it. Files that
        cannot be read are left out with a warning; a UserError if all are."""
        preprocess, copies, count = self.config.make_preprocess(), self.config.batch or 1, 0
        for name, image in self.images.items():
            try:
                pixels = decode_image(image) if isinstance(image, Path) else image
            except ImageError as error:
                get_logger().warning("calibration without %s: %s", name, error)
                continue
            count += 1
            yield stack_samples([preprocess(pixels)] * copies)
        if not count:
            raise UserError(f"`calib_dir`: of {self.source} none can be read")


def find_calibration(
    cfg: Config, calib_dir: Union[str, Path, None], config: InferConfig, otherwise: Images
) -> Calibration:
    """The images of a folder, else of `EvalDataset`, else `otherwise`, with a warning; of many
    images some, evenly spread. A DataError for a folder without images."""
    if calib_dir is not None:
        return images_of_files(list_images(calib_dir, option="calib_dir"), "calib_dir", config)
    reason = "the configuration names none"
    try:
        if cfg.settings.EvalDataset is not None:
            dataset = as_dataset(create("EvalDataset", cfg))
            paths = [Path(dataset.image_path(i)) for i in range(len(dataset))]
            if found := [path for path in paths if path.is_file()]:
                return images_of_files(found, "EvalDataset", config)
            reason = f"none of its {len(paths)} images is there"
    except UserError as error:
        reason = shortened(" ".join(str(error).split()), 150)
    names = " and ".join(otherwise) if len(otherwise) < 3 else f"{len(otherwise)} images"
    get_logger().warning(
        "float16: overflow is looked for on %s only, as EvalDataset cannot be used (%s); give a "
        "folder of photos (`calib_dir`)",
        names,
        reason,
    )
    return Calibration(names, otherwise, config)


def images_of_files(
    paths: Sequence[Path], origin: str, config: InferConfig, most: int = MAX_IMAGES
) -> Calibration:
    """Images of files, of many some, evenly spread; `origin` is for people."""
    count = min(most, len(paths))
    chosen = np.linspace(0, len(paths) - 1, count).round().astype(int)
    images = {str(paths[i]): paths[i] for i in chosen}
    return Calibration(f"{count} images of {origin}", images, config)
