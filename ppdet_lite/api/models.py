"""The list of shipped models: size, cost and reported accuracy of each, without building it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Iterator, Optional

from ppdet_lite.core.config import Config
from ppdet_lite.core.shipped import shipped_configs
from ppdet_lite.weights.zoo import read_zoo

TABLE = Path(__file__).with_name("models.csv")
"""Written by tools/dev/write_models.py, which builds and measures every network."""

_SHARED = ("num_classes", "norm_type", "width_mult", "depth_mult", "act")
_REPORTED = re.compile(r"eported\b.*?\b(AP|AP50) (\d+\.\d)(?![\d.])(?! lower| higher)")
_AT_SIZE = re.compile(r"\b(\d+\.\d) at (\d+)")
_DATA = re.compile(r"\b(val2017|test-dev|VOC2007)\b")


@dataclass(frozen=True)
class ReportedAP:
    """The result that the head of a configuration reports, in percent.

    Attributes:
        metric: "AP", averaged over IoU 0.50 to 0.95, or "AP50".
        data: "val2017", "test-dev", "VOC2007", or empty where the head does not say.
    """

    value: float
    metric: str
    data: str


@dataclass(frozen=True)
class ModelEntry:
    """One shipped configuration.

    Attributes:
        path: its file; `family` is the folder in `configs`.
        input_hw: height and width of the network input in pixels.
        params: values that are saved, the running statistics of batch norms included.
        multiply_adds: of one image at `input_hw`; see `ppdet model-info --help`.
        reported: None where no result is known.
        weights: names of published weights.
    """

    name: str
    path: Path
    family: str
    input_hw: tuple[int, int]
    params: int
    multiply_adds: int
    reported: Optional[ReportedAP]
    weights: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "path": str(self.path), "weights": list(self.weights)}


def list_models() -> list[ModelEntry]:
    """All shipped models, by folder and name."""
    rows = read_table()
    weights = published_weights()
    return [
        ModelEntry(
            name=name,
            path=path,
            family=_family(path),
            input_hw=(int(rows[name]["height"]), int(rows[name]["width"])),
            params=int(rows[name]["params"]),
            multiply_adds=int(rows[name]["multiply_adds"]),
            reported=reported_ap(path, int(rows[name]["height"])),
            weights=weights.get(name, ()),
        )
        for name, path in shipped_configs().items()
        if name in rows
    ]


def read_table() -> dict[str, dict[str, str]]:
    """The rows of `TABLE` by name."""
    with open(TABLE, encoding="utf-8", newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def reported_ap(path: Path, side: int) -> Optional[ReportedAP]:
    """The AP in the comment lines at the top of a configuration: the one that is reported at images
    of `side` pixels, or the first."""
    for line in _head(path):
        if found := _REPORTED.search(line):
            data = _DATA.search(line, found.end())
            sizes: dict[str, str] = {size: value for value, size in _AT_SIZE.findall(line)}
            value = float(sizes.get(str(side), str(found[2])))
            return ReportedAP(value, found[1], data[1] if data else "")
    return None


def network_digest(cfg: Config) -> str:
    """A short hash of all keys that the network of an unchecked configuration is built from: the
    section of its architecture, those that it names, and the input size."""
    sections: dict[str, Any] = {}

    def enter(name: str) -> None:
        if name not in sections and isinstance(cfg.get(name), dict):
            sections[name] = cfg[name]
            for value in _texts(cfg[name]):
                enter(value)

    enter(str(cfg.get("architecture")))
    shared = {key: cfg[key] for key in _SHARED if key in cfg}
    inputs = (cfg.get("TestReader") or {}).get("inputs_def")
    text = json.dumps([sections, shared, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def published_weights() -> dict[str, tuple[str, ...]]:
    """Name of a configuration -> names of weights that are published for it."""
    found: dict[str, tuple[str, ...]] = {}
    for name, entry in read_zoo().items():
        if entry.config:
            found[entry.config] = (*found.get(entry.config, ()), name)
    return found


def _head(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            if not line.startswith("#"):
                return
            yield line


def _texts(value: Any) -> Iterator[str]:
    """All strings in a section."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield str(key)
            yield from _texts(child)
        if tag := getattr(value, "tag", ""):
            yield tag
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)


@cache
def _family(path: Path) -> str:
    parts = path.parts
    return "/".join(parts[len(parts) - 1 - parts[::-1].index("configs") + 1 : -1])
