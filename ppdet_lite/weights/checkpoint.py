"""Checkpoints on disk: `<name>.pdparams`, `<name>.pdopt` and `<name>.meta.json`.

* `.pdparams`: the weights to use (the averaged ones when EMA is on), readable by `paddle.load`.
* `.pdopt`: everything a resume needs, the raw weights included, in one file.
* `.meta.json`: class names, epoch, iteration and metrics, for people and for evaluation tools.

Every file is written beside its final name, flushed to the disk and then renamed, and nothing is
renamed before all files of the checkpoint are written. So a crash, a kill or a full disk leaves
either the old checkpoint or the new one, never a piece of one.
"""

import contextlib
import json
import os
import pickle
import re
from typing import Optional

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.files import SUFFIXES, read_pickle

_RESUME_FORMAT = "ppdet_lite resume 1"
_TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")
_META = ".meta.json"


def stem_of(path: str) -> str:
    """The path of a checkpoint without the suffix of one of its files."""
    path = os.path.expanduser(str(path))
    suffix = next((s for s in (*SUFFIXES, ".pdopt", _META, ".pdema") if path.endswith(s)), "")
    return path[: len(path) - len(suffix)]


def save_checkpoint(
    folder: str, name: str, weights: dict, meta: dict, resume: Optional[dict] = None
) -> str:
    """Writes one checkpoint, in place of an existing one of that name, and returns its path without
    suffix.

    Args:
        folder: made when missing.
        name: stem of the files, such as `model_final`.
        weights: key -> numpy array.
        meta: plain values for the side file.
        resume: state of the run; None writes no `.pdopt` and removes an old one.

    Raises:
        CheckpointError: it cannot be written; the files that were there before are untouched.
    """
    stem = os.path.join(folder, name)
    contents = {".pdparams": weights}
    if resume is not None:
        contents[".pdopt"] = {"format": _RESUME_FORMAT, **resume}
    contents[_META] = meta
    staged: dict[str, str] = {}
    try:
        os.makedirs(folder, exist_ok=True)
        for suffix, content in contents.items():
            staged[suffix] = os.path.join(folder, f".{name}{suffix}.{os.getpid()}.tmp")
            with open(staged[suffix], "wb") as stream:
                if suffix == _META:
                    stream.write(json.dumps(content, indent=1, ensure_ascii=False).encode())
                else:
                    pickle.dump(content, stream, protocol=4)
                stream.flush()
                os.fsync(stream.fileno())
        if resume is None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(stem + ".pdopt")
        for suffix, temporary in staged.items():
            os.replace(temporary, stem + suffix)
        _flush_folder(folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {stem}: {error.strerror or error}. Earlier checkpoints "
            f"in {folder} are untouched. Make room, or set save_dir=FOLDER."
        ) from None
    finally:
        for temporary in staged.values():
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
    return stem


def _flush_folder(folder: str) -> None:
    """Makes the renames durable; file systems that cannot do it keep their own promises."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def clean_temporaries(folder: str) -> list[str]:
    """Removes what killed processes left half-written in `folder`; returns the names."""
    removed = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        match = _TEMPORARY.match(name)
        if match and not _is_running(int(match.group(1))):
            os.remove(os.path.join(folder, name))
            removed.append(name)
    return removed


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # signal 0 is no harmless question there
        return pid == os.getpid()
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def load_resume(path: str) -> dict:
    """The state that `save_checkpoint` got as `resume`; `path` may have the suffix of any of the
    checkpoint's files.

    Raises:
        CheckpointError: there is no `.pdopt`, it is damaged, or another program wrote it.
    """
    stem = stem_of(path)
    source = stem + ".pdopt"
    if not os.path.isfile(source):
        weights = next((stem + s for s in SUFFIXES if os.path.isfile(stem + s)), None)
        if weights is None:
            raise CheckpointError(f"nothing to resume at {stem}: no such checkpoint{_nearby(stem)}")
        raise CheckpointError(
            f"cannot resume from {stem}: {source} is missing, so optimizer, learning rate and "
            f"epoch are unknown. Copy it beside {weights}, or start a new run from these weights "
            f"with pretrain_weights={weights}{_nearby(stem)}"
        )
    state = read_pickle(source)
    if not isinstance(state, dict) or state.get("format") != _RESUME_FORMAT:
        raise CheckpointError(
            f"{source} was not written by ppdet_lite, so the run cannot go on from it. Start a new "
            f"run from its weights with pretrain_weights={stem}.pdparams"
        )
    return state


def _nearby(stem: str) -> str:
    folder = stem if os.path.isdir(stem) else os.path.dirname(stem) or "."
    if not os.path.isdir(folder):
        return f"; there is no folder {folder}"
    names = sorted(n[: -len(".pdopt")] for n in os.listdir(folder) if n.endswith(".pdopt"))
    return f"; {folder} can be resumed from: {', '.join(names)}" if names else ""


def read_meta(weights_path: str) -> dict:
    """The side file of a checkpoint (`class_names`, `category_ids`, `epoch`, `iteration`,
    `metrics`, `config`); {} when there is none.

    Raises:
        CheckpointError: the side file is no JSON, or another program's.
    """
    path = stem_of(weights_path) + _META
    try:
        with open(path, encoding="utf-8") as stream:
            meta = json.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    names = meta.get("class_names") or [] if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{path}: found no 'class_names: [...]' in it; correct it, or remove the file to take "
            "the names of the data set"
        )
    return meta
