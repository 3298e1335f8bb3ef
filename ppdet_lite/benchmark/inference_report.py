"""The benchmark's result as a Markdown table and JSON, beside what the papers and targets say.

The table shows medians over the rounds. Ratios and targets compare fastest rounds, because other
work on the machine can only make a round slower.
"""

from typing import Any, NamedTuple, Optional

from ppdet_lite.benchmark.engines import ENGINES, WITH_TARGET_CPU
from ppdet_lite.benchmark.protocol import END_TO_END, InferenceTimes, MeasuredEngine, Summary
from ppdet_lite.benchmark.tables import markdown_table, percent

COLUMNS = {
    "raw": "network ms (p5-p95)",
    "decoded": "+ decode",
    "nms": "+ NMS",
    END_TO_END: "JPEG to boxes",
}

LEGEND = (
    "Medians of {rounds} rounds. Beside the network: all from JPEG to boxes that is not the "
    "network, in shares of it. What is compared, here and below, are fastest rounds: other work on "
    "the machine only makes rounds slower."
)
COUNTED_AS = (
    "Names with _target_cpu run exports for CPUs (target cpu); their share of the peak is counted "
    "as plain convolutions, but they need fewer multiplications."
)
OTHER_MODELS = (
    "Rows of other detectors run all of their .onnx, on noise: an NMS in it takes another time on "
    "photos."
)
UNREST = 0.2
"""Rounds that differ by more than this share were not measured on a quiet machine."""
MOST_OPERATORS = 4

PAPER_SPEED_UP = {
    ("ResNet", 50): (68.9, 106.5, 54.6),
    ("ResNet", 101): (50.3, 87.0, 73.0),
}
"""Frames per second without and with TensorRT FP16 of PP-YOLOv2 at 640 on a V100, and the speed-up
in percent: arXiv:2104.10419, Table 2."""

WORDS = {
    "onednn": "oneDNN",
    "onednn_target_cpu": "oneDNN with an export for CPUs (target cpu)",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime_target_cpu": "ONNX Runtime with an export for CPUs",
    "openvino": "OpenVINO",
}
"""Engines in sentences."""

TARGETS_ARE_FOR = (("ResNet", 50), (640, 640))
"""Backbone and input of the network that the targets are about, PP-YOLOv2."""
PEAK_TARGET = 0.9
ONNXRUNTIME_TARGET = 1.7
OVERHEAD_TARGET = 0.05


class Network(NamedTuple):
    """Facts about the measured network.

    Attributes:
        name: of its configuration.
        parameters: saved values; None without a configuration.
        multiply_adds: on one image, see benchmark/model_info.py.
        backbone: (class name, depth), to find the paper's figures.
        note: about weights that were not given.
    """

    name: str
    parameters: Optional[int] = None
    multiply_adds: Optional[int] = None
    backbone: tuple = ()
    note: str = ""


def markdown(times: InferenceTimes, network: Network, machine: dict[str, str]) -> str:
    """Everything as text that a page can hold."""
    height, width = times.input_hw
    facts = [f"{network.name}, batch {times.batch}, input {height} x {width} (height x width)"]
    if network.parameters is not None and network.multiply_adds is not None:
        facts.append(f"{network.parameters / 1e6:.2f} M parameters")
        facts.append(f"{network.multiply_adds / 1e9:.2f} GFLOPs (a multiply-add counts once)")
    lines = [", ".join(facts), ", ".join(f"{key} {value}" for key, value in machine.items())]
    lines += [network.note] if network.note else []
    header = ["engine", *COLUMNS.values(), "beside the network", "of float32 peak"]
    rows = [_row(entry, times, network) for entry in times.engines]
    lines += ["", *markdown_table([*header[:2], "FPS", *header[2:]], rows), ""]
    counts = [len(values) for entry in times.engines for values in entry.times.values()]
    lines.append(LEGEND.format(rounds=max(counts, default=0)))
    lines += [OTHER_MODELS] if any(entry.model for entry in times.engines) else []
    lines += [COUNTED_AS] if any(entry.target == "cpu" for entry in times.engines) else []
    if times.unrest > UNREST:
        lines.append(
            f"Slow rounds took {times.unrest:.0%} longer than fast ones: this machine was not "
            "quiet, and the comparisons are rough."
        )
    lines.append("")
    lines += [f"left out: {name}: {why}" for name, why in times.left_out.items()]
    lines += [line for entry in times.engines for line in _on_the_device(entry)]
    lines += [line for entry in times.engines for line in _beside_the_network(entry)]
    lines += [line for entry in times.engines for line in _operators(entry)]
    lines += [line for entry in times.engines for line in _fixed_nms(entry)]
    lines += _against(times, network)
    lines += _paper_ratio(times, network)
    lines += _int8(times)
    lines += _targets(times, network)
    if gains := gains_of_target_cpu(times):
        listed = ", ".join(f"in {WORDS[name]} {gain:.2f}" for name, gain in gains.items())
        lines.append(
            f"Times as fast with the export for CPUs (target cpu) as with the plain one: {listed}"
        )
    return "\n".join(lines)


