"""From a configuration or exported folders to the benchmark's table, behind tools/benchmark.py.

The engines are those of deploy/python, which this package does not import: the tool hands them in.
So what is measured is the very code that a deployment runs.
"""

import contextlib
import platform
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

import paddle

from ppdet_lite.benchmark.engines import (
    DEFAULT_ENGINES,
    ENGINES,
    GPU_ENGINES,
    Engine,
    check_engines,
)
from ppdet_lite.benchmark.exports import (
    export_stages,
    model_name,
    network_of,
    stage_folders,
)
from ppdet_lite.benchmark.inference_report import Network, as_dict, markdown
from ppdet_lite.benchmark.operator_times import operator_times
from ppdet_lite.benchmark.protocol import Contestant, run_benchmark
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.check import built_in_image
from ppdet_lite.runtime.contract import STAGES
from ppdet_lite.runtime.options import EngineOptions, TensorRTOptions
from ppdet_lite.utils.cpu import cpu_info
from ppdet_lite.utils.files import write_image
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.json_file import check_json, write_json

JPEG_SUFFIXES = (".jpg", ".jpeg")


class Deploy(NamedTuple):
    """What the tool takes from deploy/python."""

    open_engine: Callable
    model_folder: Callable


class Settings(NamedTuple):
    """The options of the tool; see its help."""

    engines: tuple[str, ...] = ()
    stages: tuple[str, ...] = STAGES
    input_size: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    repeats: int = 20
    warmup: int = 3
    threads: int = 1
    json_path: Optional[str] = None
    output_dir: Optional[str] = None
    calib_dir: Optional[str] = None
    random_weights: bool = False


def run(
    cfg, model_dirs: Sequence[str], deploy: Deploy, settings: Settings, say: Callable = print
) -> str:
    """Exports where no folders are given, measures, and writes the JSON.

    Args:
        cfg: a configuration; with `model_dirs` it may be None, and gives parameters and GFLOPs.
        model_dirs: folders of tools/export_model.py, one or more stages of one model.
        say: takes lines about the progress.

    Returns:
        The report in Markdown.

    Raises:
        UserError: settings, files or engines that cannot be used.
    """
    names = settings.engines or default_engines()
    _check(names, settings, model_dirs)
    if settings.json_path:
        check_json(settings.json_path)
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark.")))
        images = _jpegs(settings.images, temporary)
        note, left_out = "", {}
        if model_dirs:
            folders = stage_folders(model_dirs, settings.stages)
        else:
            parent = Path(settings.output_dir) if settings.output_dir else temporary
            folders, note, left_out = export_stages(
                cfg,
                parent,
                names,
                settings.stages,
                settings.input_size,
                settings.random_weights,
                say,
            )
        preprocess, contestants = _open_all(names, folders, deploy, settings, left_out)
        result = run_benchmark(
            contestants,
            preprocess,
            images,
            settings.repeats,
            settings.warmup,
            left_out,
            progress=say,
        )
        for entry in result.contestants:
            if ENGINES[entry.name].tells_operators and "raw" in entry.engines:
                entry.operators = operator_times(entry.engines["raw"].execute)
        if cfg:
            network = network_of(cfg, result.input_hw, note)
        else:
            network = Network(model_name(model_dirs[0]))
    machine = describe_machine(settings.threads)
    report = markdown(result, network, machine)
    if settings.json_path:
        _write_json(settings.json_path, as_dict(result, network, machine), report, say)
    return report


def _write_json(path: str, content: dict, report: str, say: Callable) -> None:
    """If that fails, what took minutes to measure must not be lost with it."""
    try:
        write_json(path, content)
    except UserError:
        say(report)
        raise


def default_engines() -> tuple[str, ...]:
    """All that are worth measuring here: those of the CPU, and of the GPU where there is one."""
    return DEFAULT_ENGINES + (GPU_ENGINES if _has_gpu() else ())


def _has_gpu() -> bool:
    return paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0


