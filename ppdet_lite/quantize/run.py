"""Post-training quantization of an export, behind `ppdet quantize`.

The INT8 files of an engine go beside those in float32, with an entry in infer_cfg.yml. All is made
in a hidden folder beside the export and moved into it when the engine has run it, so that an error,
a full disk or Ctrl-C leaves the export as it was.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Sequence, Union

import numpy as np

from ppdet_lite.benchmark.inference_benchmark import describe_machine
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.check import ExportMismatch, verify_export
from ppdet_lite.export.folder import part_beside, writing
from ppdet_lite.export.formats.format import Trial, open_strictly
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model, on_cpu
from ppdet_lite.quantize.accuracy import LabeledImages
from ppdet_lite.quantize.images import find_images
from ppdet_lite.quantize.onnx_files import OnnxRuntimeQuantizer, TensorRTQuantizer
from ppdet_lite.quantize.openvino_files import OpenVinoQuantizer
from ppdet_lite.quantize.quantizer import AccuracyControl, Network, Quantizer, Written
from ppdet_lite.quantize.report import QuantizeReport, Result
from ppdet_lite.quantize.speed import time_in_turns
from ppdet_lite.runtime.contract import (
    CONFIG_FILE,
    FINAL_STAGES,
    INT8_FILES,
    STAGES,
    InferConfig,
    ModelFolder,
    graph_files,
)
from ppdet_lite.runtime.engines.engine import Engine
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import DEFAULT_THREADS, INT8_ENGINES, EngineOptions
from ppdet_lite.utils.cpu import int8_instructions
from ppdet_lite.utils.files import replacing
from ppdet_lite.utils.logger import get_logger

QUANTIZERS: dict[str, type[Quantizer]] = {
    kind.engine: kind for kind in (OpenVinoQuantizer, OnnxRuntimeQuantizer, TensorRTQuantizer)
}
NOT_PADDLE = (
    "Paddle 3.3 calibrates on CPUs, but its Inference cannot run the result in INT8, or gives "
    "wrong outputs (docs/quantization.md)"
)
FindImages = Callable[[InferConfig], Calibration]
COMPARED_IMAGES = 2
"""On so many an export that was there before is compared with the weights."""


@dataclass(frozen=True)
class QuantizeOptions:
    """The options of ppdet quantize.

    Attributes:
        engine: one of INT8_ENGINES.
        stage: end of the graph, one of STAGES; None: the quantizer's own.
        calib_dir, calib_images: see `find_images`.
        verify_dataset: compute AP of both precisions on `EvalDataset`.
        max_drop: AP, in points of 100, that may be lost; layers return to float32 until it holds.
            None: no such search.
        threads, repeats: of the measurement of speed, which only engines for CPUs get.

    Raises:
        UserError: a value that cannot be, or options that do not go together.
    """

    engine: str = INT8_ENGINES[0]
    stage: Optional[str] = None
    calib_dir: Union[str, Path, None] = None
    calib_images: Optional[int] = None
    verify_dataset: bool = False
    max_drop: Optional[float] = None
    threads: int = DEFAULT_THREADS
    repeats: int = 20

    def __post_init__(self) -> None:
        if self.engine == "paddle":
            raise UserError(f"`engine` paddle: {NOT_PADDLE}; allowed: {', '.join(INT8_ENGINES)}")
        for key, value, allowed in (
            ("engine", self.engine, INT8_ENGINES),
            ("stage", self.stage, STAGES),
        ):
            if value is not None and value not in allowed:
                raise UserError(f"`{key}`: found {value}, allowed: {', '.join(allowed)}")
        counts = {"calib_images": self.calib_images, "threads": self.threads}
        for key, count in {**counts, "repeats": self.repeats}.items():
            if count is not None and count < 1:
                raise UserError(f"`{key}`: found {count}, allowed: 1 or more")
        if self.max_drop is not None:
            if not 0 < self.max_drop < 100:
                raise UserError(f"`max_drop`: found {self.max_drop}, allowed: above 0, below 100")
            if not QUANTIZERS[self.engine].has_accuracy_control:
                able = [name for name, kind in QUANTIZERS.items() if kind.has_accuracy_control]
                raise UserError(f"`max_drop` needs `engine` {' or '.join(able)}")
        is_labeled = self.verify_dataset or self.max_drop is not None
        if is_labeled and self.end not in FINAL_STAGES:
            raise UserError(
                f"`verify_dataset` and `max_drop` need `stage` {' or '.join(FINAL_STAGES)}, found "
                f"{self.end}, which gives no boxes"
            )

    @property
    def end(self) -> str:
        """The stage that is quantized."""
        return self.stage or QUANTIZERS[self.engine].stage


def quantize_model(
    cfg: Config, output_dir: Union[str, Path], options: QuantizeOptions
) -> QuantizeReport:
    """Adds the INT8 files of an engine to the export of `cfg` in `output_dir`, which is written
    first where there is none, and measures them beside those in float32.

    Raises:
        ExportMismatch: the export that is there is not one of these weights.
        UserError: options, images, weights, a package or a folder that cannot be used.
    """
    quantizer = QUANTIZERS[options.engine]()
    quantizer.requirements()
    find = find_images(cfg, options.calib_dir, options.calib_images)
    stage = "" if options.end == "nms" else f"_{options.end}"
    folder = Path(os.path.realpath(Path(output_dir, f"{cfg.name}{stage}")))
    with on_cpu() as interrupts:
        labeled = None
        if options.verify_dataset or options.max_drop is not None:
            labeled = LabeledImages(cfg, load_trained_model(cfg)[1])
        if folder.exists():
            _check_export(cfg, folder, quantizer, find)
        else:
            wanted = ExportOptions(("onnx",), stage=options.end, portable_dcn=True)
            export_model(cfg, output_dir, wanted)
        files = ModelFolder(folder, options.engine)
        images = find(files.config)
        with part_beside(folder, interrupts.step) as part:
            _check_room(files, folder)
            control = _control(options.max_drop, labeled, files.config)
            with writing(folder):
                written = quantizer.write(files.graph, images, part, control)
            entry = {"calibration": images.source, **written.content()}
            _describe(part, files.config, options.engine, entry)
            check_runs(part, quantizer, images)
            with interrupts.step(), writing(folder):
                _move(part, folder, options.engine)
        get_logger().info("written to %s: %s", folder, ", ".join(INT8_FILES[options.engine]))
        return _measure(folder, quantizer, options, images, written, labeled)


def _check_export(cfg: Config, folder: Path, quantizer: Quantizer, find: FindImages) -> None:
    """Refuses a folder that is no export of these weights with an .onnx for any device."""
    names = graph_files(quantizer.engine)
    if (folder / CONFIG_FILE).is_file() and not any((folder / name).is_file() for name in names):
        raise DataError(
            f"{folder}: no {' and no '.join(names)} in it, from which INT8 files are made; export "
            "again in the format onnx with portable-dcn"
        )
    files = ModelFolder(folder, quantizer.engine)
    if files.config.target == "cpu":
        raise ConfigError(
            f"{folder}: exported for the target cpu, whose convolutions by Winograd's method have "
            "no INT8; export it for the target any"
        )
    model, _ = load_trained_model(cfg)
    paths = list(find(files.config).images)[:COMPARED_IMAGES]
    engine, name = quantizer.checked_by, files.graph.name
    trial = Trial(f"{engine}, {name}", lambda: open_strictly(folder, engine, name))
    try:
        verify_export(model, [trial], files.config, {path: decode_image(path) for path in paths})
    except ExportMismatch as error:
        raise ExportMismatch(
            f"{folder}: {error} It is of other weights, or of another configuration: export again, "
            "or choose another `output_dir`"
        ) from error


def _check_room(files: ModelFolder, folder: Path) -> None:
    needed, free = files.graph.stat().st_size, shutil.disk_usage(folder.parent).free
    if free < needed:
        raise UserError(
            f"{folder}: the INT8 files need up to {needed / 2**20:.0f} MiB and "
            f"{free / 2**20:.0f} MiB are free; make room"
        )


def _control(
    max_drop: Optional[float], labeled: Optional[LabeledImages], config: InferConfig
) -> Optional[AccuracyControl]:
    if max_drop is None or labeled is None:
        return None
    truth = labeled

    def average_precision(run: Network, indices: Sequence[int]) -> float:
        if not any(map(truth.has_objects, indices)):
            return 1.0  # NNCF asks for images one by one as well, and such a one has no AP
        truth.evaluate(run, config, indices)
        return truth.metric.primary[1]

    return AccuracyControl(max_drop / 100, len(labeled), average_precision)


def _describe(part: Path, config: InferConfig, engine: str, entry: dict) -> None:
    """Writes infer_cfg.yml with the INT8 files of an engine into `part`."""
    own = config.with_files(part).files or {}
    content = replace(
        config,
        int8={**(config.int8 or {}), engine: entry},
        files={**(config.files or {}), **own},
    )
    content.write(part / CONFIG_FILE)


def check_runs(folder: Path, quantizer: Quantizer, images: Calibration) -> None:
    """Runs INT8 files once; a UserError if the engine cannot, or finds numbers that are none."""
    network = open_on_cpu(folder, quantizer, "int8")
    for output in network.run(next(images.batches())):
        if not np.isfinite(output).all():
            raise UserError(f"{network.graph}: gives NaN or infinite numbers; nothing was written")
    network.close()


def open_on_cpu(
    folder: Path, quantizer: Quantizer, precision: str, threads: int = DEFAULT_THREADS
) -> Engine:
    """The files of a folder that the quantizer's engine reads, in the one that checks them."""
    files = ModelFolder(folder, quantizer.engine, precision=precision)
    options = EngineOptions(quantizer.checked_by, precision=precision, cpu_threads=threads)
    return open_engine(files, options)


