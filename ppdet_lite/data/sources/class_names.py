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


def compare_class_names(train: Sequence[str], evaluation: Sequence[str]) -> str:
    """What differs between the classes of the training and the evaluation data, in words.

    A network's outputs are numbered as the training data numbers its classes, so the evaluation
    data must have the same names in the same order.

    Returns:
        "" when both are equal, otherwise one line per difference.
    """
    train, evaluation = list(train), list(evaluation)
    if train == evaluation:
        return ""
    lines = []
    missing = [name for name in train if name not in evaluation]
    extra = [name for name in evaluation if name not in train]
    if missing:
        lines.append(f"missing in the evaluation data: {_quoted(missing)}")
    if extra:
        hint = nearest_hint(extra[0], missing) if len(extra) == 1 else ""
        lines.append(f"only in the evaluation data: {_quoted(extra)}{hint}")
    if not missing and not extra:
        index = next(i for i, pair in enumerate(zip(train, evaluation)) if pair[0] != pair[1])
        lines.append(
            "same names in another order: class "
            f"{index} is '{train[index]}' in training but '{evaluation[index]}' in evaluation"
        )
    heading = (
        f"the classes of the evaluation data ({len(evaluation)}) are not those of the training "
        f"data ({len(train)}):"
    )
    return "\n  - ".join([heading, *lines])


def _quoted(names: list, limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"'{name}'" for name in names[:limit]) + more
