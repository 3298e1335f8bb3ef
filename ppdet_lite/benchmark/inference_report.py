"""The benchmark's result as a Markdown table and JSON, beside what the papers and targets say.

The table shows medians over the rounds. Ratios and targets compare fastest rounds, because other
work on the machine can only make a round slower.
"""

from typing import NamedTuple, Optional

from ppdet_lite.benchmark.engines import WITH_TARGET_CPU
from ppdet_lite.benchmark.protocol import Contestant, Result, Summary

COLUMNS = {
    "raw": "network ms (p5-p95)",
    "decoded": "+ decode",
    "nms": "+ NMS",
    "end to end": "JPEG to boxes",
}

LEGEND = (
    "Medians of {rounds} rounds. Beside the network: all from JPEG to boxes that is not the "
    "network, in shares of it. What is compared, here and below, are fastest rounds: other work on "
    "the machine only makes rounds slower."
)
COUNTED_AS = (
    "Names with _target_cpu run exports for CPUs (--target cpu); their share of the peak is "
    "counted as plain convolutions, but they need fewer multiplications."
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
    "onednn_target_cpu": "oneDNN with an export for CPUs (--target cpu)",
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
    """What is known of the measured network.

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


def markdown(result: Result, network: Network, machine: dict[str, str]) -> str:
    """Everything as text that a page can hold."""
    height, width = result.input_hw
    facts = [f"{network.name}, batch 1, input {height} x {width} (height x width)"]
    if network.parameters is not None:
        facts.append(f"{network.parameters / 1e6:.2f} M parameters")
        facts.append(f"{network.multiply_adds / 1e9:.2f} GFLOPs (a multiply-add counts once)")
    lines = [", ".join(facts), ", ".join(f"{key} {value}" for key, value in machine.items())]
    lines += [network.note] if network.note else []
    lines += ["", *_table(result, network), ""]
    rounds = max(
        (len(times) for entry in result.contestants for times in entry.times.values()), default=0
    )
    lines.append(LEGEND.format(rounds=rounds))
    lines += [COUNTED_AS] if any(entry.target == "cpu" for entry in result.contestants) else []
    lines += [*_unrest(result), ""]
    lines += [f"left out: {name}: {why}" for name, why in result.left_out.items()]
    lines += _way_of_an_image(result)
    lines += _operators(result)
    lines += _paper_ratio(result, network)
    lines += _targets(result, network)
    lines += _gain_of_target_cpu(result)
    return "\n".join(lines)


def _table(result: Result, network: Network) -> list[str]:
    first, *others = COLUMNS.values()
    head = ["engine", first, "FPS", *others, "beside the network", "of float32 peak"]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for entry in result.contestants:
        raw = entry.summary("raw")
        cells = [entry.name, _with_range(raw), _rate(raw)]
        cells += [_median(entry.summary(column)) for column in list(COLUMNS)[1:]]
        share = overhead_share(entry)
        cells.append("" if share is None else f"{share:.1%}")
        share = peak_share(entry, result, network)
        cells.append("" if share is None else f"{share:.0%}")
        rows.append(cells)
    return ["| " + " | ".join(row) + " |" for row in rows]


def _unrest(result: Result) -> list[str]:
    """A warning where other work on the machine must have disturbed the rounds."""
    worst = _most_unrest(result)
    if worst <= UNREST:
        return []
    return [
        f"Slow rounds took {worst:.0%} longer than fast ones: this machine was not quiet, and the "
        "comparisons are rough."
    ]


def _most_unrest(result: Result) -> float:
    return max((entry.unrest for entry in result.contestants), default=0.0)


def _with_range(value: Optional[Summary]) -> str:
    return f"{value.median:.1f} ({value.p5:.1f}-{value.p95:.1f})" if value else ""


def _median(value: Optional[Summary]) -> str:
    return f"{value.median:.1f}" if value else ""


def _rate(value: Optional[Summary]) -> str:
    """Frames per second with three digits."""
    if value is None:
        return ""
    rate = 1000 / value.median
    return f"{rate:.{2 if rate < 10 else 1 if rate < 100 else 0}f}"


def _way_of_an_image(result: Result) -> list[str]:
    """Where the time of one image goes that the network does not take; fastest rounds."""
    lines = []
    for entry in result.contestants:
        if entry.overhead is None:
            continue
        parts = entry.beside_the_network()
        listed = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
        lines.append(
            f"{entry.name}, ms beside the network: {listed}; together {entry.overhead:.1f}"
        )
    return lines


def _operators(result: Result) -> list[str]:
    """Where the time of the network goes, as far as an engine tells."""
    lines = []
    for entry in result.contestants:
        if not entry.operators:
            continue
        total = sum(entry.operators.values())
        shares = [(name, value / total) for name, value in entry.operators.items()]
        shown, others = shares[:MOST_OPERATORS], shares[MOST_OPERATORS:]
        listed = [f"{name} {share:.1%}" for name, share in shown]
        listed += [f"others {sum(share for _, share in others):.1%}"] if others else []
        lines.append(f"{entry.name}, time of the network by operator: {', '.join(listed)}")
    return lines


def overhead_share(entry: Contestant) -> Optional[float]:
    """All from file to boxes that is not the network, in shares of the network; fastest rounds."""
    return None if entry.overhead is None else entry.overhead / entry.best("raw")


def peak_share(entry: Contestant, result: Result, network: Network) -> Optional[float]:
    """The network's rate (two operations per multiply-add) in shares of the matrix-product peak;
    fastest rounds of both."""
    raw = entry.best("raw")
    if entry.device != "CPU" or not raw or not result.peak or not network.multiply_adds:
        return None
    return 2 * network.multiply_adds / (raw / 1000) / 1e9 / result.peak


def factor_between(result: Result, fast: str, slow: str) -> Optional[float]:
    """How many times as fast the network runs in `fast`; fastest rounds."""
    times = [entry and entry.best("raw") for entry in (result.find(fast), result.find(slow))]
    return times[1] / times[0] if all(times) else None


def _paper_ratio(result: Result, network: Network) -> list[str]:
    """TensorRT FP16 against FP32 without TensorRT: here, and on the paper's V100."""
    measured = factor_between(result, "trt_fp16", "gpu")
    if measured is None:
        return []
    line = f"TensorRT FP16 is {100 * (measured - 1):.1f} % faster than FP32 without TensorRT"
    paper = PAPER_SPEED_UP.get(tuple(network.backbone))
    if paper and result.input_hw == (640, 640):
        slow, fast, percent = paper
        line += f"; paper: {percent} % ({slow} to {fast} FPS, V100)"
    return [line]


def judged(result: Result) -> Optional[Contestant]:
    """What the targets of the CPU are about: oneDNN, with the export for CPUs if its network was
    measured alone; folders of --model_dir may hold other stages only."""
    entries = [result.find(name) for name in ("onednn_target_cpu", "onednn")]
    return next((entry for entry in entries if entry and entry.times.get("raw")), None)


def _targets(result: Result, network: Network) -> list[str]:
    """The measured figures of the CPU beside their targets."""
    entry = judged(result)
    if entry is None:
        return []
    name, lines = WORDS[entry.name], []
    share = peak_share(entry, result, network)
    if share is not None:
        counted = " (counted as plain convolutions)" if entry.target == "cpu" else ""
        lines.append(
            f"{name} computes {share * result.peak:.0f} GFLOP/s{counted}, {share:.2f} of the "
            f"machine's {result.peak:.0f} GFLOP/s in float32 matrix products"
            + _verdict(result, network, PEAK_TARGET, share >= PEAK_TARGET)
        )
    factor = factor_between(result, entry.name, "onnxruntime")
    if factor is not None:
        lines.append(
            f"{name} is {factor:.2f} times as fast as ONNX Runtime"
            + _verdict(result, network, ONNXRUNTIME_TARGET, factor >= ONNXRUNTIME_TARGET)
        )
    factor = factor_between(result, entry.name, "onnxruntime_target_cpu")
    if factor is not None:
        lines.append(f"{name} is {factor:.2f} times as fast as {WORDS['onnxruntime_target_cpu']}")
    share = overhead_share(entry)
    if share is not None:
        lines.append(
            f"{name}: JPEG to boxes takes {share:.1%} of the network's time more than the network"
            + _verdict(result, network, f"{OVERHEAD_TARGET:.0%}", share <= OVERHEAD_TARGET)
        )
    return lines


def gains_of_target_cpu(result: Result) -> dict[str, float]:
    """How many times as fast the export for CPUs is as the plain one, by engine where both ran."""
    gains = {name: factor_between(result, cpu, name) for name, cpu in WITH_TARGET_CPU.items()}
    return {name: gain for name, gain in gains.items() if gain is not None}


def _gain_of_target_cpu(result: Result) -> list[str]:
    gains = gains_of_target_cpu(result)
    if not gains:
        return []
    listed = ", ".join(f"in {WORDS[name]} {gain:.2f}" for name, gain in gains.items())
    return [
        f"Times as fast with the export for CPUs (--target cpu) as with the plain one: {listed}"
    ]


def _verdict(result: Result, network: Network, target, reached: bool) -> str:
    """What follows a figure that has a target; empty for networks that have none."""
    if (tuple(network.backbone), tuple(result.input_hw)) != TARGETS_ARE_FOR:
        return ""
    if _most_unrest(result) > UNREST:
        return f" (target {target}: not judged, the machine was not quiet)"
    return f" (target {target}: {'reached' if reached else 'missed'})"


def as_dict(result: Result, network: Network, machine: dict[str, str]) -> dict:
    """Everything measured, round by round, for other programs."""
    return {
        "network": network._asdict(),
        "machine": machine,
        "input_hw": list(result.input_hw),
        "matrix_product_gflops": result.peaks,
        "left_out": result.left_out,
        "engines": [
            {
                "name": entry.name,
                "device": entry.device,
                "target": entry.target,
                "times_ms": entry.times,
                "parts_ms": entry.parts,
                "operators_ms": entry.operators,
                "summary": {
                    column: entry.summary(column)._asdict()
                    for column in COLUMNS
                    if entry.summary(column)
                },
                "overhead_ms": entry.overhead,
                "share_of_peak": peak_share(entry, result, network),
            }
            for entry in result.contestants
        ],
        "onednn_over_onnxruntime": factor_between(result, "onednn", "onnxruntime"),
        "onednn_target_cpu_over_onnxruntime": factor_between(
            result, "onednn_target_cpu", "onnxruntime"
        ),
        "onednn_target_cpu_over_onnxruntime_target_cpu": factor_between(
            result, "onednn_target_cpu", "onnxruntime_target_cpu"
        ),
        "target_cpu_over_any": gains_of_target_cpu(result),
        "judged_by_targets": getattr(judged(result), "name", None),
        "trt_fp16_over_gpu": factor_between(result, "trt_fp16", "gpu"),
    }
