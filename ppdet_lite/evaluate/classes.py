"""The classes of a trained model: their names, their COCO categories, and whether data has them.

Class index i means what it meant in the training. Names are never taken from another data set.
"""

from typing import NamedTuple, Optional, Sequence

from ppdet_lite.core.build import create, resolve
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.image_folder import ImageFolder
from ppdet_lite.data.sources.label_lists import compare_class_names
from ppdet_lite.data.sources.paths import join
from ppdet_lite.evaluate.checks import name_of
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import read_meta, stem_of


class ModelClasses(NamedTuple):
    """The classes of a model, by class index.

    Attributes:
        names: of the classes.
        category_ids: their categories in COCO results; None where nothing states any, and the
            class index is the category.
    """

    names: list[str]
    category_ids: Optional[list[int]]


def classes_of_model(cfg, weights: Optional[str] = None) -> ModelClasses:
    """The classes that predictions of a model have.

    Names: those stored with the weights, else those of `TestDataset`, else "class 0", "class 1",
    ..., and a line says so. Categories, for the COCO metric: those stored with the weights, else
    those of a data set's annotation file, if it is there and has these very classes, else COCO's
    own, if the classes are COCO's.

    Raises:
        ConfigError: the names found do not fit `num_classes`.
        CheckpointError: the side file of the weights holds something else than a number per class.
    """
    names = _class_names(cfg, weights)
    return ModelClasses(names, _category_ids(cfg, weights, names))


def check_class_count(cfg, dataset) -> None:
    """The data must have as many classes as `num_classes` says.

    Raises:
        DataError: it has not; names the classes and the setting that fits.
    """
    names = list(dataset.class_names)
    if len(names) != cfg.num_classes:
        raise DataError(
            f"{name_of(dataset)} has {len(names)} classes ({_shortened(names)}) but num_classes is "
            f"{cfg.num_classes} ({cfg.origin('num_classes')}). Set num_classes={len(names)} or "
            f"point the configuration at the data it was made for."
        )


def check_class_order(name: str, class_names: Sequence[str], dataset) -> None:
    """Class i must be the same thing in `class_names`, which belong to `name`, and in the data set.

    Every file numbers its classes in its own order, as in PaddleDetection, where another order
    permutes the classes without a word.

    Raises:
        DataError: names or order differ; says where.
    """
    difference = compare_class_names(class_names, dataset.class_names)
    if difference:
        raise DataError(f"{name} and {name_of(dataset)} {difference}.")


def check_classes_of_weights(cfg, weights: str, dataset) -> None:
    """The data set must list its classes exactly as the data the weights were trained on.

    Weights without stored names cannot be checked; `num_classes` still is.

    Raises:
        DataError: another number, other names, or another order.
    """
    check_class_count(cfg, dataset)
    trained = read_meta(weights).get("class_names")
    if trained:
        check_class_order(f"The weights {weights}", trained, dataset)


def _class_names(cfg, weights: Optional[str]) -> list[str]:
    num_classes = int(cfg.get("num_classes", 80))
    names = read_meta(weights).get("class_names") if weights else None
    source = f"the weights {weights}"
    if not names and cfg.get("TestDataset"):
        dataset = create("TestDataset", cfg)
        names, source = dataset.class_names, f"TestDataset ({getattr(dataset, 'anno_path', None)})"
    if not names:
        get_logger().info(
            "class names: neither the weights nor TestDataset state any; the classes are called "
            "class 0 to class %d (TestDataset.anno_path takes a COCO json or a label_list.txt%s)",
            num_classes - 1,
            ", TestDataset.use_default_label=true the names of COCO" if num_classes == 80 else "",
        )
        return [f"class {index}" for index in range(num_classes)]
    if len(names) != num_classes:
        raise ConfigError(
            f"num_classes: found {num_classes}, but {source} name {len(names)} classes "
            f"({_shortened(names)}); set num_classes={len(names)} or give the matching names"
        )
    return [str(name) for name in names]


def _category_ids(cfg, weights: Optional[str], names: list[str]) -> Optional[list[int]]:
    if str(cfg.get("metric", "COCO")) != "COCO":
        return None
    stored = read_meta(weights).get("category_ids") if weights else None
    if weights and stored is not None:
        are_ints = isinstance(stored, list) and all(type(number) is int for number in stored)
        if not are_ints or len(stored) != len(names):
            raise CheckpointError(
                f"{stem_of(weights)}.meta.json: category_ids: found {stored!r}, allowed: "
                f"{len(names)} whole numbers, one for each class"
            )
        return stored
    found = _ids_of_section(cfg, "EvalDataset", names)
    if found is None and names == list(COCO_CATEGORIES.values()):
        found = list(COCO_CATEGORIES)  # before COCO's large training file is read
    for section in ("TestDataset", "TrainDataset"):
        found = _ids_of_section(cfg, section, names) if found is None else found
    return found


def _ids_of_section(cfg, section: str, names: list[str]) -> Optional[list[int]]:
    """Those of a data set's COCO json; None if there is none, or it has other classes."""
    if not cfg.get(section):
        return None
    cls, arguments, _ = resolve(section, cfg)
    anno_path = arguments.get("anno_path")
    if not anno_path or not issubclass(cls, (COCODataSet, ImageFolder)):
        return None
    path = join(arguments.get("dataset_dir"), anno_path)
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        categories = read_coco(path, use_polygons=False).categories
    except DataError as error:  # the classes of a model do not depend on it
        get_logger().warning("category_ids: %s could tell them, but %s", section, error)
        return None
    if [category["name"] for category in categories] != names:
        return None
    return [category["id"] for category in categories]


def _shortened(names: Sequence[str], limit: int = 10) -> str:
    text = ", ".join(str(name) for name in names[:limit]) or "none"
    return f"{text}, ..." if len(names) > limit else text
