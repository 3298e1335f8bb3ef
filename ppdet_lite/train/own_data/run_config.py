"""The configuration of a training on a folder of labeled images."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ppdet_lite.core.config import Config, merge_config
from ppdet_lite.core.difference import changes_between
from ppdet_lite.core.dump import dump_yaml
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.registry import get_class, parameters_of
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.folder.reading import FolderReading
from ppdet_lite.data.folder.recognize import recognize
from ppdet_lite.data.folder.stratified import class_counts
from ppdet_lite.device.ranks import launched_processes, launched_rank
from ppdet_lite.device.select import prepare_device
from ppdet_lite.train.own_data import batch_size, schedule_fit
from ppdet_lite.train.own_data.run_folder import run_file, run_name, save_run_file
from ppdet_lite.train.own_data.start_weights import start_weights_line

VAL_SHARE = 0.2
"""Share of the images that become the val split of a folder without one."""
MOST_VAL = 5000
"""Images of such a split at most."""


_SPLIT_IT = "ppdet data split FOLDER NEW_FOLDER divides it anew"
_RATE_KEYS = ("base_lr", "reference_batch_size", "schedulers")


class OwnDataConfig(NamedTuple):
    """A configuration for a folder.

    Attributes:
        config: read from `text`, which stands in the file `path`.
        text: YAML with the changes to the recipe, which is its `_BASE_`.
        lines: what was found and set, for the user; stands in `text`, too.
        remarks: lines about files of earlier runs.
    """

    config: Config
    path: Path
    text: str
    lines: list[str]
    remarks: list[str]

    def report(self) -> str:
        """The YAML, its place and the remarks, for the terminal."""
        notes = [f"This is saved as {self.path}", *(f"note: {line}" for line in self.remarks)]
        return "\n".join([self.text, *notes])


def config_for_folder(
    cfg: Config,
    folder: str,
    data_format: Optional[str] = None,
    save: bool = True,
    evaluate: bool = True,
) -> OwnDataConfig:
    """Sets from the data what depends on it: data sets, number of classes, batch size, length of
    the training, its schedule and the interval of evaluations.

    Values that do not come from a file (`-o`, `merge_config`) stay as they are given.

    Args:
        cfg: the recipe, read from a file.
        folder: a data set that `recognize` can read.
        data_format: see `recognize`.
        save: write the YAML to `save_dir`/NAME/NAME.yml, NAME being the names of the recipe and of
            the folder. A file with other content that is there is kept as NAME.old.yml, .old2.yml,
            ...; where it is for another folder, NAME gets a number.
        evaluate: the training evaluates, so `weights` is its best model; else its last.

    Raises:
        UserError: the folder cannot be read, or not one image fits into memory.
    """
    if cfg.path is None:
        raise UserError("the configuration was not read from a file, which --data builds upon")
    if not folder:
        raise UserError("`data`: found '', allowed: a folder of labeled images")
    reading = recognize(folder, data_format)
    lines = reading.lines()
    chosen = _Chosen(cfg)
    sections, count = _data_sections(chosen, reading, lines)
    root = Path(os.path.expanduser(cfg.settings.save_dir))
    path, remarks = run_file(root, run_name(cfg.name, reading.folder), reading.folder)
    weights = str(path.parent / ("best_model" if evaluate else "model_final"))
    chosen.set({**sections, "num_classes": len(reading.class_names), "metric": "COCO"})
    chosen.set({"weights": weights})
    _set_batch(chosen, count, lines)
    _set_length(chosen, count, lines)
    lines.append(start_weights_line(cfg, chosen.is_given("pretrain_weights")))
    base = load_config(cfg.path)
    text = _text(cfg.path, _shown(base, chosen.cfg), reading, lines)
    if save and launched_rank() == 0:
        remarks += save_run_file(path, text)
    vars(chosen.cfg)["path"] = path  # which names the run
    return OwnDataConfig(chosen.cfg, path, text, lines, remarks)


class _Chosen:
    """A configuration whose values are set, but those that the user gave outside of files."""

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self._given = {key for key, at in cfg.origins.items() if at.line is None}

    def is_given(self, *path: str) -> bool:
        """True if the user set the value at `path`, or a part of it, outside of files."""
        return any(key[: len(path)] == path for key in self._given)

    def given_in(self, section: str) -> dict[str, Any]:
        """The keys of a section that the user set outside of files."""
        values = self.cfg.get(section) or {}
        return {key: values[key] for key in values if self.is_given(section, key)}

    def set(self, values: dict[str, Any]) -> None:
        """Sets keys at the top, and keys of sections."""
        wanted: dict[str, Any] = {}
        for key, value in values.items():
            if not isinstance(value, dict):
                wanted.update({} if self.is_given(key) else {key: value})
                continue
            inside = {**value, **{k: v for k, v in self.given_in(key).items() if k in value}}
            wanted.update({key: inside} if inside else {})
        self.cfg = merge_config(self.cfg, wanted, source="--data")


def _data_sections(
    chosen: _Chosen, reading: FolderReading, lines: list[str]
) -> tuple[dict[str, Any], int]:
    """The three data sets, and the number of training images; adds a line about a split made."""
    train = reading.sections.get("train")
    if train is None:
        found = ", ".join(reading.sections)
        raise UserError(f"{reading.folder}: no training data, found {found} only; {_SPLIT_IT}")
    if not class_counts(reading.dataset("train")).sum():
        raise UserError(
            f"{reading.folder}: found no box in the training images, allowed: 1 or more"
        )
    count = len(reading.dataset("train"))
    train = {**train, **chosen.given_in("TrainDataset")}
    sections = {"TrainDataset": train}
    if "val" in reading.sections:
        given = chosen.given_in("EvalDataset")
        sections["EvalDataset"] = {**reading.sections["val"], **given}
    else:
        share = round(min(VAL_SHARE, MOST_VAL / count), 4)
        split = {"name": "SplitDataSet", "source": train, "seed": 0}
        split["shares"] = {"train": round(1 - share, 4), "val": share}
        sections = {"TrainDataset": {**split, "part": "train"}}
        sections["EvalDataset"] = {**split, "part": "val"}
        if count < 2:
            raise UserError(f"{reading.folder}: found 1 image, allowed: 2 or more, one for val")
        val = min(count - 1, max(1, round(count * share)))
        text = f"val: {share:.0%} of the training images, about {val}, drawn by image with seed 0"
        lines.append(f"{text} so that each class has its share (SplitDataSet)")
        count -= val
    test = {"name": "ImageFolder", "dataset_dir": str(reading.folder), "image_dir": None}
    sections["TestDataset"] = {**test, "anno_path": None}
    old = chosen.cfg
    return {key: _replacing(old.get(key), value) for key, value in sections.items()}, count


def _replacing(old: Any, new: dict[str, Any]) -> dict[str, Any]:
    """The section, with the defaults of what the recipe's own section of this class sets."""
    if not isinstance(old, dict) or old.get("name") != new["name"]:
        return new
    defaults = parameters_of(get_class(new["name"]))
    rest = {k: defaults[k].default for k in old if k not in new and k in defaults}
    return {**new, **rest}


