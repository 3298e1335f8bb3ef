"""The programs that a run sends its curves to."""

from __future__ import annotations

from typing import Any, Optional

from ppdet_lite.core.config import Config
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat


def curve_hooks(
    cfg: Config, reader: Reader, vdl_folder: Optional[str], is_resumed: bool
) -> list[Hook]:
    """The hooks of the key `loggers`, and that of VisualDL where `vdl_folder` is given.

    Raises:
        ConfigError: a program is not installed, or cannot start.
    """
    names, folder = [*(cfg.settings.loggers or [])], cfg.output_folder
    if vdl_folder is not None and "visualdl" not in names:
        names.append("visualdl")
    batch_format = BatchFormat.after([*reader.sample_transforms, *reader.batch_transforms])
    form: tuple[int, BatchFormat] = cfg.settings.log_iter, batch_format
    run: dict[str, Any] = {"run_name": cfg.name, "resumed": is_resumed}
    hooks: list[Hook] = []
    for name in dict.fromkeys(names):  # each package is imported only where it is wanted
        if name == "visualdl":
            from ppdet_lite.train.hooks.curves.visualdl import VisualDLHook

            hooks.append(VisualDLHook(vdl_folder or f"{folder}/vdl", *form))
        elif name == "tensorboard":
            from ppdet_lite.train.hooks.curves.tensorboard import TensorBoardHook

            hooks.append(TensorBoardHook(f"{folder}/tensorboard", *form))
        elif name == "wandb":
            from ppdet_lite.train.hooks.curves.wandb import WandbHook

            hooks.append(WandbHook(folder, *form, **run))
        else:
            from ppdet_lite.train.hooks.curves.mlflow import MLflowHook

            hooks.append(MLflowHook(folder, *form, **run))
    return hooks
