"""A whole GPU check, behind `make gpu-check`."""

import importlib.util
import shutil
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

from ppdet_lite.benchmark.engines import ENGINES, PADDLE_GPU_ENGINES
from ppdet_lite.benchmark.gpu_check.cases import REFERENCE_ENGINE, Plan, Setup
from ppdet_lite.benchmark.gpu_check.machine import describe_machine, gpu_facts
from ppdet_lite.benchmark.gpu_check.networks.drawn_weights import write_all_weights
from ppdet_lite.benchmark.gpu_check.networks.network_set import NetworkSet
from ppdet_lite.benchmark.gpu_check.report import markdown
from ppdet_lite.benchmark.gpu_check.runner import Row, run_cases
from ppdet_lite.benchmark.gpu_check.verdicts import judge
from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.data.synthetic.demo_set import make_demo_data
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.files import replacing, write_json
from ppdet_lite.utils.image_files import list_images

MOST_IMAGES = 16
"""Photos whose boxes are compared."""

DEMO_IMAGES = 8
DEMO_SIDE = 640


ENGINES_OF_TARGETS = (
    *("cuda_fp32", "cuda_fp16", "tensorrt_fp32", "tensorrt_fp16"),
    *("cuda_fp32_graph", "cuda_fp16_graph", "tensorrt_fp32_graph", "tensorrt_fp16_graph"),
    *("tensorrt_int8", "tensorrt_int8_graph"),
    *("cuda_tf32", "tensorrt_tf32"),
)
"""Those that come first."""


TRAININGS = ("fp32", "amp_o1", "amp_o2", "sync_bn")
"""Names of `training.WAYS`, which needs Paddle."""


class CheckOptions(NamedTuple):
    """The options of tools/gpu_check.py.

    Attributes:
        networks: a set that was prepared; None prepares one below `output_dir`, by Paddle.
        images: folder of photos; None draws some.
        budget: seconds for all cases.
        dry_run: on the CPU, with a small network and few repeats.
    """

    output_dir: str = "output/gpu_check"
    networks: Optional[str] = None
    images: Optional[str] = None
    against: Sequence[str] = ()
    budget: float = 450.0
    repeats: int = 100
    threads: int = core_count()
    dry_run: bool = False


def gpu_check(options: CheckOptions, say: Callable[[str], None] = print) -> str:
    """Prepares, measures and judges; results.json and report.md are always up to date.

    Returns:
        The report in Markdown.

    Raises:
        UserError: no GPU, or files that cannot be used.
    """
    started = time.monotonic()
    if not options.dry_run and gpu_facts() is None:
        raise UserError("nvidia-smi finds no GPU here; `dry_run` tries everything on the CPU")
    output = Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    images = find_images(options, output, say)
    networks = find_networks(options, output, images[0].parent, say)
    graphs = write_all_weights(networks.folder, options.threads)
    say(f"{graphs} graphs are ready after {time.monotonic() - started:.0f} s")
    setup = Setup(
        networks.folder.resolve(),
        tuple(path.resolve() for path in images),
        output.resolve(),
        repeats=options.repeats,
        threads=options.threads,
    )
    if options.dry_run:
        setup = setup.shortened()
    machine = describe_machine()

    def keep(rows: list[Row]) -> str:
        verdicts = judge(rows, networks.networks)
        content = {"machine": machine, "networks": networks.networks, "rows": rows}
        judged = [verdict._asdict() for verdict in verdicts]
        write_json(output / "results.json", {**content, "verdicts": judged})
        report = markdown(rows, verdicts, machine, networks.networks, setup.repeats)
        with replacing(output / "report.md") as stream:
            stream.write(report.encode())
        return report

    left = options.budget - (time.monotonic() - started)
    rows = run_cases(plan(options, networks).cases(), setup, budget_s=left, keep=keep, say=say)
    return keep(rows)


def prepare(options: CheckOptions, folder: Path, say: Callable[[str], None] = print) -> None:
    """Writes `networks`, without large weights, and `images` into a folder, for a machine without
    Paddle.

    Raises:
        UserError: an export that cannot be made, or images that cannot be used.
    """
    from ppdet_lite.benchmark.gpu_check.networks.prepare import (
        NETWORKS,
        SMALL_NETWORKS,
        prepare_networks,
    )

    with tempfile.TemporaryDirectory(prefix="gpu_check.") as temporary:
        images = folder / "images"
        images.mkdir(parents=True, exist_ok=True)
        for path in find_images(options, Path(temporary), say):
            shutil.copyfile(path, images / path.name)
    prepare_networks(
        SMALL_NETWORKS if options.dry_run else NETWORKS,
        folder / "networks",
        images=images,
        against=options.against,
        without_weights=True,
        say=say,
    )


def plan(options: CheckOptions, networks: NetworkSet) -> Plan:
    """What this machine can measure."""
    names = {name: facts["batches"] for name, facts in networks.networks.items()}
    others = {name: networks.other(name).precision for name in networks.others}
    if options.dry_run:
        engines = [REFERENCE_ENGINE] + ["openvino"] * bool(importlib.util.find_spec("openvino"))
        ways = TRAININGS if importlib.util.find_spec("paddle") else ()
        return Plan(names, engines, engines[:1], others, ways, training_batch=2)
    engines = [*ENGINES_OF_TARGETS, *(PADDLE_GPU_ENGINES if has_gpu_of_paddle() else ())]
    of_onnx = [name for name, engine in ENGINES.items() if engine.needs_fixed_nms]
    engines += [name for name in of_onnx if name not in engines]
    if not networks.has_int8:
        engines = [name for name in engines if not ENGINES[name].has_tensorrt_int8]
    half = [name for name in ENGINES_OF_TARGETS if ENGINES[name].precision == "fp16"]
    ways = TRAININGS if has_gpu_of_paddle() else ()
    return Plan(names, engines, half, others, ways)


def has_gpu_of_paddle() -> bool:
    """True if Paddle is installed and can use a GPU here."""
    if importlib.util.find_spec("paddle") is None:
        return False
    from ppdet_lite.benchmark.inference_benchmark import has_gpu

    return has_gpu()


def find_images(
    options: CheckOptions, output: Path, say: Callable[[str], None] = print
) -> list[Path]:
    """Photos, or drawn images where none are given.

    Raises:
        DataError: the folder holds no image.
    """
    if options.images is None:
        demo = make_demo_data(output / "images", train=1, val=DEMO_IMAGES, size=DEMO_SIDE, say=say)
        return list_images(demo / "val")
    folder = Path(options.images)
    found = list_images(folder) if folder.is_dir() else []
    if not found:
        raise DataError(f"`images` {folder}: found no folder with images")
    return found[:MOST_IMAGES]


def find_networks(
    options: CheckOptions, output: Path, images: Path, say: Callable[[str], None] = print
) -> NetworkSet:
    """The set that was given, or one that is made now.

    Raises:
        UserError: it cannot be made.
    """
    if options.networks is not None:
        return NetworkSet.read(Path(options.networks))
    if importlib.util.find_spec("paddle") is None:
        raise UserError(
            "`networks`: needed where Paddle is not installed; tools/dev/pack_gpu_check.sh makes "
            "a set on a machine that has it"
        )
    from ppdet_lite.benchmark.gpu_check.networks.prepare import (
        NETWORKS,
        SMALL_NETWORKS,
        prepare_networks,
    )

    return prepare_networks(
        SMALL_NETWORKS if options.dry_run else NETWORKS,
        output / "networks",
        images=images,
        formats=("onnx", *(["paddle"] if has_gpu_of_paddle() else [])),
        against=options.against,
        say=say,
    )
