"""The data of a training run: a reader for this process, checked before the first step."""

from typing import NamedTuple, Optional

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.data.sources.dataset import Dataset, as_dataset
from ppdet_lite.data.transforms.transform import Transform
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.device.select import normalizes_on_device
from ppdet_lite.evaluate.checks import check_files
from ppdet_lite.evaluate.classes import check_class_count, check_class_order
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.utils.logger import get_logger


class TrainingData(NamedTuple):
    """A reader and how its batches become steps.

    Attributes:
        reader: gives this process its batches.
        accumulate_steps: batches per process and optimizer step.
        steps_per_epoch: optimizer steps.
    """

    reader: Reader
    accumulate_steps: int
    steps_per_epoch: int

    @property
    def batch_setting(self) -> dict[str, int]:
        """The settings that the order of the samples depends on."""
        return {
            "images": len(self.reader.dataset),
            "batch_size": self.reader.batch_size,
            "processes": self.reader.order.world_size,
            "accumulate_steps": self.accumulate_steps,
            "steps_per_epoch": self.steps_per_epoch,
        }

    @property
    def mosaic_epoch(self) -> Optional[int]:
        """The epoch in which mosaics end; None for a reader without mosaics."""
        steps = [step for step in self.reader.sample_transforms if isinstance(step, Transform)]
        mixes = any(step.switched_by == "mosaic_epoch" for step in steps)
        return self.reader.mosaic_epoch if mixes else None


def training_data(cfg: Config, seed: int, ranks: Ranks) -> TrainingData:
    """The data of `TrainReader`.

    Raises:
        ConfigError: not one step per epoch comes of it.
        DataError: the classes are not those of the configuration, or images do not exist.
    """
    reader = create("TrainReader", cfg).bound(
        seed=seed, rank=ranks.rank, world_size=ranks.world_size, raw_pixels=normalizes_on_device()
    )
    dataset, accumulate_steps = reader.dataset, cfg.settings.accumulate_steps
    check_class_count(cfg, dataset)
    steps = len(reader) // accumulate_steps
    if steps == 0:
        raise ConfigError(
            f"{dataset.name} has {len(dataset)} images: with TrainReader.batch_size="
            f"{reader.batch_size}, accumulate_steps={accumulate_steps} and {ranks.world_size} "
            f"process(es) not one step per epoch is left. Use a smaller TrainReader.batch_size, "
            f"TrainReader.drop_last=false, or accumulate_steps=1."
        )
    for line in dataset.report_lines:
        get_logger().info(line)
    check_files(dataset, reader.max_bad_fraction)
    return TrainingData(reader, accumulate_steps, steps)


def evaluator_beside(cfg: Config, dataset: Dataset) -> Evaluator:
    """The evaluator of a training on `dataset`, made before the training so that its data is
    checked too.

    Raises:
        ConfigError: there is no `EvalDataset`.
        DataError: its classes are other ones, or images do not exist.
    """
    if cfg.settings.EvalDataset is None:
        raise ConfigError("EvalDataset: missing in the configuration, and `evaluate` needs it")
    eval_dataset = as_dataset(create("EvalDataset", cfg))
    check_class_order(dataset.name, dataset.class_names, eval_dataset)
    check_files(eval_dataset)
    return Evaluator(cfg, dataset=eval_dataset)
