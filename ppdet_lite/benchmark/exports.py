"""The exports that the benchmark runs: a configuration's network cut at every stage."""

import tempfile
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Sequence

from ppdet_lite.benchmark.engines import ENGINES, Kind
from ppdet_lite.benchmark.int8_file import add_int8_file
from ppdet_lite.benchmark.random_weights import set_random_weights
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, UserError
from ppdet_lite.export.check import ExportMismatch
from ppdet_lite.export.options import ExportOptions, as_size
from ppdet_lite.export.options import input_size as configured_size
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import (
    CONFIG_FILE,
    GRAPH_FILE,
    LEGACY_GRAPH_FILE,
    ONNX_FILE,
    InferConfig,
)

FORMAT_OF_FILE = {GRAPH_FILE: "paddle", LEGACY_GRAPH_FILE: "paddle-legacy", ONNX_FILE: "onnx"}
"""The format that a file of an exported folder stands for."""

NOTHING_TO_CHANGE = "target cpu changes no layer of this network, so its export is the plain one"


class Exports(NamedTuple):
    """Exported folders of one model.

    Attributes:
        folders: by stage and what an engine reads.
        left_out: engine -> why its export cannot be written here.
        note: about weights that were not given.
    """

    folders: dict[tuple[str, Kind], Path]
    left_out: dict[str, str]
    note: str = ""


def write_exports(
    cfg: Config,
    output_dir: Path,
    engines: Sequence[str],
    stages: Sequence[str],
    *,
    input_size: Sequence[int] = (),
    batch: int = 1,
    calib_dir: Optional[Path] = None,
    random_weights: bool = False,
    say: Callable[[str], None] = print,
    export: Callable[..., Path] = export_model,
) -> Exports:
    """Exports all that `engines` read, compared with the model as always.

    Args:
        output_dir: gets a folder per stage, target and formats that are written together.
        calib_dir: images for the ranges of float16 and INT8, where an engine runs them.

    Raises:
        UserError: weights, an input size or a folder that cannot be used.
    """
    input_hw = as_size(input_size) if input_size else configured_size(cfg)
    _make_folder(output_dir)
    folders: dict[tuple[str, Kind], Path] = {}
    reasons: dict[Kind, str] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark.") as temporary:
        path = Path(temporary, "random.pdparams")
        note = set_random_weights(cfg, path, input_hw) if random_weights else ""
        groups = _written_together({ENGINES[name].kind for name in engines})
        todo = [(stage, group) for stage in stages for group in groups]
        todo += _fixed_nms(engines, stages)
        while todo:
            stage, group = todo.pop(0)
            kinds = [kind for kind in group if kind not in reasons]
            if not kinds:
                continue
            target, formats = kinds[0].target, tuple(kind.format for kind in kinds)
            say(f"exporting {stage} as {', '.join(formats)}, target {target}")
            name = "-".join([stage, *formats, *(["target_cpu"] if target == "cpu" else [])])
            more = _half_options(engines, calib_dir) if Kind("onnx") in kinds else {}
            with_onnx = "onnx" in formats
            wanted = ExportOptions(formats, input_hw, batch, stage, with_onnx, target, **more)
            try:
                folder = export(cfg, output_dir / name, wanted)
            except (CheckpointError, ConfigError):
                raise
            except (UserError, ExportMismatch) as error:
                if len(kinds) == 1:
                    reasons[kinds[0]] = str(error)
                todo[:0] = [(stage, [kind]) for kind in kinds]  # each alone
                continue
            if _needs_int8(engines, kinds):
                add_int8_file(folder, calib_dir, say)
            if InferConfig.read(folder / CONFIG_FILE).target == target:
                folders.update({(stage, kind): folder for kind in kinds})
            else:
                reasons.update(dict.fromkeys(kinds, NOTHING_TO_CHANGE))
    left_out = {name: ENGINES[name].kind for name in engines if ENGINES[name].kind in reasons}
    return Exports(folders, {name: reasons[kind] for name, kind in left_out.items()}, note)


def _fixed_nms(engines: Sequence[str], stages: Sequence[str]) -> list[tuple[str, list[Kind]]]:
    """The export with an NMS of a fixed size, where an engine needs it instead of the usual one."""
    needed = "nms" in stages and any(ENGINES[name].needs_fixed_nms for name in engines)
    return [("nms_fixed", [Kind("onnx")])] if needed else []


def _needs_int8(engines: Sequence[str], kinds: Sequence[Kind]) -> bool:
    """True if an engine runs TensorRT's INT8 file, which is made of one of these exports."""
    return Kind("onnx") in kinds and any(ENGINES[name].has_tensorrt_int8 for name in engines)


def _half_options(engines: Sequence[str], calib_dir: Optional[Path]) -> dict[str, Any]:
    """Of an export for engines of which some run float16."""
    if any(ENGINES[name].has_half_weights for name in engines):
        return {"precision": "fp16", "calib_dir": calib_dir}
    return {}


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise DataError(f"`output_dir` {path}: cannot be written to ({error.strerror})") from error


def _written_together(kinds: set[Kind]) -> list[list[Kind]]:
    """Groups of one target each; paddle-legacy has to stay alone."""
    groups: dict[tuple[str, bool], list[Kind]] = {}
    for kind in sorted(kinds):
        groups.setdefault((kind.target, kind.format == "paddle-legacy"), []).append(kind)
    return [groups[key] for key in sorted(groups)]


def find_exports(model_dir: Sequence[str], stages: Sequence[str]) -> Exports:
    """Sorts folders that were exported before, as their infer_cfg.yml and files say.

    Raises:
        ConfigError: a folder without infer_cfg.yml or with a damaged one, folders of different
            models, or two for one stage and kind.
    """
    folders: dict[tuple[str, Kind], Path] = {}
    named: Optional[tuple[str, Path]] = None  # the first model with a name, and its folder
    for folder in map(Path, model_dir):
        config = InferConfig.read(folder / CONFIG_FILE)
        name, stage = config.model_name, config.stage  # no name in exports of PaddleDetection
        if named and name not in (None, named[0]):
            raise ConfigError(
                f"`model_dir` {folder}: of the model {name}, but {named[1]} is of {named[0]}; the "
                "benchmark measures one model"
            )
        named = named or ((name, folder) if name else None)
        for file, format_name in FORMAT_OF_FILE.items():
            is_asked_for = stage in stages or (stage == "nms_fixed" and "nms" in stages)
            if is_asked_for and (folder / file).is_file():
                kind = Kind(format_name, config.target)
                first = folders.setdefault((stage, kind), folder)
                if first != folder:
                    raise ConfigError(
                        f"`model_dir` {folder}: holds stage {stage} ({kind}), as {first} does; "
                        "leave one of them out"
                    )
    for (stage, kind), folder in list(folders.items()):  # Paddle 3 reads the legacy format, too
        if kind.format == "paddle-legacy":
            folders.setdefault((stage, kind._replace(format="paddle")), folder)
    return Exports(folders, {})


def model_name(model_dir: str) -> str:
    """The name of the model in an exported folder."""
    return InferConfig.read(Path(model_dir, CONFIG_FILE)).model_name or Path(model_dir).name
