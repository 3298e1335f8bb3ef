"""Splits in the names of files and folders: `train2017`, `valid/`, `val_list.txt`."""

from __future__ import annotations

import re

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


def without_trainval(splits: dict[str, str]) -> dict[str, str]:
    """Splits of a data set -> their files, where `trainval` is the union of `train` and `val`: it
    is left out beside `train`, and is the training data otherwise.
    """
    rest = {name: file for name, file in splits.items() if name != "trainval"}
    if "trainval" in splits and "train" not in splits:
        rest = {"train": splits["trainval"], **rest}
    return rest
