"""The exports that the benchmark runs: a configuration's network cut at every stage."""

import tempfile
from pathlib import Path
from typing import Callable, Optional, Sequence

import numpy as np
import paddle
import yaml

from ppdet_lite.benchmark.engines import ENGINES, Kind
from ppdet_lite.benchmark.inference_report import Network
from ppdet_lite.benchmark.model_info import measure
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.check import ExportMismatch, built_in_image
from ppdet_lite.export.options import ExportOptions, as_size, input_size
from ppdet_lite.export.run import export_model
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.runtime.contract import (
    CONFIG_FILE,
    GRAPH_FILE,
    LEGACY_GRAPH_FILE,
    ONNX_FILE,
    TARGETS,
    with_input_size,
)

FORMAT_OF_FILE = {GRAPH_FILE: "paddle", LEGACY_GRAPH_FILE: "paddle-legacy", ONNX_FILE: "onnx"}
"""What says in which formats a folder was exported."""

CANDIDATE_SHARE = 1e-3
"""Share of scores above the threshold on photos, with a trained network; random weights are shifted
to it, because the time of NMS depends on it alone."""

NOTHING_TO_CHANGE = "--target cpu changes no layer of this network, so its export is the plain one"


def export_stages(
    cfg,
    parent: Path,
    engines: Sequence[str],
    stages: Sequence[str],
    size: Sequence[int] = (),
    random_weights: bool = False,
    say: Callable = print,
) -> tuple[dict, str, dict]:
    """Exports all that `engines` read.

    Args:
        parent: gets a folder per stage, target and formats that are written together.
        size: height and width of the network input, or one number; empty: as configured.
        random_weights: instead of `cfg.weights`.

    Returns:
        Folders by (stage, `Kind`), a note about the weights, and engines whose export cannot be
        written here with the reason.

    Raises:
        CheckpointError: weights that are missing or do not belong to the model.
        UserError: an input size that the network does not take.
        DataError: `parent` cannot be written to.
    """
    side = as_size(size) if size else input_size(cfg)
    _make_folder(parent)
    groups = _written_together({ENGINES[name].kind for name in engines})
    folders, reasons = {}, {}
    with tempfile.TemporaryDirectory(prefix="benchmark.") as temporary:
        note = _random_weights(cfg, Path(temporary), side) if random_weights else ""
        for stage in stages:
            for group in groups:
                _export(cfg, parent, stage, side, group, folders, reasons, say)
    kinds = {name: ENGINES[name].kind for name in engines}
    left_out = {name: reasons[kind] for name, kind in kinds.items() if kind in reasons}
    return folders, note, left_out


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise DataError(f"--output_dir {path}: cannot be written to ({error.strerror})") from error


def _written_together(kinds: set[Kind]) -> list[tuple[Kind, ...]]:
    """Groups of one target each; paddle-legacy has to stay alone."""
    groups = {}
    for kind in sorted(kinds):
        groups.setdefault((kind.target, kind.format == "paddle-legacy"), []).append(kind)
    return [tuple(groups[key]) for key in sorted(groups)]


def _export(
    cfg,
    parent: Path,
    stage: str,
    side: tuple[int, int],
    kinds: tuple[Kind, ...],
    folders: dict,
    reasons: dict,
    say: Callable,
) -> None:
    """One export, compared with the model as always; formats that cannot be written together are
    tried one by one, and the reason of those that cannot be written at all is noted.

    Args:
        kinds: of one target.
    """
    kinds = tuple(kind for kind in kinds if kind not in reasons)
    if not kinds:
        return
    target, formats = kinds[0].target, tuple(kind.format for kind in kinds)
    say(f"exporting {stage} as {', '.join(formats)}, --target {target}")
    try:
        folder = export_model(
            cfg,
            parent / "-".join((stage, *formats, *(("target_cpu",) if target == "cpu" else ()))),
            ExportOptions(
                formats=formats,
                input_size=side,
                batch=1,
                stage=stage,
                portable_dcn="onnx" in formats,
                target=target,
            ),
        )
    except (CheckpointError, ConfigError):
        raise
    except (UserError, ExportMismatch) as error:
        if len(kinds) == 1:
            reasons[kinds[0]] = str(error)
            return
        for kind in kinds:
            _export(cfg, parent, stage, side, (kind,), folders, reasons, say)
        return
    if _settings(folder).get("target", "any") != target:
        reasons.update(dict.fromkeys(kinds, NOTHING_TO_CHANGE))
        return
    folders.update({(stage, kind): folder for kind in kinds})


def stage_folders(model_dirs: Sequence[str], stages: Sequence[str]) -> dict:
    """Exported folders by (stage, `Kind`), as their infer_cfg.yml and files say.

    Raises:
        DataError: a folder that is none of an export.
        ConfigError: folders of different models, or two for one stage and kind.
    """
    folders, named = {}, None
    for folder in map(Path, model_dirs):
        settings = _settings(folder)
        named = _check_name(folder, settings, named)
        stage, target = settings.get("stage", "nms"), settings.get("target", "any")
        if target not in TARGETS:
            raise DataError(
                f"{folder / CONFIG_FILE}: target: found {target}, allowed: {', '.join(TARGETS)}"
            )
        for name, written in FORMAT_OF_FILE.items():
            if stage in stages and (folder / name).is_file():
                kind = Kind(written, target)
                first = folders.setdefault((stage, kind), folder)
                if first != folder:
                    raise ConfigError(
                        f"--model_dir {folder}: holds stage {stage} ({kind}), as {first} does; "
                        "leave one of them out"
                    )
    for (stage, kind), folder in list(folders.items()):  # Paddle 3 reads the legacy format, too
        if kind.format == "paddle-legacy":
            folders.setdefault((stage, kind._replace(format="paddle")), folder)
    return folders


