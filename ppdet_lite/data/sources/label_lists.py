"""Class names: reading lists of them and comparing those of two data sets."""

from pathlib import Path
from typing import Sequence

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.sources.paths import read_text


def read_label_list(path: Path) -> list:
    """Names of a text file with one class per line; blank lines are skipped.

    Raises:
        DataError: the file is empty or names a class twice.
    """
    names, line_of = [], {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        if name in line_of:
            raise DataError(
                f"{path} line {number}: '{name}' stands already in line {line_of[name]}"
            )
        line_of[name] = number
        names.append(name)
    if not names:
        raise DataError(f"{path}: no class names in it; one per line is needed")
    return names


def compare_class_names(first: Sequence[str], second: Sequence[str]) -> str:
    """What differs between the classes of two data sets, as the end of a sentence about both.

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


def _listed(names: list, limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "none"