def _set_batch(chosen: _Chosen, count: int, lines: list[str]) -> None:
    """`TrainReader.batch_size` by memory, and the batch that the learning rate belongs to."""
    cfg = chosen.cfg
    reader = cfg.get("TrainReader") or {}
    recipe = int(reader.get("batch_size", 1))
    rate = cfg.get("LearningRate") or {}
    if not rate.get("reference_batch_size"):
        chosen.set({"LearningRate": {"reference_batch_size": 8 * recipe}})
        text = f"the recipe names no batch for its learning rate: 8 GPUs x {recipe} are taken"
        lines.append(f"learning rate: {text} (LearningRate.reference_batch_size)")
    if chosen.is_given("TrainReader", "batch_size"):
        lines.append(f"batch size: {recipe}, as given")
        return
    processes = launched_processes()
    most = min(recipe, batch_size.most_for_images(count // processes))
    device = prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
    if processes > 1:
        batch, how = most, f"on each of {processes} processes, not measured"
    elif device == "cpu":
        batch, how = batch_size.cpu_batch(most, batch_size.largest_input(cfg))
    else:
        batch = batch_size.measured_batch(
            most, lambda size: batch_size.fits_on_gpu(chosen.cfg, device, size)
        )
        how = f"measured: a step with the largest images fits on {device}; {most} was tried first"
    chosen.set({"TrainReader": {"batch_size": batch}})
    lines.append(f"batch size: {batch} ({how}); the recipe has {recipe}")
    together = cfg.settings.accumulate_steps
    if (fewer := max(1, min(together, count // batch // batch_size.FEWEST_STEPS))) < together:
        chosen.set({"accumulate_steps": fewer})


def _set_length(chosen: _Chosen, count: int, lines: list[str]) -> None:
    """`epoch` and everything that depends on it."""
    recipe = chosen.cfg
    batch = int((recipe.get("TrainReader") or {}).get("batch_size", 1))
    per_step = batch * recipe.settings.accumulate_steps * launched_processes()
    steps = max(1, count // per_step)
    epochs = recipe.settings.epoch
    unfitted = recipe
    if chosen.is_given("epoch"):  # the recipe's own length is in its file
        unfitted = merge_config(recipe, {"epoch": load_config(str(recipe.path)).settings.epoch})
    else:
        epochs = schedule_fit.epochs_for(count, epochs)
    chosen.set({"epoch": epochs, "snapshot_epoch": schedule_fit.snapshot_interval(epochs)})
    chosen.set(schedule_fit.fit_schedule(unfitted, epochs, steps))
    text = f"{epochs} epochs x {steps} steps for {count} images (the recipe: {unfitted.epoch})"
    lines.append(f"length: {text}; -o epoch=N takes another, and the schedule follows")
    rate = chosen.cfg["LearningRate"]
    base, reference = float(rate.get("base_lr", 0.01)), rate["reference_batch_size"]
    if rate.get("scale_with_batch", True):
        text = f"{base:g} x {per_step} / {reference} = {base * per_step / reference:.3g}"
        lines.append(f"learning rate: {text}, by batch ({reference} is the recipe's)")


def _shown(base: Config, cfg: Config) -> dict[str, Any]:
    """The changes to the recipe, and what the data decides even where it is as in the recipe."""
    sections = {key: dict(cfg[key]) for key in ("TrainDataset", "EvalDataset", "TestDataset")}
    rate = {key: cfg["LearningRate"].get(key) for key in _RATE_KEYS if key in cfg["LearningRate"]}
    shown = {
        "num_classes": cfg.num_classes,
        "metric": cfg.metric,
        **sections,
        "epoch": cfg.epoch,
        "snapshot_epoch": cfg.snapshot_epoch,
        "LearningRate": rate,
        "TrainReader": {"batch_size": cfg["TrainReader"]["batch_size"]},
    }
    for key, value in changes_between(base, cfg).items():
        if key not in sections:
            shown[key] = {**shown.get(key, {}), **value} if isinstance(value, dict) else value
    return shown


def _text(base: Path, changes: dict[str, Any], reading: FolderReading, lines: list[str]) -> str:
    """The YAML, opened by how it came about."""
    usage = "Written by --data. Edit it, and train again with -c THIS_FILE --eval."
    notes = [usage, *lines, f"classes: {', '.join(reading.class_names)}"]
    wrapped = [textwrap.fill(note, 100, subsequent_indent="  ") for note in notes]
    comments = textwrap.indent("\n".join(wrapped), "# ")
    return f"{comments}\n{dump_yaml({'_BASE_': os.path.abspath(base), **changes})}"
