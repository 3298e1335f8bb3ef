"""From a configuration or exported folders to the benchmark's table, behind ppdet benchmark.

The engines are those of `runtime`: what is measured is the very code that a deployment runs.
"""

import contextlib
import importlib
import platform
import tempfile
from pathlib import Path
from typing import Callable, Iterable, NamedTuple, Optional, Sequence

import paddle

from ppdet_lite.benchmark.against import OtherModel, closed_copy, fill_inputs, other_models
from ppdet_lite.benchmark.engines import (
    DEFAULT_ENGINES,
    ENGINES,
    ONNX_GPU_ENGINES,
    PADDLE_GPU_ENGINES,
    Kind,
)
from ppdet_lite.benchmark.exports import Exports, find_exports, model_name, write_exports
from ppdet_lite.benchmark.inference_report import Network, as_dict, markdown
from ppdet_lite.benchmark.model_info import measure
from ppdet_lite.benchmark.operator_times import operator_times
from ppdet_lite.benchmark.protocol import MeasuredEngine, NoEngine, Protocol
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.check import built_in_image
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.runtime.contract import STAGES, ModelFolder
from ppdet_lite.runtime.detector import open_engine
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice
from ppdet_lite.runtime.options import EngineOptions, TensorRTOptions
from ppdet_lite.utils.cpu import core_count, cpu_info
from ppdet_lite.utils.files import check_writable, write_image, write_json
from ppdet_lite.utils.image_files import list_images

JPEG_SUFFIXES = (".jpg", ".jpeg")


