"""The data of a training run, checked before the first step."""

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.data.sources.dataset import Dataset, as_dataset
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.device.select import normalizes_on_device
from ppdet_lite.evaluate.checks import check_files
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
        seed=seed, rank=ranks.rank, world_size=ranks.world_size, raw_pixels=normalizes_on_device()
    )
    dataset, accumulate_steps = reader.dataset, cfg.settings.accumulate_steps
    check_class_count(cfg, dataset)
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
    check_files(dataset, reader.max_bad_fraction)
    return reader, setting


def evaluator_beside(cfg: Config, dataset: Dataset) -> Evaluator:
    """The evaluator of a training on `dataset`, made early so that its data is checked too.

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
