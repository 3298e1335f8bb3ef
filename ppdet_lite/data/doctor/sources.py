"""The data sets to check: those in a folder, or of a configuration."""

import os
from collections.abc import Mapping
from typing import Any, Optional, Union

from ppdet_lite.core.build import resolve
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.folder.recognize import recognize
from ppdet_lite.data.folder.split_set import SplitDataSet
from ppdet_lite.data.sources.detection_dataset import DetectionDataset

Sources = dict[str, tuple[type[DetectionDataset], Mapping[str, Any]]]
"""Split -> class of its data set, and the arguments of it."""

SECTIONS = {"train": "TrainDataset", "val": "EvalDataset"}


def sources_of_folder(
    folder: Union[str, os.PathLike[str]], data_format: Optional[str] = None
) -> tuple[Sources, str]:
    """The data sets in a folder and the layout in words; raises as `recognize`."""
    reading = recognize(folder, data_format)
    return {split: reading.source(split) for split in reading.sections}, reading.title


def sources_of_config(cfg: Config) -> Sources:
    """The data sets of a configuration: `train`, `val`; only `train`, the undivided data set, where
    both are parts of one (SplitDataSet).

    Raises:
        ConfigError: it names none, or one whose annotations cannot be read as a table.
    """
    found: Sources = {}
    for split, section in SECTIONS.items():
        if not cfg.get(section):
            continue
        source, arguments, path = resolve(section, cfg)
        if source is SplitDataSet:  # divided by a seed: what it divides is checked
            inner = resolve(arguments.get("source"), cfg, (*path, "source"))
            source, arguments = inner.cls, inner.arguments
        if not issubclass(source, DetectionDataset):
            allowed = "COCODataSet, VOCDataSet, YOLODataSet and other formats with boxes"
            raise ConfigError(f"{section}: found {source.__name__}, allowed: {allowed}")
        if (source, arguments) not in found.values():  # else train and val are parts of one
            found[split] = (source, arguments)
    if not found:
        raise ConfigError(f"{' and '.join(SECTIONS.values())}: missing, allowed: one or both")
    return found