class InferenceOptions(NamedTuple):
    """The options of ppdet benchmark.

    Attributes:
        model_dir: exported folders, one or more stages of one model; none: the configuration is
            exported, with `input_size`, `random_weights` or else `weights`, into `output_dir`.
        engines: names in `engines.ENGINES`; none: all that are worth measuring here.
        images: JPEG files or folders; none: a built-in image.
        batch_size: images at once; exported folders have to take so many.
        against: .onnx files of other detectors, for the engines that read .onnx.
    """

    model_dir: Sequence[str] = ()
    engines: Sequence[str] = ()
    stages: Sequence[str] = STAGES[:3]
    input_size: Sequence[int] = ()
    random_weights: bool = False
    output_dir: Optional[str] = None
    images: Sequence[str] = ()
    batch_size: int = 1
    against: Sequence[str] = ()
    calib_dir: Optional[str] = None
    repeats: int = 20
    warmup: int = 3
    threads: int = core_count()
    json: Optional[str] = None

    def check(self) -> None:
        """Raises ConfigError for values that cannot be, or that are not for exported folders."""
        for name in self.engines:
            if name not in ENGINES:
                raise ConfigError(f"`engines`: found {name}, allowed: {', '.join(ENGINES)}")
        for name in ("repeats", "warmup", "threads", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}`: found {getattr(self, name)}, allowed: 1 or more")
        of_exporting = ("random_weights", "input_size", "output_dir")
        given = [f"`{name}`" for name in of_exporting if getattr(self, name)]
        if self.model_dir and given:
            raise ConfigError(
                f"{', '.join(given)}: not with `model_dir`, whose folders were exported before; "
                "leave one or the other out"
            )
        if "raw" not in self.stages:
            raise ConfigError("`stages`: raw is needed, for the others are compared with it")
        if self.against and self.engines and not _readers_of_onnx(self.engines):
            raise ConfigError(
                f"`against` needs one of `engines` {', '.join(_readers_of_onnx(ENGINES))}"
            )


def benchmark_inference(
    cfg: Optional[Config], options: InferenceOptions, say: Callable[[str], None] = print
) -> str:
    """Exports where no folders are given, measures, and writes the JSON.

    Args:
        cfg: with `model_dir` it may be None, and gives parameters and GFLOPs.
        say: takes lines about the progress.

    Returns:
        The report in Markdown.

    Raises:
        UserError: options, files or engines that cannot be used.
    """
    options.check()
    if options.json:
        check_writable(options.json)
    names = options.engines or default_engines(has_gpu(), has_driver())
    others = other_models(options.against)
    with tempfile.TemporaryDirectory(prefix="benchmark.") as temporary:
        folder, images = Path(temporary), find_jpegs(options.images)
        if not images:
            images = [folder / "image.jpg"]
            write_image(images[0], built_in_image())
        if cfg is None or options.model_dir:
            exports = find_exports(options.model_dir, options.stages)
        else:
            exports = _write_exports(cfg, options, names, images[0].parent, folder, say)
        engines, preprocess = open_engines(names, exports, options)
        engines += open_others(names, others, preprocess, options, exports.left_out, folder)
        protocol = Protocol(options.repeats, options.warmup, say, batch=options.batch_size)
        times = protocol.run(engines, preprocess, images, exports.left_out)
        for entry in times.engines:
            if not entry.model and ENGINES[entry.name].tells_operators and "raw" in entry.stages:
                entry.operators = operator_times(entry.stages["raw"].execute)
        if cfg:
            network = describe_network(cfg, times.input_hw, exports.note)
        else:
            network = Network(model_name(options.model_dir[0]))
    machine = describe_machine(options.threads)
    report = markdown(times, network, machine)
    if options.json:
        try:
            write_json(options.json, as_dict(times, network, machine))
        except UserError:
            say(report)  # what took minutes to measure must not be lost with the file
            raise
    return report


def _write_exports(
    cfg: Config,
    options: InferenceOptions,
    names: Sequence[str],
    photos: Path,
    folder: Path,
    say: Callable[[str], None],
) -> Exports:
    """The exports for engines, in `folder` where the options name none; `photos` are for the ranges
    of half precision where they name no others."""
    return write_exports(
        cfg,
        Path(options.output_dir or folder),
        names,
        options.stages,
        input_size=options.input_size,
        batch=options.batch_size,
        calib_dir=Path(options.calib_dir) if options.calib_dir else photos,
        random_weights=options.random_weights,
        say=say,
    )


def default_engines(paddle_on_gpu: bool, onnx_on_gpu: bool) -> tuple[str, ...]:
    """All that are worth measuring: those of the CPU, and of a GPU for Paddle or for others."""
    on_gpu = (PADDLE_GPU_ENGINES if paddle_on_gpu else ()) + (
        ONNX_GPU_ENGINES if onnx_on_gpu else ()
    )
    return DEFAULT_ENGINES + on_gpu


def has_gpu() -> bool:
    """True if Paddle can compute on a GPU here."""
    return paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0


def has_driver() -> bool:
    """True if there is a GPU of NVIDIA with its driver, whether or not Paddle can use it."""
    try:
        CudaDevice().close()
    except UserError:
        return False
    return True


def find_jpegs(images: Sequence[str]) -> list[Path]:
    """JPEG files, also those below folders.

    Raises:
        DataError: what is not there, an image that is not a JPEG, or a folder without one.
    """
    paths: list[Path] = []
    for path in map(Path, images):
        if not path.exists():
            raise DataError(f"`images` {path}: no such file or folder")
        found = list_images(path) if path.is_dir() else [path]
        jpegs = [file for file in found if file.suffix.lower() in JPEG_SUFFIXES]
        if not jpegs:
            raise DataError(f"`images` {path}: the benchmark reads JPEG files only")
        paths += jpegs
    return paths


def open_engines(
    names: Sequence[str],
    exports: Exports,
    options: InferenceOptions,
    opener: Callable = open_engine,
) -> tuple[list[MeasuredEngine], Preprocess]:
    """Every engine with its stages, and how all of them take images; reasons of engines that cannot
    be opened go to `exports.left_out`.

    Args:
        opener: see `runtime.detector.open_engine`.

    Raises:
        ConfigError: folders that cannot be compared.
        NoEngine: none can be opened.
    """
    engines: list[MeasuredEngine] = []
    first: Optional[ModelFolder] = None  # other folders are held against it
    for name in names:
        if name in exports.left_out:
            continue
        wanted, stages = ENGINES[name], {}
        engine_options = _engine_options(name, options)
        try:
            for stage in options.stages:
                form = "nms_fixed" if stage == "nms" and wanted.needs_fixed_nms else stage
                folder = exports.folders.get((form, wanted.kind))
                if folder is not None:
                    files = ModelFolder(
                        folder, engine_options.reads, precision=engine_options.precision
                    )
                    first = first or files
                    _check_comparable(files, first, options.batch_size)
                    stages[stage] = opener(files, engine_options)
                    kernels = stages[stage].kernels
                    if wanted.kernels not in (None, kernels):
                        raise UserError(f"this CPU or Paddle runs it as {kernels}")
        except ConfigError:
            raise
        except UserError as error:
            exports.left_out[name] = str(error)
            continue
        if stages:
            runs_on = ", ".join(dict.fromkeys(engine.runs_on for engine in stages.values()))
            engines.append(MeasuredEngine(name, stages, wanted.device, wanted.kind.target, runs_on))
        else:
            exports.left_out[name] = f"no folder that is given holds files for it ({wanted.kind})"
    if not engines or first is None:
        raise NoEngine(exports.left_out)
    return engines, first.preprocess


def _engine_options(name: str, options: InferenceOptions) -> EngineOptions:
    calib_dir = Path(options.calib_dir) if options.calib_dir else None
    return EngineOptions(
        device=ENGINES[name].device,
        cpu_threads=options.threads,
        tensorrt=TensorRTOptions(calib_dir=calib_dir, batch_size=options.batch_size),
        **ENGINES[name].options,
    )


def _readers_of_onnx(names: Iterable[str]) -> list[str]:
    """Those of the engines that run any .onnx; exports for CPUs are this project's own."""
    return [name for name in names if ENGINES[name].kind == Kind("onnx")]


def open_others(
    names: Sequence[str],
    others: dict[str, OtherModel],
    preprocess: Preprocess,
    options: InferenceOptions,
    left_out: dict[str, str],
    folder: Path,
    opener: Callable = open_engine,
) -> list[MeasuredEngine]:
    """Other detectors in every engine that reads .onnx; reasons of those that cannot be opened go
    to `left_out`.

    Args:
        others: by name.
        preprocess: of the network, whose input size the others get where they take any.
        folder: gets their files with closed sizes.
    """
    engines: list[MeasuredEngine] = []
    size = preprocess(built_in_image())["image"].shape[1:]
    for model, files in others.items():
        entries = []
        for name in _readers_of_onnx(names):
            entry = MeasuredEngine(name, {}, ENGINES[name].device, model=model)
            if ENGINES[name].asked_precision == files.precision:
                entries.append(entry)
            else:
                left_out[entry.title] = f"{files.graph} is in {files.precision}, and runs as it is"
        try:
            inputs = fill_inputs(files.inputs, size, options.batch_size)
            closed = closed_copy(files, inputs, folder / f"{model}.onnx")
        except UserError as error:
            left_out.update({entry.title: str(error) for entry in entries})
            continue
        for entry in entries:
            try:
                engine = opener(closed, _engine_options(entry.name, options))
            except UserError as error:
                left_out[entry.title] = str(error)
                continue
            entry.stages["raw"], entry.inputs, entry.runs_on = engine, inputs, engine.runs_on
            engines.append(entry)
    return engines


def _check_comparable(files: ModelFolder, first: ModelFolder, batch: int) -> None:
    """Refuses other batches, and images prepared in another way than for `first`."""
    if files.config.batch not in (None, batch):
        raise ConfigError(
            f"`model_dir` {files.path}: exported for batches of {files.config.batch}, but "
            f"`batch_size` is {batch}"
        )
    steps, expected = files.config.preprocess, first.config.preprocess
    if steps != expected:
        raise ConfigError(
            f"`model_dir` {files.path}: Preprocess: found {steps}, but {first.path} has {expected}"
        )


def describe_network(cfg: Config, input_hw: tuple[int, int], note: str = "") -> Network:
    """Parameters and multiply-adds of the configuration's network."""
    model = build_detector(cfg)
    total = measure(model, *input_hw).total
    backbone = type(model.backbone).__name__
    depth = (cfg.get(backbone) or {}).get("depth")
    return Network(cfg.name, total.values, total.multiply_adds, (backbone, depth), note)


def describe_machine(threads: int) -> dict[str, str]:
    """Processor, GPU and versions of what computes."""
    lines = (line.partition(":") for line in cpu_info().splitlines())
    names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    cpu = (*names, platform.processor(), platform.machine())
    count = f"{threads} thread" if threads == 1 else f"{threads} threads"
    facts = {"CPU": f"{next(filter(None, cpu), '')} ({count})", "Paddle": paddle.__version__}
    if has_gpu():
        facts["GPU"] = paddle.device.cuda.get_device_name(0)
    for package, label in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        with contextlib.suppress(ImportError):
            facts[label] = importlib.import_module(package).__version__.split("-")[0]
    return facts
