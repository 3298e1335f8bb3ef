"""Which names the class indices of a model have. They are never taken from another data set."""

from typing import NamedTuple, Optional, Sequence

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.evaluate.checks import check_class_order, check_dataset_against_config
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import read_meta


def resolve_class_names(cfg, weights: Optional[str] = None) -> list[str]:
    """Class names for predictions: those stored with the weights, else those of `TestDataset`.

    When neither states any, the classes are called "class 0", "class 1", ... and a line says so.

    Raises:
        ConfigError: the names found do not fit `num_classes`.
    """
    num_classes = int(cfg.get("num_classes", 80))
    names = read_meta(weights).get("class_names") if weights else None
    source = f"the weights {weights}"
    if not names:
        names, source = _names_of_test_dataset(cfg)
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
            f"({_shortened(names)}); use -o num_classes={len(names)} or the matching names"
        )
    return [str(name) for name in names]


def _names_of_test_dataset(cfg) -> tuple[list[str], str]:
    if not cfg.get("TestDataset"):
        return [], "TestDataset"
    dataset = create("TestDataset", cfg)
    return list(dataset.class_names), f"TestDataset ({getattr(dataset, 'anno_path', None)})"


class _NamedClasses(NamedTuple):
    """Class names with where they come from, as `check_class_order` takes them."""

    name: str
    class_names: list[str]


def check_names_against_weights(cfg, weights: str, dataset) -> None:
    """The data set must list its classes exactly as the data the weights were trained on.

    Weights without stored names cannot be checked; `num_classes` still is.

    Raises:
        DataError: another number, other names, or another order.
    """
    check_dataset_against_config(cfg, dataset)
    trained = [str(name) for name in read_meta(weights).get("class_names") or []]
    if trained:
        check_class_order(_NamedClasses(f"The weights {weights}", trained), dataset)


def _shortened(names: Sequence[str], limit: int = 8) -> str:
    text = ", ".join(str(name) for name in names[:limit]) or "none"
    return f"{text}, ..." if len(names) > limit else text
