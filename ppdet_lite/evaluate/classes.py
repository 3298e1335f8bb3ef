"""The classes of a trained model: their names, their COCO categories, and whether data has them.

Class index i means what it meant in the training. Names are never taken from another data set.
"""

from typing import NamedTuple, Optional, Sequence

from ppdet_lite.core.build import create, resolve
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError
from ppdet_lite.data.sources.class_lists import compare_class_names, read_class_list
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.sources.files import join
from ppdet_lite.data.sources.image_folder import ImageFolder
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import read_meta
from ppdet_lite.weights.manifest import stem_of


class ModelClasses(NamedTuple):
    """The names of a model's classes by class index, and their categories in COCO results (None
    where nothing states any, and the class index is the category).
    """

    names: list[str]
    category_ids: Optional[list[int]]


def classes_of_model(cfg: Config, weights: Optional[str] = None) -> ModelClasses:
    """The classes that predictions of a model have.

    Names: those stored with the weights, else those of `TestDataset`, else COCO's for published
    weights of its classes, else "class 0", "class 1", ..., and a line says so.

    Categories, for the COCO metric: those stored with the weights, else those of a data set's
    annotation file, if it is there and has these very classes, else COCO's own, if the classes are
    COCO's.

    Raises:
        ConfigError: the names found do not fit `num_classes`.
        CheckpointError: the side file of the weights holds something else than a number per class.
    """
    stored = read_meta(weights) if weights else {}
    names, source = stored.get("class_names"), f"the weights {weights}"
    if not names and cfg.settings.TestDataset:
        dataset = create("TestDataset", cfg)
        names, source = dataset.class_names, f"TestDataset ({dataset.name})"
    if not names and stored.get("classes") == "coco":
        names, source = list(COCO_CATEGORIES.values()), f"the weights {weights}"
    names = _checked_names(cfg.settings.num_classes, names, source)
    if cfg.settings.metric != "COCO":
        return ModelClasses(names, None)
    ids = stored.get("category_ids")
    if ids is None:
        return ModelClasses(names, _ids_of_data(cfg, names))
    if not isinstance(ids, list) or [type(number) for number in ids] != [int] * len(names):
        raise CheckpointError(
            f"{stem_of(str(weights))}.meta.json: category_ids: found {ids!r}, allowed: "
            f"{len(names)} whole numbers, one for each class"
        )
    return ModelClasses(names, ids)


def _checked_names(count: int, names: Optional[Sequence[str]], source: str) -> list[str]:
    if not names:
        get_logger().info(
            "class names: neither the weights nor TestDataset state any; the classes are called "
            "class 0 to class %d (TestDataset.anno_path takes a COCO json or a label_list.txt%s)",
            count - 1,
            ", TestDataset.use_default_label=true the names of COCO" if count == 80 else "",
        )
        return [f"class {index}" for index in range(count)]
    if len(names) != count:
        raise ConfigError(
            f"num_classes: found {count}, but {source} name {len(names)} classes "
            f"({_shortened(names)}); set num_classes={len(names)} or give the matching names"
        )
    return [str(name) for name in names]


def _ids_of_data(cfg: Config, names: list[str]) -> Optional[list[int]]:
    found = _ids_of_section(cfg, "EvalDataset", names)
    if found is None and names == list(COCO_CATEGORIES.values()):
        return list(COCO_CATEGORIES)  # before COCO's large training file is read
    for section in ("TestDataset", "TrainDataset"):
        found = _ids_of_section(cfg, section, names) if found is None else found
    return found


def _ids_of_section(cfg: Config, section: str, names: list[str]) -> Optional[list[int]]:
    """Those of a data set's COCO json; None if there is none, or it has other classes."""
    cls, arguments, _ = resolve(section, cfg) if cfg.get(section) else (object, {}, None)
    path = join(arguments.get("dataset_dir"), arguments.get("anno_path") or "")
    is_coco = issubclass(cls, (COCODataSet, ImageFolder)) and path.suffix.lower() == ".json"
    if not is_coco or not path.is_file():
        return None
    try:
        classes = read_class_list(path)
    except DataError as error:  # the classes of a model do not depend on it
        get_logger().warning("category_ids: %s could tell them, but %s", section, error)
        return None
    return classes.category_ids if classes.names == names else None


def check_class_count(cfg: Config, dataset: Dataset) -> None:
    """The data must have `num_classes` classes.

    Raises:
        DataError: it has not; names the classes and the setting that fits.
    """
    names = dataset.class_names
    if len(names) != cfg.settings.num_classes:
        raise DataError(
            f"{dataset.name} has {len(names)} classes ({_shortened(names)}) but num_classes is "
            f"{cfg.settings.num_classes} ({cfg.origin('num_classes')}). Set "
            f"num_classes={len(names)} or point the configuration at the data it was made for."
        )


def check_class_order(name: str, class_names: Sequence[str], dataset: Dataset) -> None:
    """Class i must be the same thing in `class_names`, which belong to `name`, and in the data set.

    Every file numbers its classes in its own order, as in PaddleDetection, where another order
    permutes the classes without a word.

    Raises:
        DataError: names or order differ; says where.
    """
    if difference := compare_class_names(class_names, dataset.class_names):
        raise DataError(f"{name} and {dataset.name} {difference}.")


def check_classes_of_weights(cfg: Config, weights: str, dataset: Dataset) -> None:
    """The data must list its classes exactly as the data the weights were trained on. Weights
    without stored names cannot be checked; `num_classes` still is.

    Raises:
        DataError: another number, other names, or another order.
    """
    check_class_count(cfg, dataset)
    if trained := read_meta(weights).get("class_names"):
        check_class_order(f"The weights {weights}", trained, dataset)


def _shortened(names: Sequence[str], limit: int = 10) -> str:
    return ", ".join(map(str, names[:limit])) + (", ..." if len(names) > limit else "")
