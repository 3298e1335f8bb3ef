"""The classes of data sets: reading lists of them and comparing those of two data sets."""

from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence, Union

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import read_yaml
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.files import error_at, not_allowed, raise_all, read_lines, require_file


class ClassList(NamedTuple):
    """Names and numbers in COCO results, both by class index."""

    names: list[str]
    category_ids: list[int]


def numbered(names: Sequence[str]) -> ClassList:
    """Classes that have no numbers of their own: 1, 2, ..."""
    return ClassList(list(names), list(range(1, len(names) + 1)))


def of_categories(categories: Sequence[dict[str, Any]]) -> ClassList:
    """The classes of the `categories` of a COCO file."""
    return ClassList([item["name"] for item in categories], [item["id"] for item in categories])


def given_classes(
    label_list: Union[str, list[str]], dataset_dir: Optional[str]
) -> tuple[ClassList, str]:
    """The classes of a `label_list`, which names a file (see `read_class_list`) or holds the names
    themselves; and what to call their source.
    """
    if isinstance(label_list, str):
        file = require_file("dataset_dir + label_list", dataset_dir, label_list)
        return read_class_list(file), str(file)
    repeated = [name for name in label_list if label_list.count(name) > 1]
    if repeated or not label_list:
        found = f"'{repeated[0]}' twice" if repeated else "no name"
        raise DataError(f"label_list: found {found}, allowed: the names of the classes, each once")
    return numbered(label_list), "label_list"


def read_class_list(path: Path, check_count: bool = True) -> ClassList:
    """The classes that a file names.

    Args:
        check_count: refuse a YAML file with `count_problems`.
        path: a text file with one name per line (blank lines are skipped), a YAML file with
            `names`, or a COCO json.

    Raises:
        DataError: the file is not usable, has no class, or names one twice.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return of_categories(read_coco(path, use_polygons=False).categories)
    if suffix in (".yaml", ".yml"):
        if check_count:
            raise_all(count_problems(path), 1, "class lists")
        lines: list[tuple[Optional[int], str]] = [(None, name) for name in _names_in_yaml(path)[0]]
    else:
        lines = [*read_lines(path)]
    if not lines:
        raise DataError(f"{path}: no class names in it; one per line is needed")
    line_of: dict[str, Optional[int]] = {}
    for number, name in lines:
        if name in line_of:
            where = f" in line {line_of[name]}" if number else ""
            raise error_at(path, number, f"'{name}' stands already{where}")
        line_of[name] = number
    return numbered(list(line_of))


def count_problems(path: Path) -> list[DataError]:
    """The error about an `nc` in a YAML file that is not the number of its `names`, if it is so."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return []
    names, count = _names_in_yaml(path)
    if count == len(names):
        return []
    problem = not_allowed(count, f"{len(names)}, the number of names")
    return [error_at(path, None, "nc", problem)]


def _names_in_yaml(path: Path) -> tuple[list[str], Any]:
    """`names` and `nc`."""
    content = read_yaml(path, DataError, text_keys=("names",)).value
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        allowed = "a list of class names, or a mapping of 0, 1, 2, ... to them"
        raise error_at(path, None, "names", not_allowed(names, allowed))
    return names, content.get("nc", len(names))


def compare_class_names(first: Sequence[str], second: Sequence[str]) -> str:
    """The difference between the classes of two data sets, as the end of a sentence about both.

    A network's outputs are numbered as its training data numbers the classes, so the evaluation
    data must have the same names in the same order.

    Returns:
        "" when both are equal, otherwise "have ...", without a full stop.
    """
    first, second = list(first), list(second)
    if first == second:
        return ""
    if sorted(first) == sorted(second):
        index = next(i for i, pair in enumerate(zip(first, second)) if pair[0] != pair[1])
        return (
            f"have the same classes in another order: class {index} is '{first[index]}' in one "
            f"and '{second[index]}' in the other. Write the `categories` (or label list) in the "
            "same order"
        )
    extra = [name for name in first if name not in second]
    other = [name for name in second if name not in first]
    hint = nearest_hint(other[0], extra) if len(other) == 1 else ""
    return (
        f"have different classes: only in the first: {_listed(extra)}; only in the second: "
        f"{_listed(other)}{hint}"
    )


def _listed(names: list[str], limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "none"
