"""Which categories of COCO results the class indices of a model are."""

from typing import Optional, Sequence

from ppdet_lite.core.errors import CheckpointError, DataError
from ppdet_lite.core.workspace import resolve
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.image_folder import ImageFolder
from ppdet_lite.data.sources.paths import join
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import read_meta, stem_of


def resolve_category_ids(
    cfg, weights: Optional[str], class_names: Sequence[str]
) -> Optional[list[int]]:
    """The category by class index that tools/eval.py would write into COCO results.

    Those stored with the weights; else those of a data set's annotation file, if it is there and
    has these very classes; else COCO's own, if the classes are COCO's. None where nothing states
    any: the class index is the category.

    Args:
        class_names: by class index, as `resolve_class_names` gives them.

    Raises:
        CheckpointError: the side file of the weights holds something else than a number per class.
    """
    if str(cfg.get("metric", "COCO")) != "COCO":
        return None
    stored = read_meta(weights).get("category_ids") if weights else None
    if stored is not None:
        are_ints = isinstance(stored, list) and all(type(number) is int for number in stored)
        if not are_ints or len(stored) != len(class_names):
            raise CheckpointError(
                f"{stem_of(weights)}.meta.json: category_ids: found {stored!r}, allowed: "
                f"{len(class_names)} whole numbers, one for each class"
            )
        return stored
    names = list(class_names)
    found = _ids_of_section(cfg, "EvalDataset", names)
    if found is None and names == list(COCO_CATEGORIES.values()):
        found = list(COCO_CATEGORIES)  # before COCO's large training file is read
    for section in ("TestDataset", "TrainDataset"):
        found = _ids_of_section(cfg, section, names) if found is None else found
    return found


def _ids_of_section(cfg, section: str, class_names: list[str]) -> Optional[list[int]]:
    """From a data set's COCO json; None if there is none, or it has other classes."""
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
    except DataError as error:  # classes of a model do not depend on it
        get_logger().warning("category_ids: %s could tell them, but %s", section, error)
        return None
    if [category["name"] for category in categories] != class_names:
        return None
    return [category["id"] for category in categories]
