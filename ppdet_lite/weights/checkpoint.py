"""Checkpoints on disk: `<name>.pdparams`, `<name>.pdopt` and `<name>.meta.json`.

* `.pdparams`: the weights to use (the averaged ones when EMA is on), readable by `paddle.load`.
* `.safetensors`: with `save_format: safetensors` the same once more, the file to exchange with
  others, because it cannot hold code.
* `.pdopt`: everything a resume needs, the raw weights included, in one file.
* `.meta.json`: class names, epoch, iteration and metrics, for people and for evaluation tools;
  sizes and sums of the others.

Every file is written under a temporary name and flushed to the disk; the rename of the side file
replaces the checkpoint as a whole (see `manifest`).
"""

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.utils.files import sha256_of
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.files import as_float32
from ppdet_lite.weights.manifest import (
    FILES,
    META,
    TEMPORARY,
    WEIGHTS,
    check_files,
    find_file,
    sealed,
    side_file,
    stem_of,
)
from ppdet_lite.weights.pickle_reader import read_pickle
from ppdet_lite.weights.safetensors_file import write_safetensors

_RESUME_FORMAT = "ppdet_lite resume 1"


def save_checkpoint(
    folder: str,
    name: str,
    weights: dict,
    meta: dict,
    resume: Optional[dict] = None,
    *,
    safetensors: bool = False,
) -> str:
    """Writes one checkpoint, in place of an existing one of that name, and returns its path without
    suffix.

    Args:
        name: stem of the files, such as `model_final`.
        weights: key -> numpy array.
        meta: plain values for the side file.
        resume: state of the run; None writes no `.pdopt` and removes an old one.
        safetensors: also write the weights as `.safetensors`.

    Raises:
        CheckpointError: it cannot be written; the files that were there before are untouched.
    """
    stem = os.path.join(folder, name)
    writers: dict[str, Callable[[Any], object]] = {}
    writers[".pdparams"] = lambda stream: pickle.dump(weights, stream, protocol=4)
    if safetensors:
        writers[".safetensors"] = lambda stream: write_safetensors(stream, weights)
    if resume is not None:
        state = {"format": _RESUME_FORMAT, **resume}
        writers[".pdopt"] = lambda stream: pickle.dump(state, stream, protocol=4)
    files: dict[str, dict] = {}
    writers[META] = lambda stream: stream.write(sealed(meta, files))
    staged = {s: os.path.join(folder, f".{name}{s}.{os.getpid()}.tmp") for s in writers}
    is_in_place = False
    try:
        os.makedirs(folder, exist_ok=True)
        for suffix, write in writers.items():
            facts = _write(staged[suffix], write)
            if suffix != META:
                files[suffix] = facts
        os.replace(staged[META], stem + META)
        is_in_place = True  # the others are the checkpoint now, whatever their names
        _flush_folder(folder)
        for suffix in files:
            os.replace(staged[suffix], stem + suffix)
        for suffix in {*WEIGHTS, ".pdopt"} - {*files}:
            Path(stem + suffix).unlink(missing_ok=True)
        _flush_folder(folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {stem}: {error.strerror or error}. Earlier checkpoints "
            f"in {folder} are untouched. Make room, or set save_dir=FOLDER."
        ) from None
    finally:
        for temporary in () if is_in_place else staged.values():
            with contextlib.suppress(OSError):
                os.remove(temporary)
    return stem