def _check_name(folder: Path, settings: dict, named: Optional[tuple]) -> Optional[tuple]:
    """Refuses a folder of another model; `named` is the first (model name, folder) with a name."""
    name = settings.get("model_name")
    if name is None:  # an export of PaddleDetection
        return named
    if named is not None and named[0] != name:
        raise ConfigError(
            f"--model_dir {folder}: of the model {name}, but {named[1]} is of {named[0]}; the "
            "benchmark measures one model"
        )
    return named or (name, folder)


def model_name(model_dir: str) -> str:
    """Of the model in an exported folder."""
    return _settings(Path(model_dir)).get("model_name") or Path(model_dir).name


def _settings(folder: Path) -> dict:
    """The content of infer_cfg.yml.

    Raises:
        DataError: there is none, or it is damaged.
    """
    try:
        settings = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--model_dir {folder}: no {CONFIG_FILE} ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / CONFIG_FILE}: not a YAML file") from error
    if not isinstance(settings, dict):
        raise DataError(f"{folder / CONFIG_FILE}: not the settings of an export")
    return settings


def network_of(cfg, input_hw: Sequence[int], note: str = "") -> Network:
    """Parameters and multiply-adds of the configuration's network."""
    model = build_detector(cfg)
    total = measure(model, *input_hw).total
    backbone = type(model.backbone).__name__
    depth = (cfg.get(backbone) or {}).get("depth")
    return Network(cfg.name, total.values, total.multiply_adds, (backbone, depth), note)


# ----------------------------------------------------------------------------------- random weights
def _random_weights(cfg, parent: Path, side: tuple[int, int]) -> str:
    """Gives `cfg` weights that let about as many candidates through as a trained network.

    Returns:
        A line about it for the report.
    """
    paddle.seed(0)
    model = build_detector(cfg)
    passed = _lower_objectness(model, _sample(cfg, *side))
    path = parent / "random.pdparams"
    paddle.save(model.state_dict(), str(path))
    cfg["weights"] = str(path)
    return (
        f"random weights, objectness lowered until {passed:.2%} of the scores pass the threshold, "
        "as with a trained network on photos"
    )


def _sample(cfg, height: int, width: int) -> dict[str, paddle.Tensor]:
    """The built-in image as a batch of one for the network."""
    steps = create("TestReader", cfg).preprocess_config()
    sample = Preprocess(with_input_size(steps, height, width))(built_in_image())
    return {key: paddle.to_tensor(value[None]) for key, value in sample.items()}


def _lower_objectness(model, sample: dict) -> float:
    """Shifts the objectness until at most CANDIDATE_SHARE of the scores pass the threshold of the
    NMS; returns the share that then does."""
    outputs = model.head.objectness_outputs()
    with evaluation_mode(model), paddle.no_grad():
        raw = _spread_out(model, sample, outputs)
    threshold = model.post_process.nms.arguments["score_threshold"]

    def share(shift: float) -> float:
        shifted = []
        for level, (_, channels) in zip(raw, outputs):
            level = level.copy()
            level[:, channels] += shift
            shifted.append(paddle.to_tensor(level))
        _, scores = model.decode(shifted, sample["im_shape"], sample["scale_factor"])
        return float((scores.numpy() >= threshold).mean())

    with paddle.no_grad():
        low, high = -60.0, 60.0
        for _ in range(16):
            middle = (low + high) / 2
            low, high = (middle, high) if share(middle) <= CANDIDATE_SHARE else (low, middle)
        for conv, channels in outputs:
            bias = conv.bias.numpy()
            bias[channels] += low
            conv.bias.set_value(bias)
        return share(low)


def _spread_out(model, sample: dict, outputs: list[tuple]) -> list[np.ndarray]:
    """Output convolutions whose logits have mean 0 and deviation 1, whatever the untrained layers
    before them give (YOLOX's own start at weight 0: all cells would be equal).

    Returns:
        The raw outputs per level with them.
    """
    rng = np.random.default_rng(0)
    for conv, _ in outputs:
        conv.weight.set_value(rng.standard_normal(conv.weight.shape, np.float32))
        conv.bias.set_value(np.zeros(conv.bias.shape, np.float32))
    raw = [level.numpy() for level in model.raw_outputs(sample["image"])]
    for level, (conv, _) in zip(raw, outputs):
        own = level[:, : conv.weight.shape[0]]
        mean, deviation = own.mean(axis=(0, 2, 3), keepdims=True), own.std()
        conv.weight.set_value(conv.weight.numpy() / deviation)
        conv.bias.set_value(-mean.reshape(-1) / deviation)
        own -= mean
        own /= deviation
    return raw
