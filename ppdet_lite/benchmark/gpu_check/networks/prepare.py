"""Makes a set of networks for a GPU check: exports by Paddle, on a machine that has it."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

from ppdet_lite.benchmark.against import closed_copy, fill_inputs, other_models
from ppdet_lite.benchmark.gpu_check.networks.fixed_batch import fix_batch
from ppdet_lite.benchmark.gpu_check.networks.network_set import NetworkSet
from ppdet_lite.benchmark.gpu_check.networks.skeleton import Skeletons
from ppdet_lite.benchmark.int8_file import add_int8_file
from ppdet_lite.benchmark.random_weights import CANDIDATE_SHARE, set_random_weights
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import ExportMismatch
from ppdet_lite.export.options import DYNAMIC, ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.modeling.build_detector import build_detector

REPO = Path(__file__).resolve().parents[4]
STAGES = {"raw": ("onnx", "paddle"), "nms_fixed": ("onnx",), "nms": ("paddle",)}
"""Stages and the formats in which they are needed."""


class Wanted(NamedTuple):
    """A network of the check.

    Attributes:
        title: for people.
        config: in the repository.
        batches: numbers of images at once.
        overrides: of the configuration.
        candidate_share: of scores above the threshold of NMS.
    """

    name: str
    title: str
    config: str
    input_size: int = 640
    batches: tuple[int, ...] = (1, 8)
    overrides: tuple[str, ...] = ()
    candidate_share: float = CANDIDATE_SHARE


NETWORKS = (
    Wanted("r50_640", "PP-YOLOv2 R50, 640", "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml"),
    Wanted(
        "r101_640",
        "PP-YOLOv2 R101, 640",
        "configs/ppyolo/ppyolov2_r101vd_dcn_365e_coco.yml",
        640,
        (1,),
    ),
    Wanted("yolox_l_640", "YOLOX-L, 640", "configs/yolox/yolox_l_300e_coco.yml"),
)
"""Those that the targets are about, PP-YOLOv2 R50 first."""

SMALL_NETWORKS = (
    Wanted(
        "r18_64",
        "PP-YOLOv2 R18, 64",
        "configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml",
        64,
        (1, 2),
        ("norm_type=bn",),
        0.02,
    ),
)
"""For a dry run."""


def prepare_networks(
    wanted: Sequence[Wanted],
    folder: Path,
    *,
    images: Path,
    formats: Sequence[str] = ("onnx",),
    against: Sequence[str] = (),
    without_weights: bool = False,
    say: Callable[[str], None] = print,
) -> NetworkSet:
    """Exports networks with weights that follow from their names.

    Args:
        folder: gets the set; what it held is kept and overwritten.
        images: folder of photos, for the ranges of half precision.
        formats: of tools/export_model.py: "onnx", "paddle".
        against: .onnx files of other detectors.
        without_weights: take the large weights out, see `skeleton`.

    Raises:
        UserError: an export that cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    networks = NetworkSet(folder, {}, {})
    for name, model in other_models(against).items():
        (folder / name).mkdir(exist_ok=True)
        inputs = fill_inputs(model.inputs, (wanted[0].input_size, wanted[0].input_size))
        closed = closed_copy(model, inputs, folder / name / "model.onnx")
        networks.others[name] = {
            "inputs": [entry._asdict() for entry in closed.inputs],
            "precision": closed.precision,
        }
    for entry in wanted:
        cfg = load_config(REPO / entry.config, [*entry.overrides, "use_gpu=false"])
        size = (entry.input_size, entry.input_size)
        with tempfile.TemporaryDirectory(prefix="gpu_check.") as temporary:
            path = Path(temporary, "weights.pdparams")
            note = set_random_weights(cfg, path, size, entry.candidate_share)
            _export_all(cfg, entry, networks, images, formats, without_weights, say)
        backbone = cfg.get("YOLOv3", cfg.get("YOLOX", {})).get("backbone", "")
        depth = (cfg.get(backbone) or {}).get("depth")
        networks.networks[entry.name] = {
            "title": entry.title,
            "config": entry.config,
            "overrides": list(entry.overrides),
            "backbone": [backbone, depth],
            "input_hw": list(size),
            "batches": list(entry.batches),
            "note": note,
        }
        networks.write()
    return networks


def _export_all(
    cfg: Config,
    entry: Wanted,
    networks: NetworkSet,
    images: Path,
    formats: Sequence[str],
    without_weights: bool,
    say: Callable[[str], None],
) -> None:
    """Every stage and batch of a network."""
    skeletons = None
    if without_weights:
        parameters = build_detector(cfg).named_parameters()
        shapes = {name: value.shape for name, value in parameters if value.ndim == 4}
        skeletons = Skeletons(shapes)
    for stage, possible in STAGES.items():
        wanted = tuple(name for name in possible if name in formats)
        if not wanted:
            continue
        say(f"exporting {entry.name}, {stage}")
        options = ExportOptions(wanted, entry.input_size, DYNAMIC, stage)
        if "onnx" in wanted:
            options = replace(options, portable_dcn=True, precision="fp16", calib_dir=images)
        with tempfile.TemporaryDirectory(dir=networks.folder) as temporary:
            made = _export(cfg, Path(temporary), options, say)
            if "onnx" in wanted:
                add_int8_file(made, images, say)
            for batch in entry.batches:
                target = networks.export(entry.name, stage, batch)
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(made, target)
                fix_batch(target, batch)
                if skeletons is not None:
                    skeletons.strip_all(target)


def _export(cfg: Config, folder: Path, options: ExportOptions, say: Callable[[str], None]) -> Path:
    """An export; without float16 where that is not exact enough, so that the rest is measured.

    Raises:
        UserError: in float32 neither.
    """
    try:
        return export_model(cfg, folder, options)
    except ExportMismatch as error:
        if options.precision != "fp16":
            raise UserError(str(error)) from error
        say(f"{cfg.name}, {options.stage}: without float16: {error}")
    return _export(cfg, folder, replace(options, precision="fp32", calib_dir=None), say)