def _write(path: str, write: Callable[[Any], object]) -> dict:
    """Writes a file onto the disk; its size and SHA-256."""
    with open(path, "wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    return {"bytes": os.path.getsize(path), "sha256": sha256_of(path)}


def _flush_folder(folder: str) -> None:
    """Makes the renames durable; file systems that cannot do it keep their own promises."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load_resume(path: str) -> dict:
    """The state that `save_checkpoint` got as `resume`; `path` may have the suffix of any of the
    checkpoint's files.

    Raises:
        CheckpointError: there is no `.pdopt`, it is damaged, another program wrote it, or it holds
            NaN or infinite numbers.
    """
    stem = stem_of(path)
    source = stem + ".pdopt"
    place = find_file(source)
    if place is None:
        weights = next((stem + s for s in WEIGHTS if os.path.isfile(stem + s)), None)
        if weights is None:
            raise CheckpointError(f"nothing to resume at {stem}: no such checkpoint{_nearby(stem)}")
        raise CheckpointError(
            f"cannot resume from {stem}: {source} is missing, so optimizer, learning rate and "
            f"epoch are unknown. Copy it beside {weights}, or start a new run from these weights "
            f"with pretrain_weights={weights}{_nearby(stem)}"
        )
    state = read_pickle(place)
    if not isinstance(state, dict) or state.get("format") != _RESUME_FORMAT:
        raise CheckpointError(
            f"{source} was not written by ppdet_lite, so the run cannot go on from it. Start a new "
            f"run from its weights with pretrain_weights={stem}.pdparams"
        )
    if key := _first_not_finite(state):
        raise CheckpointError(
            f"{source}: {key} holds NaN or infinite numbers: the run had diverged. Resume from an "
            "earlier checkpoint, with a lower learning rate"
        )
    return state


def _first_not_finite(state: dict, prefix: str = "") -> str:
    """Dotted key of the first array with NaN or infinite numbers; "" if there is none."""
    for key, value in state.items():
        if isinstance(value, dict):
            if found := _first_not_finite(value, f"{prefix}{key}."):
                return found
        elif isinstance(value, np.ndarray) and not np.isfinite(as_float32(value)).all():
            return f"{prefix}{key}"
    return ""


def newest_checkpoint(
    folder: str, check: Callable[[dict, str], None]
) -> tuple[str, Optional[dict]]:
    """Path without suffix, and the state, of the newest whole checkpoint of a run, by the time it
    was written; others are passed over with a warning. ("", None) if the folder holds none.

    Args:
        check: raises a CheckpointError for a state that cannot be used, and names the file.

    Raises:
        CheckpointError: the folder holds checkpoints, but no whole one.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in names if name.endswith((".pdopt", META))]
    stems = {stem_of(path) for path in paths if path.endswith(".pdopt") or _can_go_on(path)}
    times = {stem: _time_of(stem) for stem in stems}
    reasons = []
    for stem in sorted(times, key=lambda stem: times[stem], reverse=True):
        try:
            check_files(stem)
            state = load_resume(stem)
            check(state, f"{stem}.pdopt")
        except CheckpointError as error:
            get_logger().warning("Passed over the checkpoint %s: %s", stem, error)
            reasons.append(f"{stem}: {error}")
            continue
        return stem, state
    if reasons:
        raise CheckpointError("\n  - ".join([f"no whole checkpoint in {folder}:", *reasons]))
    return "", None


def _can_go_on(path: str) -> bool:
    """True for the side file of a checkpoint with a state, wherever its file is."""
    try:
        return ".pdopt" in side_file(path).get(FILES, {})
    except CheckpointError:
        return False


def _time_of(stem: str) -> float:
    places = [stem + suffix for suffix in (META, ".pdopt") if os.path.isfile(stem + suffix)]
    return os.path.getmtime(places[0]) if places else 0.0


def read_meta(path: str) -> dict:
    """The side file of a checkpoint (`class_names`, `category_ids`, `epoch`, `iteration`,
    `metrics`, `config`); {} when there is none. `path` is any of the checkpoint's files.

    Raises:
        CheckpointError: the side file is no JSON, damaged, or another program's.
    """
    return {key: value for key, value in side_file(path).items() if key != FILES}


def _nearby(stem: str) -> str:
    folder = stem if os.path.isdir(stem) else os.path.dirname(stem) or "."
    if not os.path.isdir(folder):
        return f"; there is no folder {folder}"
    names = sorted(n[: -len(".pdopt")] for n in os.listdir(folder) if n.endswith(".pdopt"))
    return f"; {folder} can be resumed from: {', '.join(names)}" if names else ""


def clean_temporaries(folder: str) -> list[str]:
    """Removes what killed processes left half-written in `folder`, and renames what they left
    unnamed; returns the names of what was removed.
    """
    removed = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        match = TEMPORARY.match(name)
        if not match or _is_running(int(match[3])):
            continue
        place, target = os.path.join(folder, name), os.path.join(folder, match[1] + match[2])
        try:
            belongs = find_file(target) == place
        except CheckpointError:
            belongs = False
        if belongs:
            os.replace(place, target)
        else:
            os.remove(place)
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
