"""The result of a GPU check as a Markdown page."""

from typing import Any, Optional, Sequence

from ppdet_lite.benchmark.engines import ENGINES
from ppdet_lite.benchmark.gpu_check.runner import Row
from ppdet_lite.benchmark.gpu_check.verdicts import Verdict, median
from ppdet_lite.benchmark.tables import decimals, markdown_table, megabytes

MOST_NAMED = 4
"""Cases that failed for one reason."""

LEGEND = (
    "Medians of {repeats} runs, 5th to 95th percentile in brackets; device ms between events in "
    "the device's queue, where the engine gives them. FP32 is without TF32. Boxes: those found, of "
    "those that the network finds on the CPU in FP32, and the largest difference; of INT8 files "
    "the distance of the raw outputs from FP32, beside that of the file on the CPU. Memory: of the "
    "network alone, all that its process took."
)


def markdown(
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    machine: dict[str, str],
    networks: dict[str, dict[str, Any]],
    repeats: int,
) -> str:
    """All tables; a page can hold them as they are."""
    lines = [", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    for facts in networks.values():
        lines.append(f"* {facts['title']}: {facts['note']}")
    lines += ["", *_speeds(rows), "", LEGEND.format(repeats=repeats), ""]
    for table in (_others(rows), _throughput(rows), _trainings(rows)):
        lines += [*table, ""] if table else []
    lines += [f"* {verdict}" for verdict in verdicts]
    failed = _reasons(rows, "failed")
    skipped = _reasons(rows, "skipped")
    lines += ["", "Left out here:", "", *skipped] if skipped else []
    lines += ["", "Did not run, or not to the end:", "", *failed] if failed else []
    return "\n".join(lines) + "\n"


def _reasons(rows: Sequence[Row], key: str) -> list[str]:
    """Cases by the reason why they failed, or were skipped; of many only the engines."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if key in row:
            reasons.setdefault(row[key], []).append(row["case"]["name"])
    lines = []
    for reason, names in reasons.items():
        listed = "; ".join(names)
        if len(names) > MOST_NAMED:
            engines = sorted({row["case"]["engine"] for row in rows if row.get(key) == reason})
            listed = f"{len(names)} cases of {', '.join(engines)}"
        lines.append(f"* {listed}: {reason}")
    return lines


def _speeds(rows: Sequence[Row]) -> list[str]:
    header = ["network", "engine", "precision", "batch", "network ms", "device ms", "images/s"]
    header += ["with NMS ms", "NMS adds", "boxes", "memory MB"]
    cells = [
        [
            *_names(row),
            str(row["case"]["batch"]),
            _times(row, "raw_ms"),
            _times(row, "raw_device_ms", spread=False),
            decimals(1000 * row["case"]["batch"] / median(row), 1),
            _times(row, "nms_ms", spread=False),
            f"{median(row, 'nms') / median(row) - 1:+.1%}" if "nms_ms" in row else "-",
            f"{row['boxes']}{'' if row['boxes_agree'] else ' **differ**'}"
            if "boxes" in row
            else "-",
            megabytes(row.get("memory_bytes")),
        ]
        for row in rows
        if row["case"]["job"] == "speed" and "raw_ms" in row
    ]
    return markdown_table(header, cells, text_columns=3)


def _names(row: Row) -> list[str]:
    """Network; engine and what ran; precision."""
    case, ran = row["case"], row.get("runs_on")
    engine = f"{case['engine']} ({ran})" if ran else case["engine"]
    return [case["network"], engine, ENGINES[case["engine"]].precision]


def _times(row: Row, key: str, spread: bool = True) -> str:
    times: Optional[dict[str, float]] = row.get(key)
    if times is None:
        return "-"
    text = f"{times['median']:.2f}"
    return f"{text} ({times['p5']:.2f}-{times['p95']:.2f})" if spread else text


def _others(rows: Sequence[Row]) -> list[str]:
    cells = [
        [
            *_names(row),
            str(row["case"]["batch"]),
            _times(row, "raw_ms"),
            _times(row, "raw_device_ms", spread=False),
            decimals(1000 * row["case"]["batch"] / median(row), 1),
            megabytes(row.get("memory_bytes")),
        ]
        for row in rows
        if row["case"]["job"] == "other model" and "raw_ms" in row
    ]
    header = ["other detector", "engine", "precision", "batch", "all of its .onnx ms", "device ms"]
    return markdown_table([*header, "images/s", "memory MB"], cells, 3) if cells else []


def _throughput(rows: Sequence[Row]) -> list[str]:
    names = ("images_per_s", "engine_images_per_s", "reader_images_per_s")
    cells = [
        [
            *_names(row),
            str(row["case"]["batch"]),
            *(decimals(row.get(name), 1) for name in names),
            f"{row.get('fed_by', '-')}, {row['reader_processes']}",
        ]
        for row in rows
        if row["case"]["job"] == "throughput" and "engine_images_per_s" in row
    ]
    header = ["JPEG to boxes", "engine", "precision", "batch", "images/s", "engine alone"]
    header += ["feeding alone", "fed by, how many"]
    return markdown_table(header, cells, text_columns=3) if cells else []


def _trainings(rows: Sequence[Row]) -> list[str]:
    cells = [
        [
            row["case"]["network"],
            row["case"]["engine"],
            str(row["steps"]),
            str(row["batch_size"]),
            decimals(row.get("images_per_s"), 1),
            f"{row['waiting_share']:.1%}",
            megabytes(row.get("memory_bytes")),
            f"{row['first_loss']:.3g} to {row['last_loss']:.3g}",
        ]
        for row in rows
        if row["case"]["job"] == "training" and "images_per_s" in row
    ]
    header = ["training", "way", "steps", "batch", "images/s", "waiting for data", "memory MB"]
    return markdown_table([*header, "loss"], cells, text_columns=2) if cells else []
