"""Training in one call."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Optional, Union

from ppdet_lite.core.errors import ConfigError


@dataclass(frozen=True)
class TrainingRun:
    """A finished training.

    Attributes:
        folder: of checkpoints and train.log.
        config: the configuration of the run, a file in it.
        weights: path without suffix of the best model, or of the last one without evaluations.
        log: train.log.
        best_ap: of the best evaluation, from 0 to 1; None without one.
        metrics: of the last evaluation.
    """

    folder: Path
    config: Path
    weights: Path
    log: Path
    best_ap: Optional[float]
    metrics: dict[str, float]


def train(
    config: Union[str, Path],
    *,
    data: Union[str, Path, None] = None,
    data_format: Optional[str] = None,
    epochs: Optional[int] = None,
    batch_size: Optional[int] = None,
    save_dir: Union[str, Path, None] = None,
    overrides: Iterable[str] = (),
    evaluate: bool = True,
    amp: Optional[bool] = None,
) -> TrainingRun:
    """Trains a detector; what `ppdet train` does.

    Args:
        config: the name of a shipped configuration, or a file.
        data: a folder of labeled images, of which data sets, classes, batch size, length and
            schedule are set; None trains on the data of the configuration.
        data_format: its format, where a folder can be read in several ways.
        epochs, batch_size, save_dir: in place of those of the configuration (`batch_size` per GPU).
        overrides: further keys: `["TrainReader.batch_size=4", ...]`, values in YAML.
        evaluate: evaluate at every snapshot and keep the best model.
        amp: mixed precision; None takes the key `amp`.

    Raises:
        UserError: data, configuration or weights do not fit, or the loss is no longer finite.
    """
    if data is None and data_format is not None:
        raise ConfigError(f"`data_format`: found {data_format}, allowed: none without `data`")
    if isinstance(overrides, str):
        raise ConfigError(f"`overrides`: found {overrides!r}, allowed: a list, [{overrides!r}]")
    given = {"epoch": epochs, "TrainReader.batch_size": batch_size, "save_dir": save_dir}
    changes = [f"{key}={_as_yaml(value)}" for key, value in given.items() if value is not None]
    from ppdet_lite.core.workspace import load_config, merge_config

    cfg = load_config(config, [*changes, *overrides])
    from ppdet_lite.train.run import run_training

    if data is not None:
        from ppdet_lite.train.own_data.run_config import config_for_folder

        own = config_for_folder(cfg, str(data), data_format, evaluate=evaluate)
        print(own.report())
        cfg, path = own.config, own.path
    else:
        path = Path(cfg.output_folder) / f"{cfg.name}.yml"
        weights = f"{cfg.output_folder}/{'best_model' if evaluate else 'model_final'}"
        _save(path, merge_config(cfg, {"weights": weights}))
    state = run_training(cfg, evaluate=evaluate, amp=amp)
    folder = Path(cfg.output_folder)
    best = state.best["value"] if state.best else None
    return TrainingRun(
        folder=folder,
        config=path,
        weights=folder / ("best_model" if best is not None else "model_final"),
        log=folder / "train.log",
        best_ap=best,
        metrics=dict((state.last_evaluation or {}).get("metrics") or {}),
    )


def _as_yaml(value: Any) -> str:
    """Text that YAML reads as this very value: JSON, which is YAML."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    plain = value.item() if hasattr(value, "item") else value  # of numpy
    return json.dumps(plain, ensure_ascii=False, default=str)


def _save(path: Path, cfg: dict[str, Any]) -> None:
    """Writes the whole configuration beside the run, so that its checkpoints are complete."""
    from ppdet_lite.core.dump import dump_yaml
    from ppdet_lite.train.own_data.run_folder import save_run_file

    if os.path.realpath(path) != os.path.realpath(getattr(cfg, "path", None) or ""):
        for line in save_run_file(path, dump_yaml(cfg)):
            print(f"note: {line}")
