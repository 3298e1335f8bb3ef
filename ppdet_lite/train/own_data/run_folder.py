"""The folder of a training on a folder of images, and the YAML in it, which users edit."""

from __future__ import annotations

import itertools
import os
import unicodedata
from pathlib import Path
from typing import Any, Iterator

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.yaml import read_yaml
from ppdet_lite.utils.files import replacing


def run_name(recipe: str, folder: Path) -> str:
    """The name of a recipe and that of a folder; letters and digits of any script stay."""
    name = unicodedata.normalize("NFC", folder.name)  # macOS stores a letter and its accent apart
    kept = "".join(c if c.isalnum() or c in "_.-" else " " for c in name)
    return f"{recipe}_{'_'.join(kept.split()) or 'data'}"


def run_file(root: Path, name: str, folder: Path) -> tuple[Path, list[str]]:
    """`root`/NAME/NAME.yml, NAME being the first of `name`, `name`_2, ... whose file is missing or
    was written for this folder; and a line for the user where it is not `name`."""
    for number in itertools.count(1):
        own = name if number == 1 else f"{name}_{number}"
        path = root / own / f"{own}.yml"
        if not path.is_file() or _is_for(path, folder):
            break
    if number == 1:
        return path, []
    return path, [f"{root / name} belongs to a training on other data; this one is {path.parent}"]


def save_run_file(path: Path, text: str) -> list[str]:
    """Writes the file. One with other content that is there, perhaps edited, is kept beside it
    under a name of its own; the line about that, for the user.

    Raises:
        UserError: it cannot be written.
    """
    lines = []
    try:
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
            names = (f"{path.stem}.old{n if n > 1 else ''}.yml" for n in itertools.count(1))
            kept = next(p for p in map(path.with_name, names) if not p.exists())
            os.replace(path, kept)
            lines.append(f"the {path.name} of an earlier run, which differs, is kept as {kept}")
        with replacing(path) as stream:
            stream.write(text.encode())
    except (OSError, UserError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write to {path}: {reason}; set another save_dir") from None
    return lines


def _is_for(path: Path, folder: Path) -> bool:
    try:
        values = read_yaml(path).value
    except ConfigError:
        return False  # nobody can tell, so it is left alone
    return os.path.realpath(folder) in {os.path.realpath(place) for place in _data_folders(values)}


def _data_folders(values: Any) -> Iterator[str]:
    """All `dataset_dir` in a section and below it."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if key == "dataset_dir" and isinstance(value, str):
            yield value
        yield from _data_folders(value)