def _row(entry: MeasuredEngine, times: InferenceTimes, network: Network) -> list[str]:
    """The cells of one engine; empty where something was not measured."""
    raw, *others = (entry.summary(column) for column in COLUMNS)
    cells = [entry.label, "", ""]
    if raw:
        rate = 1000 * times.batch / raw.median  # with three digits
        cells[1] = f"{raw.median:.1f} ({raw.p5:.1f}-{raw.p95:.1f})"
        cells[2] = f"{rate:.{2 if rate < 10 else 1 if rate < 100 else 0}f}"
    cells += [f"{value.median:.1f}" if value else "" for value in others]
    overhead, peak = overhead_share(entry), peak_share(entry, times, network)
    cells.append("" if overhead is None else percent(overhead))
    cells.append("" if peak is None else percent(peak, digits=0))
    return cells


def _on_the_device(entry: MeasuredEngine) -> list[str]:
    """The network by the clock of the device, from event to event."""
    values = entry.device_times.get("raw")
    return (
        [f"{entry.title}, network by the GPU's clock: {Summary.of(values).median:.2f} ms"]
        if (values)
        else []
    )


def _beside_the_network(entry: MeasuredEngine) -> list[str]:
    parts = entry.beside_the_network()
    if not parts:
        return []
    listed = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
    total = f"together {entry.overhead:.1f}"
    return [f"{entry.name}, ms beside the network: {listed}; {total}"]


def _fixed_nms(entry: MeasuredEngine) -> list[str]:
    """The share of decoding and an NMS of fixed size in the network's time, beside the usual one's;
    nothing where that was not measured."""
    raw, fixed, usual = (entry.best(stage) for stage in ("raw", "nms_fixed", "nms"))
    if raw is None or fixed is None:
        return []
    line = f"{entry.name}, decode + NMS of fixed size: {fixed - raw:.1f} ms, "
    line += f"{percent((fixed - raw) / raw)} of the network"
    return [line if usual is None else f"{line}; of any size {usual - raw:.1f} ms"]


def _operators(entry: MeasuredEngine) -> list[str]:
    if not entry.operators:
        return []
    total, parts = sum(entry.operators.values()), list(entry.operators.items())
    others = sum(value for _, value in parts[MOST_OPERATORS:])
    shown = parts[:MOST_OPERATORS] + ([("others", others)] if others else [])
    listed = ", ".join(f"{name} {percent(value, total)}" for name, value in shown)
    return [f"{entry.name}, time of the network by operator: {listed}"]


def overhead_share(entry: MeasuredEngine) -> Optional[float]:
    """All from file to boxes that is not the network, in shares of the network; fastest rounds."""
    raw, overhead = entry.best("raw"), entry.overhead
    return None if raw is None or overhead is None else overhead / raw


def peak_share(entry: MeasuredEngine, times: InferenceTimes, network: Network) -> Optional[float]:
    """The network's rate (two operations per multiply-add) in shares of the matrix-product peak;
    fastest rounds of both."""
    raw = entry.best("raw")
    of_other = entry.device != "CPU" or entry.model
    if of_other or not raw or not times.peak or not network.multiply_adds:
        return None
    return 2 * times.batch * network.multiply_adds / (raw / 1000) / 1e9 / times.peak


def factor_between(times: InferenceTimes, fast: str, slow: str) -> Optional[float]:
    """Speed of the network in `fast` : speed in `slow`; fastest rounds."""
    entries = times.find(fast), times.find(slow)
    first, second = (entry.best("raw") if entry else None for entry in entries)
    return second / first if first and second else None


def _against(times: InferenceTimes, network: Network) -> list[str]:
    """The network beside each other detector in the same engine."""
    lines = []
    for other in times.engines:
        factor = factor_between(times, other.name, other.title) if other.model else None
        if factor is not None:
            lines.append(f"{network.name} is {factor:.2f} times as fast as {other.title}")
    return lines


def _paper_ratio(times: InferenceTimes, network: Network) -> list[str]:
    """FP16 against FP32 of the same way to compute, and TensorRT's against Paddle without it as in
    the paper: here, and on the paper's V100."""
    lines, paper = [], PAPER_SPEED_UP.get(tuple(network.backbone))
    pairs = {
        "trt_fp16": ("gpu", "TensorRT FP16", "FP32 without TensorRT"),
        "gpu_fp16": ("gpu", "gpu_fp16", "in FP32"),
    }
    for name, engine in ENGINES.items():
        if engine.has_half_weights:
            pairs[name] = (name.replace("fp16", "fp32"), name, "in FP32 without TF32")
    for fast, (slow, title, other) in pairs.items():
        measured = factor_between(times, fast, slow)
        if measured is None:
            continue
        line = f"{title} is {100 * (measured - 1):.1f} % faster than {other}"
        if paper and times.input_hw == (640, 640):
            before, after, speed_up = paper
            line += f"; paper: {speed_up} % ({before} to {after} FPS, V100)"
        lines.append(line)
    return lines