def _check(names: Sequence[str], settings: Settings, model_dirs: Sequence[str]) -> None:
    check_engines(names)
    of_exporting = {
        "--random-weights": settings.random_weights,
        "--input-size": settings.input_size,
        "--output_dir": settings.output_dir,
    }
    given = [option for option, value in of_exporting.items() if value]
    if model_dirs and given:
        raise ConfigError(
            f"{', '.join(given)}: not with --model_dir, whose folders were exported before; leave "
            "one or the other out"
        )
    if "raw" not in settings.stages:
        raise ConfigError("--stages: raw, the network alone, is what the others are compared with")


def _jpegs(images: Sequence[str], temporary: Path) -> list[Path]:
    """The images of the options, or a built-in one.

    Raises:
        DataError: what is not there, an image that is not a JPEG, or a folder without one.
    """
    if not images:
        path = temporary / "image.jpg"
        write_image(path, built_in_image())
        return [path]
    paths = []
    for path in map(Path, images):
        if not path.exists():
            raise DataError(f"--images {path}: no such file or folder")
        found = list_images(path) if path.is_dir() else [path]
        jpegs = [file for file in found if file.suffix.lower() in JPEG_SUFFIXES]
        if not jpegs:
            raise DataError(f"--images {path}: the benchmark reads JPEG files only")
        paths += jpegs
    return paths


def _open_all(
    names, folders: dict, deploy: Deploy, settings: Settings, left_out: dict
) -> tuple[Preprocess, list[Contestant]]:
    """Every engine with its stages; reasons of those that cannot be opened go to `left_out`."""
    contestants, preprocess, steps = [], None, None
    for name in names:
        if name in left_out:
            continue
        wanted, engines = ENGINES[name], {}
        try:
            for stage in settings.stages:
                folder = folders.get((stage, wanted.kind))
                if folder is None:
                    continue
                files = deploy.model_folder(folder, wanted.options.get("engine", "paddle"))
                steps = _check_folder(files, steps)
                engines[stage] = _open(wanted, files, deploy, settings)
                preprocess = files.preprocess
        except ConfigError:
            raise
        except UserError as error:
            left_out[name] = str(error)
            continue
        if engines:
            contestants.append(Contestant(name, engines, wanted.device, target=wanted.kind.target))
        else:
            left_out[name] = f"no folder of --model_dir holds files for it ({wanted.kind})"
    return preprocess, contestants


def _open(wanted: Engine, files, deploy: Deploy, settings: Settings):
    """One stage in an engine.

    Raises:
        UserError: it does not run here, or something else computes than its name says.
    """
    options = EngineOptions(
        device=wanted.device,
        cpu_threads=settings.threads,
        tensorrt=TensorRTOptions(calib_dir=settings.calib_dir and Path(settings.calib_dir)),
        **wanted.options,
    )
    engine = deploy.open_engine(files, options)
    if wanted.kernels and engine.kernels != wanted.kernels:
        raise UserError(f"this CPU or Paddle runs it as {engine.kernels}")
    return engine


def _check_folder(files, before: Optional[list]) -> list:
    """Refuses what cannot be compared: several images at once, and images prepared in another
    way than `before`; returns how they are prepared."""
    if files.config.batch not in (None, 1):
        raise ConfigError(
            f"--model_dir {files.path}: exported with --batch {files.config.batch}, but the "
            "benchmark measures one image at a time"
        )
    steps = files.config.preprocess
    if before is not None and steps != before:
        raise ConfigError(
            f"--model_dir {files.path}: Preprocess: found {steps}, but the folders before it have "
            f"{before}"
        )
    return steps


def describe_machine(threads: int) -> dict[str, str]:
    """Processor, GPU and versions of what computes."""
    count = f"{threads} thread" if threads == 1 else f"{threads} threads"
    facts = {"CPU": f"{_cpu_name()} ({count})", "Paddle": paddle.__version__}
    if _has_gpu():
        facts["GPU"] = paddle.device.cuda.get_device_name(0)
    for package, label in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        with contextlib.suppress(ImportError):
            facts[label] = __import__(package).__version__.split("-")[0]
    return facts


def _cpu_name() -> str:
    for line in cpu_info().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
