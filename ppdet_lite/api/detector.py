"""A detector from a name, an exported folder or a checkpoint."""

from __future__ import annotations

import os
from dataclasses import fields
from inspect import signature
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Sequence, Union

import numpy as np

from ppdet_lite.api.result import Result
from ppdet_lite.core.errors import CheckpointError, ConfigError
from ppdet_lite.core.suggest import nearest_hint

# The import of this module stays light: cv2, YAML and the network are loaded with a detector.
if TYPE_CHECKING:
    from ppdet_lite.core.config import Config

EXPORT_FILE = "infer_cfg.yml"


class Detector:
    """Finds objects on images.

    Args:
        model: a shipped configuration's name, with its published weights, which are downloaded once
            into the cache; a configuration file, with the weights that it names; a checkpoint (any
            of its files, or the path without suffix); the folder of a training, with its best or
            else its last model; or a folder written by `ppdet export`.
        weights: other weights of a configuration: a file, an address, or a published name.
        config: the configuration of a checkpoint, where none is found beside it or shipped under
            the name that is stored with it.
        device: "cpu" or "gpu"; None takes a GPU where there is one, for an exported folder the CPU.
        threshold: lowest score of `predict`.
        options: for an exported folder, those of `ppdet deploy`: `engine`, `precision`, ...

    Attributes:
        class_names: by class index.

    Raises:
        UserError: the model cannot be found or loaded; names the file or key.
    """

    def __init__(
        self,
        model: Union[str, Path],
        *,
        weights: Optional[str] = None,
        config: Union[str, Path, None] = None,
        device: Optional[str] = None,
        threshold: float = 0.5,
        **options: Any,
    ):
        if device not in (None, "cpu", "gpu"):
            raise ConfigError(f"`device`: found {device}, allowed: cpu, gpu")
        self.threshold = _checked(threshold)
        self.class_names: Sequence[str]
        self.category_ids: Optional[Sequence[int]]
        self._detect: Callable[[np.ndarray], np.ndarray]
        path = Path(model).expanduser()
        if (path / EXPORT_FILE).is_file():
            if weights or config:
                raise ConfigError("`weights`, `config`: an exported folder has its own")
            self._open_export(path, device or "cpu", options)
            return
        if options:
            raise ConfigError(f"`{next(iter(options))}`: is an option of exported folders")
        self._open_config(_config_of(path, weights, config), device)

    def _open_export(self, folder: Path, device: str, options: dict[str, Any]) -> None:
        from ppdet_lite.runtime.detector import Detector as Exported
        from ppdet_lite.runtime.options import EngineOptions

        allowed = {*signature(Exported).parameters, *(f.name for f in fields(EngineOptions))}
        allowed -= {"model_dir", "device", "options"}
        for key in sorted({*options} - allowed):
            hint = nearest_hint(key, allowed) or f", allowed: {', '.join(sorted(allowed))}"
            raise ConfigError(f"`{key}`: is no option of an exported folder{hint}")
        detector = Exported(folder, device=device, **options)
        self.class_names, self.category_ids = detector.class_names, detector.category_ids
        self._detect = lambda image: detector.predict([image])[0]

    def _open_config(self, cfg: Config, device: Optional[str]) -> None:
        from ppdet_lite.device.select import prepare_device
        from ppdet_lite.evaluate.predictor import Predictor

        use_gpu = cfg.settings.use_gpu if device is None else device == "gpu"
        prepare_device(use_gpu, cfg.settings.cpu_threads)
        predictor = Predictor.from_config(cfg)
        self.class_names = predictor.classes.names
        self.category_ids = predictor.classes.category_ids
        self._detect = predictor

    def predict(self, source: Any, threshold: Optional[float] = None) -> list[Result]:
        """A result for each image of `source`, in their order.

        Args:
            source: an image, a folder with its sub-folders, or a video, by path; a uint8 array
                [H, W, 3] in RGB (of OpenCV's: `image[..., ::-1]`); or a list of these.
            threshold: lowest score, in place of that of the detector.

        Images in a folder that cannot be read have no result, only a warning for each; one that is
        named itself, alone or in a list, is an error.

        Raises:
            DataError: nothing is there, or what was named is no image.
        """
        return list(self.stream(source, threshold))

    def stream(self, source: Any, threshold: Optional[float] = None) -> Iterator[Result]:
        """The results of `predict` one by one, for videos and folders of any length."""
        from ppdet_lite.api.images import open_images

        least = self.threshold if threshold is None else _checked(threshold)
        for opened in open_images(source):
            rows = np.asarray(self._detect(opened.image)).reshape(-1, 6)
            rows = rows[(rows[:, 0] >= 0) & (rows[:, 1] >= least)]
            rows = rows[np.argsort(-rows[:, 1], kind="stable")]
            facts = self.class_names, self.category_ids, opened.source, opened.reopen
            yield Result.of(rows, *facts)


