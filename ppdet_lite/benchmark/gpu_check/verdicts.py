"""The targets of a GPU check, judged by the rows of a run."""

from typing import Any, NamedTuple, Optional, Sequence

from ppdet_lite.benchmark.engines import ENGINES
from ppdet_lite.benchmark.gpu_check.runner import Row

SPEED_UPS = {("ResNet", 50): 1.546, ("ResNet", 101): 1.73}
"""TensorRT FP16 against FP32 of PP-YOLOv2 by backbone: arXiv:2104.10419, Table 2."""

MOST_NMS = 0.05
"""NMS may add this share of the network's time."""

LEAST_OF_ENGINE = 0.9
"""From JPEG to boxes the engine gives this share of its own rate, or the reader holds it up."""


class Verdict(NamedTuple):
    """A target and what was measured.

    Attributes:
        found: in words; the reason where it could not be judged.
        reached: None where it could not be judged.
    """

    target: str
    found: str
    reached: Optional[bool]

    def __str__(self) -> str:
        judged = {True: "reached", False: "missed", None: "not judged"}[self.reached]
        return f"{judged}: {self.target}: {self.found}"


def judge(rows: Sequence[Row], networks: dict[str, dict[str, Any]]) -> list[Verdict]:
    """All targets.

    Args:
        networks: of the network set; the first one is PP-YOLOv2 R50.
    """
    speeds = {(row["case"]["network"], row["case"]["engine"]): row for row in rows if _counts(row)}
    first, *others = networks
    verdicts = [_speed_up(name, facts, speeds) for name, facts in networks.items()]
    found = [verdict for verdict in verdicts if verdict is not None]
    found += [_faster(first, name, speeds) for name in others if "YOLOX" in networks[name]["title"]]
    return [*found, _nms(first, speeds), _end_to_end(rows), _boxes(rows)]


def _counts(row: Row) -> bool:
    case = row["case"]
    return case["job"] == "speed" and case["batch"] == 1 and "raw_ms" in row


Speeds = dict[tuple[str, str], Row]


def _speed_up(name: str, facts: dict[str, Any], speeds: Speeds) -> Optional[Verdict]:
    least = SPEED_UPS.get(tuple(facts.get("backbone", ())))
    if least is None:
        return None
    target = f"{name} in FP16 at least {least} times as fast as in FP32 without TF32"
    gains = []
    for engine, row in _half(name, speeds):
        slow = speeds.get((name, engine.replace("fp16", "fp32")))
        if slow is not None:
            gains.append((median(slow) / median(row), engine, median(slow), median(row)))
    if not gains:
        return Verdict(target, "no engine ran both", None)
    gain, engine, slow_ms, fast_ms = min(gains, key=lambda entry: entry[3])
    found = f"{gain:.2f} in {engine}, {slow_ms:.2f} to {fast_ms:.2f} ms"
    if len(gains) > 1:
        listed = ", ".join(f"{other} {value:.2f}" for value, other, *_ in gains)
        found += f" (the fastest; all: {listed})"
    return Verdict(target, found, gain >= least)


def _faster(first: str, other: str, speeds: Speeds) -> Verdict:
    target = f"{first} faster than {other}, both in FP16 by the same engine"
    pairs = [
        (median(row), median(speeds[other, engine]), engine)
        for engine, row in _half(first, speeds)
        if (other, engine) in speeds
    ]
    if not pairs:
        return Verdict(target, "no engine ran both", None)
    own, peer, engine = min(pairs)
    return Verdict(target, f"{own:.2f} against {peer:.2f} ms in {engine}", own < peer)


def _nms(first: str, speeds: Speeds) -> Verdict:
    target = f"NMS inside adds at most {MOST_NMS:.0%} to {first} in FP16"
    rows = [(median(row), engine, row) for engine, row in _half(first, speeds) if "nms_ms" in row]
    if not rows:
        return Verdict(target, "not measured", None)
    alone, engine, row = min(rows, key=lambda entry: entry[0])
    share = median(row, "nms") / alone - 1
    return Verdict(target, f"{share:+.1%} in {engine}", share <= MOST_NMS)


def _end_to_end(rows: Sequence[Row]) -> Verdict:
    target = f"from JPEG to boxes at least {LEAST_OF_ENGINE:.0%} of the engine's own rate"
    done = [row for row in rows if "share_of_engine" in row]
    if not done:
        return Verdict(target, "not measured", None)
    best = max(done, key=lambda row: row["images_per_s"])
    found = (
        f"{best['share_of_engine']:.0%} in {best['case']['engine']}: {best['images_per_s']:.0f} "
        f"images/s; the engine alone {best['engine_images_per_s']:.0f}, feeding alone "
        f"{best['reader_images_per_s']:.0f} ({best['fed_by']}, {best['reader_processes']})"
    )
    return Verdict(target, found, best["share_of_engine"] >= LEAST_OF_ENGINE)


def _boxes(rows: Sequence[Row]) -> Verdict:
    target = "every engine finds the boxes of the CPU in FP32; INT8 files round as much as there"
    compared = [row for row in rows if "boxes_agree" in row]
    wrong = [row["case"]["name"] for row in compared if not row["boxes_agree"]]
    found = f"{len(compared) - len(wrong)} of {len(compared)} cases"
    found += f"; not {'; '.join(wrong)}" if wrong else ""
    return Verdict(target, found, not wrong if compared else None)


def _half(network: str, speeds: Speeds) -> list[tuple[str, Row]]:
    """Engines on a GPU that ran a network in FP16."""
    return [
        (engine, row)
        for (name, engine), row in speeds.items()
        if name == network and ENGINES[engine].precision == "fp16" and "fp16" in engine
    ]


def median(row: Row, stage: str = "raw") -> float:
    """Milliseconds of the network, by the device's clock where it was read."""
    times = row.get(f"{stage}_device_ms") or row[f"{stage}_ms"]
    return float(times["median"])
