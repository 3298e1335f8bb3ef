"""The public names of configurations: read one, register classes, build what it describes.

cfg = load_config("configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml", ["num_classes=3"])
model = create(cfg.architecture, cfg)
"""

import os
from pathlib import Path
from typing import Iterable, Union

from ppdet_lite.core.build import create, create_list
from ppdet_lite.core.config import Config, merge_config, override, read_config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import get_class, register, serializable
from ppdet_lite.core.settings import CLASS_DEFAULTS, SETTINGS
from ppdet_lite.core.validation import problems_of

__all__ = [
    "Config",
    "create",
    "create_list",
    "get_class",
    "load_config",
    "merge_config",
    "register",
    "serializable",
]


def load_config(
    path: Union[str, "os.PathLike[str]"], overrides: Iterable[str] = (), validate: bool = True
) -> Config:
    """Reads a YAML file with its bases and overrides, checks every key and fills in defaults.

    Args:
        path: the YAML file.
        overrides: `["TrainReader.batch_size=4", ...]`, values in YAML; list elements by number or
            class name.
        validate: False skips the check against the registered classes (and so the import of
            paddle) and the defaults.

    Raises:
        ConfigError: with every problem found, each with file, line, key, what was found and what is
            allowed.
    """
    cfg = read_config(Path(path))
    problems = []
    for assignment in overrides:
        try:
            override(cfg, assignment)
        except ConfigError as error:
            problems += error.problems
    if validate:
        problems += problems_of(cfg)
    if problems:
        raise ConfigError(problems)
    if validate:
        for key, setting in SETTINGS.items():
            if key not in CLASS_DEFAULTS:
                cfg.setdefault(key, setting.default)
    return cfg
