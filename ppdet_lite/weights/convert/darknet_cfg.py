"""Reads darknet's network files, `.cfg`, as far as weight files depend on them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from ppdet_lite.core.errors import CheckpointError

WITHOUT_WEIGHTS = (
    *("maxpool", "avgpool", "upsample", "yolo", "Gaussian_yolo", "dropout", "reorg"),
    *("softmax", "cost"),
)
MOST_BYTES = 4 << 20


class CfgSection(NamedTuple):
    """A section of a file: `[name]` in `line`, and its keys."""

    name: str
    line: int
    values: dict[str, str]


class CfgConvolution(NamedTuple):
    """A convolution as the file describes it; `activation` None where that is not stated."""

    ch_in: int
    ch_out: int
    size: int
    groups: int
    has_norm: bool
    activation: Optional[str]
    section: CfgSection


def read_cfg(path: Path) -> list[CfgConvolution]:
    """The convolutions of a network in their order.

    Raises:
        CheckpointError: the file cannot be read, has a section that is not known here, or a number
            that cannot be.
    """
    sections = _sections(path)
    if not sections or sections[0].name not in ("net", "network"):
        raise CheckpointError(f"{path}: no darknet network: its first section is not [net]")
    found, channels = [], [_number(path, sections[0], "channels", 3, 1)]
    for index, section in enumerate(sections[1:]):
        before, own = channels[-1], channels[1:]
        if section.name == "convolutional":
            has_norm = _number(path, section, "batch_normalize", 0) + _number(
                path, section, "cbn", 0
            )
            groups = _number(path, section, "groups", 1, 1)
            ch_out = _number(path, section, "filters", 1, 1)
            size = _number(path, section, "size", 1, 1)
            if before % groups:
                raise wrong(path, section, "groups", str(groups), f"a divisor of {before}")
            act = section.values.get("activation")
            found.append(CfgConvolution(before, ch_out, size, groups, has_norm > 0, act, section))
            channels.append(ch_out)
        elif section.name == "route":
            groups = _number(path, section, "groups", 1, 1)
            total = sum(own[i] for i in _layers(path, section, "layers", index))
            channels.append(total // groups)
        elif section.name in ("shortcut", "sam", "scale_channels"):
            sources = _layers(path, section, "from", index)
            if section.values.get("weights_type", "none") != "none":
                raise wrong(path, section, "weights_type", section.values["weights_type"], "none")
            act = section.values.get("activation", "linear")
            if act != "linear":
                raise wrong(path, section, "activation", act, "linear")
            channels.append(before if section.name == "shortcut" else own[sources[0]])
        elif section.name in WITHOUT_WEIGHTS:
            channels.append(before)
        else:
            known = ", ".join(["convolutional", "route", "shortcut", "sam", *WITHOUT_WEIGHTS])
            raise CheckpointError(
                f"{path}, line {section.line}: found [{section.name}], allowed: {known}"
            )
    return found


def read_yolo_layers(path: Path) -> list[CfgSection]:
    """The sections `[yolo]` and `[Gaussian_yolo]` in their order."""
    return [section for section in _sections(path) if section.name.lower().endswith("yolo")]


def numbers_of(
    path: Path, section: CfgSection, key: str, default: str = "", whole: bool = False
) -> list[float]:
    """The numbers under a key, with commas between them; `default` is for a key that is missing.

    Raises:
        CheckpointError: one of them is no number, or no whole one.
    """
    needed = "whole numbers" if whole else "numbers"
    text = section.values.get(key, default)
    try:
        found = [float(part) for part in text.rstrip(", ").split(",")]
    except ValueError:
        raise wrong(path, section, key, text, needed) from None
    if not all(math.isfinite(n) and not (whole and n % 1) for n in found):
        raise wrong(path, section, key, text, needed)
    return found


def _sections(path: Path) -> list[CfgSection]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise CheckpointError(f"{path}: no darknet network: larger than {MOST_BYTES} characters")
    sections: list[CfgSection] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            sections.append(CfgSection(line[1:-1].strip(), number, {}))
        elif "=" in line and sections:
            key, _, value = line.partition("=")
            sections[-1].values[key.strip()] = value.strip()
        else:
            raise CheckpointError(f"{path}, line {number}: found {line[:60]!a}, allowed: key=value")
    return sections


def _number(path: Path, section: CfgSection, key: str, default: int, least: int = 0) -> int:
    value = section.values.get(key, str(default))
    needed = f"a whole number, {least} to 1000000"
    return _whole(path, section, key, value, lambda n: least <= n <= 1_000_000, needed)


def _layers(path: Path, section: CfgSection, key: str, index: int) -> list[int]:
    """Numbers of the layers that a section names, which counts from 0 or back from `index`."""
    needed = f"layers before this one, -{index} to {index - 1}"

    def fits(n: int) -> bool:
        return -index <= n < index

    given = section.values.get(key, "").split(",")
    found = [_whole(path, section, key, text, fits, needed) for text in given]
    return [n + index if n < 0 else n for n in found]


def _whole(
    path: Path,
    section: CfgSection,
    key: str,
    text: str,
    fits: Callable[[int], bool],
    needed: str,
) -> int:
    try:
        number = int(text)
    except ValueError:
        raise wrong(path, section, key, text, needed) from None
    if not fits(number):
        raise wrong(path, section, key, text, needed)
    return number


def wrong(path: Path, section: CfgSection, key: str, found: str, needed: str) -> CheckpointError:
    """The error of a key with a value that cannot be used."""
    return CheckpointError(
        f"{path}, line {section.line}: [{section.name}] {key}: found {found[:60]!a}, "
        f"allowed: {needed}"
    )
