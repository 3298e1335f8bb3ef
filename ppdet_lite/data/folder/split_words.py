"""Splits in the names of files and folders: `train2017`, `valid/`, `val_list.txt`."""

from __future__ import annotations

import re
from typing import Iterable

_SPLIT_OF = {
    **dict.fromkeys(("train", "training", "minitrain"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "minival", "eval", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "trainval": "trainval",
}
_WORD = re.compile("[A-Za-z]+")


def split_in(path: str) -> tuple[str, str]:
    """The split that a relative path names, and the path with `*` in the place of that word.

    The last word counts that is a split: the file's name before its folders'. Without one the
    split is "" and the path stays as it is.
    """
    for word in reversed([*_WORD.finditer(path)]):
        if split := _SPLIT_OF.get(word[0].lower()):
            return split, f"{path[: word.start()]}*{path[word.end() :]}"
    return "", path


def by_split(files: Iterable[str]) -> dict[str, dict[str, str]]:
    """Groups files that differ by the name of a split only.

    A file without a split in its name is a group of its own, and the training data of a group in
    its folder that has none.

    Returns:
        Name of the group, with `*` for the split -> split (`train`, `val`, `test`) -> file.
    """
    groups: dict[str, dict[str, str]] = {}
    for file in files:
        split, pattern = split_in(file)
        group = groups.setdefault(pattern, {})
        if split in group:  # val.json beside valid.json
            groups[file] = {"": file}
        else:
            group[split] = file
    for pattern, group in [*groups.items()]:
        folder = pattern.rpartition("/")[0]
        alone = [
            name
            for name, other in groups.items()
            if [*other] == [""] and name.rpartition("/")[0] == folder
        ]
        if not group.keys() & {"", "train", "trainval"} and len(alone) == 1:
            group["train"] = groups.pop(alone[0])[""]
    return {pattern: _named(group) for pattern, group in groups.items()}


def _named(group: dict[str, str]) -> dict[str, str]:
    """The files of a group, the one without a split as `train`, in the usual order."""
    found = without_trainval(group)
    if "" in found:
        found.setdefault("train", found[""])
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def without_trainval(splits: dict[str, str]) -> dict[str, str]:
    """Splits of a data set -> their files, where `trainval` is the union of `train` and `val`: it
    is left out beside `train`, and is the training data otherwise.
    """
    rest = {name: file for name, file in splits.items() if name != "trainval"}
    if "trainval" in splits and "train" not in splits:
        rest = {"train": splits["trainval"], **rest}
    return rest
