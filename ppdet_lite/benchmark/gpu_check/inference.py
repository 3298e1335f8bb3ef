"""The cases that run exported networks: boxes for reference, speed, other detectors."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ppdet_lite.benchmark.against import fill_inputs
from ppdet_lite.benchmark.engines import ENGINES
from ppdet_lite.benchmark.gpu_check.agreement import TOLERANCES, compare
from ppdet_lite.benchmark.gpu_check.cases import Case, Setup
from ppdet_lite.benchmark.gpu_check.device_memory import used_bytes
from ppdet_lite.benchmark.gpu_check.networks.network_set import NetworkSet
from ppdet_lite.benchmark.gpu_check.roundings import (
    compare_roundings,
    raw_outputs,
    write_raw_reference,
)
from ppdet_lite.benchmark.protocol import Summary
from ppdet_lite.benchmark.timing import time_network
from ppdet_lite.core.errors import DataError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.contract import INT8_FILES, ModelFolder
from ppdet_lite.runtime.detector import Detector, open_engine
from ppdet_lite.runtime.engines.engine import Arrays, Engine, stack_samples
from ppdet_lite.runtime.options import EngineOptions, TensorRTOptions

Note = Callable[..., None]
"""Takes results by name, and keeps them at once: a process that dies later loses nothing."""


def make_references(case: Case, setup: Setup, note: Note) -> None:
    """Writes the boxes of all photos by the network in float32 on the CPU, and where there is an
    INT8 file, what its roundings change there."""
    detector = open_detector(case, setup)
    found = [detector.predict([decode_image(path)])[0] for path in setup.images]
    setup.references.mkdir(parents=True, exist_ok=True)
    np.savez(setup.references / f"{case.network}.npz", *found)
    note(runs_on=detector.engine.runs_on, photos=len(found), detections=sum(map(len, found)))
    folder = NetworkSet.read(setup.networks).export(case.network, "raw", case.batch)
    if (folder / INT8_FILES["tensorrt"][0]).is_file():
        note(int8_distance=write_raw_reference(folder, setup, _raw_reference(case, setup)))


def _raw_reference(case: Case, setup: Setup) -> Path:
    return setup.references / f"{case.network}_raw.npz"


def measure_speed(case: Case, setup: Setup, note: Note) -> None:
    """Times the network alone and with NMS inside, and compares the boxes of all photos."""
    networks, wanted = NetworkSet.read(setup.networks), ENGINES[case.engine]
    before, started = used_bytes(case.device), time.perf_counter()
    options = engine_options(case, setup)
    folder = networks.export(case.network, "raw", case.batch)
    files = ModelFolder(folder, options.engine, precision=options.precision)
    engine = open_engine(files, options)
    note(runs_on=engine.runs_on, open_s=time.perf_counter() - started)
    image = files.preprocess(decode_image(setup.images[0]))
    sample = stack_samples([image] * case.batch)
    note(**timed("raw", engine, sample, setup))
    note(memory_bytes=used_bytes(case.device) - before)
    if wanted.has_tensorrt_int8:
        found = raw_outputs(engine, files, setup, case.batch)
        note(**compare_roundings(_raw_reference(case, setup), found))
    engine.close()
    del engine
    detector = open_detector(case, setup)
    note(**timed("nms", detector.engine, sample, setup))
    if wanted.has_tensorrt_int8:
        return
    rows = detections(detector, case.batch, setup)
    agreement = compare(references(case, setup), rows, TOLERANCES[wanted.precision])
    note(boxes=str(agreement), boxes_agree=agreement.holds(TOLERANCES[wanted.precision]))


def measure_other_model(case: Case, setup: Setup, note: Note) -> None:
    """Times another detector's .onnx, all of it."""
    networks = NetworkSet.read(setup.networks)
    files = networks.other(case.network)
    before, started = used_bytes(case.device), time.perf_counter()
    size = tuple(next(iter(networks.networks.values()))["input_hw"])
    engine = open_engine(files, engine_options(case, setup))
    note(runs_on=engine.runs_on, open_s=time.perf_counter() - started)
    note(**timed("raw", engine, fill_inputs(files.inputs, size, case.batch), setup))
    note(memory_bytes=used_bytes(case.device) - before)


def engine_options(case: Case, setup: Setup) -> EngineOptions:
    """The options of the case's engine; engines that are built lie beside the results."""
    wanted = ENGINES[case.engine]
    cache = setup.output / "engine_cache" / case.network
    tensorrt = TensorRTOptions(cache_dir=cache, batch_size=case.batch)
    options = EngineOptions(
        device=wanted.device, cpu_threads=setup.threads, tensorrt=tensorrt, **wanted.options
    )
    return replace(options, is_strict=True)


def open_detector(case: Case, setup: Setup) -> Detector:
    """The network with NMS inside."""
    stage = "nms_fixed" if ENGINES[case.engine].kind.format == "onnx" else "nms"
    folder = NetworkSet.read(setup.networks).export(case.network, stage, case.batch)
    chosen = engine_options(case, setup)
    given = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__}
    return Detector(folder, batch_size=case.batch, **given)


def timed(stage: str, engine: Engine, sample: Arrays, setup: Setup) -> dict[str, Any]:
    """Milliseconds of runs, by the names in results."""
    times = time_network(engine, sample, setup.repeats, setup.warmup)
    result: dict[str, Any] = {f"{stage}_ms": Summary.of(times.host_ms)._asdict()}
    if times.device_ms:
        result[f"{stage}_device_ms"] = Summary.of(times.device_ms)._asdict()
    return result


def detections(detector: Detector, batch: int, setup: Setup) -> list[np.ndarray]:
    """The boxes of all photos, a batch at a time."""
    found: list[np.ndarray] = []
    for start in range(0, len(setup.images), batch):
        images = [decode_image(path) for path in setup.images[start : start + batch]]
        found += detector.predict(images)
    return found


def references(case: Case, setup: Setup) -> list[np.ndarray]:
    """The boxes that `make_references` has written.

    Raises:
        DataError: it has not.
    """
    path: Path = setup.references / f"{case.network}.npz"
    if not path.is_file():
        raise DataError(f"{path}: no boxes for reference, because their case failed")
    with np.load(path) as arrays:
        return [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
