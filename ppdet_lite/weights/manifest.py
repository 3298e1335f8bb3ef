"""The files of a checkpoint: that they are whole and belong together.

`<name>.meta.json` lists size and SHA-256 of the others, and has a sum of its own. New files lie
under temporary names until it is in its place; from then on they are the checkpoint, and a reader
takes them from there if a kill came before they were renamed. So a checkpoint is the old or the new
one.
"""

import hashlib
import json
import os
import re
from typing import Any, Optional

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.utils.files import sha256_of

META = ".meta.json"
WEIGHTS = (".pdparams", ".safetensors")
SUFFIXES = (*WEIGHTS, ".pdopt", META)
TEMPORARY = re.compile(rf"^\.(.+)({'|'.join(map(re.escape, SUFFIXES))})\.(\d+)\.tmp$")
FILES, _SUM = "files", "sha256"


def stem_of(path: str) -> str:
    """The path of a checkpoint without the suffix of one of its files."""
    path = os.path.expanduser(str(path))
    suffix = next((s for s in (*SUFFIXES, ".pdema") if path.endswith(s)), "")
    return path[: len(path) - len(suffix)]


def sealed(meta: dict, files: dict[str, dict]) -> bytes:
    """The content of a side file: `meta`, size and SHA-256 of the files by suffix, and its sum."""
    content = json.loads(json.dumps({**meta, FILES: files}))
    content[_SUM] = _sum(content)
    return json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _sum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def side_file(path: str) -> dict:
    """The side file of the checkpoint that has the file `path`; {} if there is none.

    Raises:
        CheckpointError: it is no JSON, damaged, or another program's.
    """
    path = stem_of(path) + META
    try:
        with open(path, encoding="utf-8") as stream:
            meta = json.load(stream)
        seal = meta.pop(_SUM, "") if isinstance(meta, dict) else None
        is_sealed = seal in (None, _sum(meta)) or (FILES not in meta and seal == "")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    names = meta.get("class_names") or [] if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{path}: found no 'class_names: [...]' in it; correct it, or remove the file to take "
            "the names of the data set"
        )
    if not is_sealed:
        raise CheckpointError(
            f"{path}: damaged: its content does not fit its sha256. If you changed it yourself, "
            "write null for its sha256"
        )
    for key in ("epoch", "iteration"):
        if key in meta and (type(meta[key]) is not int or meta[key] < 0):
            raise CheckpointError(
                f"{path}: {key}: found {ascii(meta[key])[:40]}, allowed: 0 or more"
            )
    if not _are_files(meta.get(FILES, {})):
        raise CheckpointError(f"{path}: {FILES}: allowed: size and sha256 by suffix")
    return meta


def _are_files(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(facts, dict)
        and type(facts.get("bytes")) is int
        and isinstance(facts.get("sha256"), str)
        for facts in files.values()
    )


def find_file(path: str) -> Optional[str]:
    """The place of a checkpoint's file; None if there is none. It is compared with the size and
    the sum in the side file; those of checkpoints without sums are taken as they are.

    Raises:
        CheckpointError: the file is not the one that was written, or of another checkpoint.
    """
    stem, problem = stem_of(path), ""
    suffix = path[len(stem) :]
    for _ in range(2):  # a run may be replacing the checkpoint right now
        files = side_file(stem).get(FILES, {})
        if suffix not in files:
            if suffix == ".pdopt" and files and os.path.isfile(path):
                raise CheckpointError(f"{path}: belongs to another checkpoint than {stem}{META}")
            return path if os.path.isfile(path) else None
        for place in (path, *_waiting(stem, suffix)):
            if os.path.isfile(place):
                found = _misfit(place, files[suffix])
                if not found:
                    return place
                problem = problem or found
    if not problem:
        return None
    raise CheckpointError(
        f"{path}: damaged: {problem}. Copy it again or use another checkpoint; if you changed it "
        f"yourself, remove {stem}{META} or the keys files and sha256 in it"
    )


def check_files(stem: str) -> None:
    """A CheckpointError for a checkpoint with a file that is damaged or missing."""
    for suffix in side_file(stem).get(FILES, {}):
        if find_file(stem + suffix) is None:
            raise CheckpointError(f"{stem}{suffix}: missing")


def _misfit(place: str, facts: dict) -> str:
    size = os.path.getsize(place)
    if size != facts["bytes"]:
        return f"it has {size} bytes instead of {facts['bytes']}"
    return "" if sha256_of(place) == facts["sha256"] else "its content does not fit its sha256"


def _waiting(stem: str, suffix: str) -> list[str]:
    """Files of a checkpoint that are not yet renamed."""
    folder, name = os.path.split(stem)
    matches = map(TEMPORARY.match, sorted(os.listdir(folder or ".")))
    return [os.path.join(folder, m[0]) for m in matches if m and m.group(1, 2) == (name, suffix)]
