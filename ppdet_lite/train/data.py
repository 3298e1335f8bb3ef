"""The data of a training run, checked before the first step."""

import numpy as np

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.device.select import normalizes_on_device
from ppdet_lite.evaluate.checks import readable_part
from ppdet_lite.evaluate.classes import check_class_count, check_class_order
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.utils.logger import get_logger


def training_reader(cfg: Config, seed: int, ranks: Ranks) -> tuple[Reader, dict[str, int]]:
    """The reader of this process and the settings that the order of its samples depends on.

    Raises:
        ConfigError: there are too few images for one step per epoch.
        DataError: the classes are not those of the configuration, or images do not exist.
    """
    reader = create("TrainReader", cfg).bound(
        seed=seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
        raw_pixels=normalizes_on_device(),
        epochs=cfg.settings.epoch,
    )
    dataset, accumulate_steps = reader.dataset, cfg.settings.accumulate_steps
    check_class_count(cfg, dataset)
    _check_objects(dataset)
    for name in [*map(str, dataset.class_names), cfg.name]:
        if name.encode("utf-8", "replace").decode() != name:
            what = f"the configuration's name {name!r}"
            if name != cfg.name:
                what = f"{dataset.name}: class name {name!r}"
            raise DataError(
                f"{what} cannot be written as UTF-8, so no checkpoint could hold it; rename it"
            )
    setting = {
        "images": len(dataset),
        "batch_size": reader.batch_size,
        "processes": ranks.world_size,
        "accumulate_steps": accumulate_steps,
        "steps_per_epoch": len(reader) // accumulate_steps,
    }
    if setting["steps_per_epoch"] == 0:
        raise ConfigError(
            f"{dataset.name} has {len(dataset)} images: with TrainReader.batch_size="
            f"{reader.batch_size}, accumulate_steps={accumulate_steps} and {ranks.world_size} "
            f"process(es) not one step per epoch is left. Use a smaller TrainReader.batch_size, "
            f"TrainReader.drop_last=false, or accumulate_steps=1."
        )
    for line in dataset.report_lines:
        get_logger().info(line)
    # The reader puts others in the place of images that cannot be read.
    readable_part(dataset, reader.max_bad_fraction, cfg.settings.check_images)
    return reader, setting


def _check_objects(dataset: Dataset) -> None:
    """A DataError for a data set without one object of at least a pixel, with the reasons."""
    count = 0
    for index in range(len(dataset)):
        boxes = np.reshape(dataset.record(index).get("gt_bbox", ()), (-1, 4))
        if (boxes[:, 2:] - boxes[:, :2] > 1).any():
            return
        count += len(boxes)
    problem = "there is no object to train on"
    if count:
        problem += f": none of {count} boxes is larger than a pixel; they must be given in pixels"
    lines = [f"{dataset.name}: {problem}", *dataset.report_lines]
    if any(" crowd" in line for line in lines):
        lines.append("TrainDataset.load_crowd=true takes crowd boxes as objects")
    raise DataError("\n  ".join(lines))


def evaluator_beside(cfg: Config, dataset: Dataset) -> Evaluator:
    """The evaluator of a training on `dataset`, made early so that its data is checked too.

    Raises:
        ConfigError: there is no `EvalDataset`.
        DataError: its classes are other ones, or images do not exist.
    """
    if cfg.settings.EvalDataset is None:
        raise ConfigError("EvalDataset: missing in the configuration, and `evaluate` needs it")
    reader = create("EvalReader", cfg)
    check_class_order(dataset.name, dataset.class_names, reader.dataset)
    part = readable_part(reader.dataset, reader.max_bad_fraction, cfg.settings.check_images)
    return Evaluator(cfg, dataset=part, reader=reader)
