"""The configurations that come with this package, by name."""

import difflib
import os
from pathlib import Path
from typing import Optional, Union

_PARTS = ("_base_", "datasets")
"""Folders of files that are no configurations of their own, but parts of others."""


def shipped_folder() -> Path:
    """The folder `configs`: inside the package in a wheel, beside it in a clone, where they are
    written and where an editable install finds them."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def shipped_configs() -> dict[str, Path]:
    """Name -> file of every configuration that can be trained, by folder and name."""
    folder = shipped_folder()
    files = sorted(path for path in folder.rglob("*.yml") if path.parent != folder)
    return {path.stem: path for path in files if path.parent.name not in _PARTS}


def find_shipped(name: Union[str, "os.PathLike[str]"]) -> Optional[Path]:
    """The shipped file that is meant by a name (`ppyolo_r18vd_coco`, with or without .yml) or by a
    path below `configs`, as a clone has them; None if there is none."""
    path = Path(name)
    if len(path.parts) == 1:
        stem = path.stem if path.suffix in (".yml", ".yaml") else path.name
        return shipped_configs().get(stem)
    if path.parts[:1] != ("configs",) or ".." in path.parts:
        return None
    file = shipped_folder().joinpath(*path.parts[1:])
    return file if os.path.isfile(file) else None


def nearest_names(name: str) -> str:
    """`; did you mean 'A' or 'B'?` for the shipped names nearest to `name`, or an empty text."""
    names = list(shipped_configs())
    stem = Path(name).stem if name.endswith((".yml", ".yaml")) else name
    near = [each for each in names if stem and each.startswith(stem)]
    near += difflib.get_close_matches(stem[:200], names, n=3, cutoff=0.6)
    shown = " or ".join(map(repr, list(dict.fromkeys(near))[:3]))
    return f"; did you mean {shown}?" if shown else ""