def _int8(times: InferenceTimes) -> list[str]:
    """INT8 against float32 of the same engine."""
    lines = []
    for name, engine in ENGINES.items():
        if engine.precision != "int8":
            continue
        plain = name.replace("_int8", "_fp32" if engine.device == "GPU" else "")
        factor = factor_between(times, name, plain)
        if factor is not None:
            words = f"{WORDS[plain]} in INT8" if plain in WORDS else name
            other = "float32" if plain in WORDS else "FP32 without TF32"
            lines.append(f"{words} is {factor:.2f} times as fast as in {other}")
    return lines


def judged(times: InferenceTimes) -> Optional[MeasuredEngine]:
    """The engine that the targets of the CPU are about: oneDNN, with the export for CPUs if its
    network was measured alone; folders that are given may hold other stages only."""
    entries = (times.find(name) for name in ("onednn_target_cpu", "onednn"))
    return next((entry for entry in entries if entry and entry.times.get("raw")), None)


def _targets(times: InferenceTimes, network: Network) -> list[str]:
    """The measured figures of the CPU beside their targets."""
    entry = judged(times)
    if entry is None:
        return []
    name, lines = WORDS[entry.name], []

    def verdict(target: str, reached: bool) -> str:
        """Says of a figure if it reaches its target; empty for networks that have none."""
        if (tuple(network.backbone), tuple(times.input_hw)) != TARGETS_ARE_FOR:
            return ""
        if times.unrest > UNREST:
            return f" (target {target}: not judged, the machine was not quiet)"
        return f" (target {target}: {'reached' if reached else 'missed'})"

    share = peak_share(entry, times, network)
    if share is not None and times.peak is not None:
        counted = " (counted as plain convolutions)" if entry.target == "cpu" else ""
        lines.append(
            f"{name} computes {share * times.peak:.0f} GFLOP/s{counted}, {share:.2f} of the "
            f"machine's {times.peak:.0f} GFLOP/s in float32 matrix products"
            + verdict(f"{PEAK_TARGET}", share >= PEAK_TARGET)
        )
    for other in ("onnxruntime", "onnxruntime_target_cpu"):
        factor = factor_between(times, entry.name, other)
        if factor is not None:
            judgement = verdict(f"{ONNXRUNTIME_TARGET}", factor >= ONNXRUNTIME_TARGET)
            lines.append(
                f"{name} is {factor:.2f} times as fast as {WORDS[other]}"
                + (judgement if other == "onnxruntime" else "")
            )
    share = overhead_share(entry)
    if share is not None:
        lines.append(
            f"{name}: JPEG to boxes takes {share:.1%} of the network's time more than the network"
            + verdict(f"{OVERHEAD_TARGET:.0%}", share <= OVERHEAD_TARGET)
        )
    return lines


def gains_of_target_cpu(times: InferenceTimes) -> dict[str, float]:
    """Speed of the export for CPUs : speed of the plain one, by engine where both ran."""
    gains = {name: factor_between(times, cpu, name) for name, cpu in WITH_TARGET_CPU.items()}
    return {name: gain for name, gain in gains.items() if gain is not None}


def as_dict(times: InferenceTimes, network: Network, machine: dict[str, str]) -> dict[str, Any]:
    """Everything measured, round by round, for other programs."""
    compared = {
        "onednn": ("onnxruntime",),
        "onednn_target_cpu": ("onnxruntime", "onnxruntime_target_cpu"),
        "trt_fp16": ("gpu",),
    }
    return {
        "network": network._asdict(),
        "machine": machine,
        "input_hw": list(times.input_hw),
        "batch_size": times.batch,
        "matrix_product_gflops": times.peaks,
        "left_out": times.left_out,
        "engines": [
            {
                "name": entry.title,
                "model": entry.model or network.name,
                "device": entry.device,
                "runs_on": entry.runs_on,
                "target": entry.target,
                "times_ms": entry.times,
                "device_times_ms": entry.device_times,
                "parts_ms": entry.parts,
                "operators_ms": entry.operators,
                "summary": {
                    column: found._asdict()
                    for column in COLUMNS
                    if (found := entry.summary(column))
                },
                "overhead_ms": entry.overhead,
                "share_of_peak": peak_share(entry, times, network),
            }
            for entry in times.engines
        ],
        **{
            f"{fast}_over_{slow}": factor_between(times, fast, slow)
            for fast, slows in compared.items()
            for slow in slows
        },
        "target_cpu_over_any": gains_of_target_cpu(times),
        "judged_by_targets": getattr(judged(times), "name", None),
    }