def _checked(threshold: float) -> float:
    if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
        raise ConfigError(f"`threshold`: found {threshold!r}, allowed: 0 to 1")
    return float(threshold)


def _config_of(path: Path, weights: Optional[str], config: Union[str, Path, None]) -> Config:
    """The configuration that a name, a file, a checkpoint or the folder of a training means, with
    its weights set."""
    from ppdet_lite.core.shipped import shipped_configs
    from ppdet_lite.core.workspace import load_config, merge_config
    from ppdet_lite.weights.files import has_weight_file
    from ppdet_lite.weights.manifest import stem_of
    from ppdet_lite.weights.zoo import weights_of_config

    path = _best_of_run(path) if path.is_dir() else path
    stem = stem_of(str(path))
    if path.suffix not in (".yml", ".yaml") and has_weight_file(stem):
        if weights:
            raise ConfigError(f"`weights`: {path} has its own")
        cfg = _config_of_checkpoint(stem, config)
        return merge_config(cfg, {"weights": stem}, source=str(path))
    if config:
        raise ConfigError("`config`: is for checkpoints; give it as the model")
    cfg = load_config(path)
    if weights is None and shipped_configs().get(cfg.name) == cfg.path:
        published = weights_of_config(cfg.name)
        if not published and not has_weight_file(str(cfg.settings.weights)):
            raise CheckpointError(
                f"no weights are published for {cfg.name} and none are at {cfg.settings.weights}; "
                "give `weights`"
            )
        weights = published[0] if published else None
    return cfg if weights is None else merge_config(cfg, {"weights": weights}, source="weights")


def _best_of_run(folder: Path) -> Path:
    """The checkpoint in the folder of a training; a folder without one may have a shipped name."""
    from ppdet_lite.core.shipped import find_shipped
    from ppdet_lite.weights.files import has_weight_file

    for name in ("best_model", "model_final"):
        if has_weight_file(str(folder / name)):
            return folder / name
    if find_shipped(folder):
        return folder
    raise CheckpointError(
        f"{folder}: found neither best_model nor model_final of a training, nor the {EXPORT_FILE} "
        "of an export; give a checkpoint by its file"
    )


def _config_of_checkpoint(stem: str, config: Union[str, Path, None]) -> Config:
    """That of the argument, else the one saved beside the checkpoint, else the shipped one of the
    name in its side file, for the classes that it was trained on."""
    from ppdet_lite.core.shipped import shipped_configs
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.weights.checkpoint import read_meta

    if config:
        return load_config(config)
    meta, folder = read_meta(stem), Path(os.path.abspath(stem)).parent
    name = str(meta.get("config"))
    beside = folder / f"{folder.name}.yml"
    for file in (beside, folder / f"{Path(name).name}.yml"):  # the folder may have been renamed
        if file.is_file():
            return load_config(file)
    if name not in shipped_configs() and not os.path.isfile(name):
        raise ConfigError(
            f"{stem}: found no configuration beside it ({beside}) or of the name {name}; give "
            "`config`"
        )
    names = meta.get("class_names")
    return load_config(name, [f"num_classes={len(names)}"] if names else [])