def _move(part: Path, folder: Path, engine: str) -> None:
    """The files of `part` in the place of earlier ones; infer_cfg.yml, which names them, last."""
    for name in INT8_FILES[engine]:
        if (part / name).is_file():
            os.replace(part / name, folder / name)
    with replacing(folder / CONFIG_FILE) as stream:
        stream.write((part / CONFIG_FILE).read_bytes())


def _measure(
    folder: Path,
    quantizer: Quantizer,
    options: QuantizeOptions,
    images: Calibration,
    written: Written,
    labeled: Optional[LabeledImages],
) -> QuantizeReport:
    precisions = ("fp32", "int8")
    networks = [open_on_cpu(folder, quantizer, name, options.threads) for name in precisions]
    inputs = next(images.batches())
    times: list[list[float]] = [[], []]
    if quantizer.runs_on_cpus:
        times = time_in_turns(networks, inputs, options.repeats)
    results = []
    for precision, network, values in zip(precisions, networks, times):
        files = ModelFolder(folder, quantizer.engine, precision=precision)
        metrics = labeled.evaluate(network.run, files.config) if labeled else None
        size = sum(path.stat().st_size for path in (files.graph, files.params) if path)
        results.append(Result(precision, size, values, metrics))
        network.close()
    return QuantizeReport(
        folder,
        quantizer.engine,
        written,
        images.source,
        {**describe_machine(options.threads), "INT8 instructions": int8_instructions()},
        (inputs["image"].shape[2], inputs["image"].shape[3]),
        *results,
    )
