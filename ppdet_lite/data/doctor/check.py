"""The check of a data set: all findings, as lines and as JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ppdet_lite.data.doctor.box_checks import box_findings
from ppdet_lite.data.doctor.catalog import ERROR, KINDS, SEVERITIES, Finding
from ppdet_lite.data.doctor.class_checks import class_findings, object_counts
from ppdet_lite.data.doctor.image_checks import (
    image_findings,
    left_over_findings,
    twin_findings,
)
from ppdet_lite.data.doctor.survey import Split, Survey

FORMAT_VERSION = 1
_WIDTH = 110  # letters of a finding in the table


class Check(NamedTuple):
    """A data set and its findings, the worst of each kind first, kinds in the order of KINDS."""

    survey: Survey
    findings: list[Finding]

    def by_kind(self) -> dict[str, list[Finding]]:
        """Kind -> its findings, of those that were found."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.kind, []).append(finding)
        return groups

    def survey_split(self, name: str) -> Split:
        """The split of that name."""
        return next(split for split in self.survey.splits if split.name == name)

    def severities(self) -> dict[str, int]:
        """Severity -> number of findings."""
        counts = Counter(KINDS[finding.kind].severity for finding in self.findings)
        return {severity: counts[severity] for severity in SEVERITIES}

    @property
    def has_errors(self) -> bool:
        return self.severities()[ERROR] > 0


def check(survey: Survey) -> Check:
    """Searches a data set for all that KINDS names."""
    found = [*left_over_findings(survey), *class_findings(survey), *twin_findings(survey)]
    for split in survey.splits:
        found += image_findings(split)
        found += box_findings(split)
    found = _without_repeats(found)
    order = {kind: place for place, kind in enumerate(KINDS)}
    found.sort(key=lambda finding: (order[finding.kind], -finding.rank))
    return Check(survey, found)


def _without_repeats(found: Sequence[Finding]) -> list[Finding]:
    """The findings, one about a file that several splits share only once."""
    shared: dict[tuple[str, str, str], Finding] = {}
    rest = []
    for finding in found:
        if finding.kind == "unusable_label" and finding.row is None and finding.file:
            shared.setdefault((finding.kind, finding.file, finding.text), finding)
        else:
            rest.append(finding)
    return [*shared.values(), *rest]


class Numbers(NamedTuple):
    """Counts of a split."""

    split: str
    images: int
    objects: int
    classes: int
    empty: int


def numbers_of(split: Split) -> Numbers:
    """The counts of a split as it stands in the files."""
    rows = split.annotations.image_rows
    empty = int((split.box_counts() == 0).sum())
    classes = sum(count > 0 for count in object_counts(split).values())
    return Numbers(split.name, len(split), len(rows), classes, empty)


def lines(done: Check, examples: int = 1) -> list[str]:
    """The findings as a table for the terminal."""
    table = [["", "found", "", "first"]]
    for kind, found in done.by_kind().items():
        first = found[0]
        severity = KINDS[kind].severity
        table.append([severity, f"{len(found)}", KINDS[kind].title, _in_short(first, done.survey)])
    heads = [
        f"{split}: {images} images ({empty} without boxes), {objects} boxes of {classes} classes"
        for split, images, objects, classes, empty in map(numbers_of, done.survey.splits)
    ]
    heads += [f"{s.name}: {remark}" for s in done.survey.splits for remark in s.content.remarks]
    counts = ", ".join(
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity, count in done.severities().items()
    )
    layout = f": {done.survey.layout}" if done.survey.layout else ""
    return [f"{done.survey.name}{layout}", *heads, *(_aligned(table) if table[1:] else []), counts]


def _in_short(finding: Finding, survey: Survey) -> str:
    """A finding in at most _WIDTH letters, with the name of its file and the end of its text."""
    file, text = finding.file, finding.text
    if survey.folder:  # whose name stands above
        root = os.path.abspath(survey.folder) + os.sep
        file = file[len(root) :] if file.startswith(root) else file
        text = text.replace(f", in {root}: ", ": ").replace(root, "")
    if not file:
        return _cut_middle(text, _WIDTH)
    if len(file) + 2 + len(text) > _WIDTH and len(file) > _WIDTH // 2:
        file = _cut_start(file, max(_WIDTH // 2, _WIDTH - 2 - len(text)))
    return f"{file}: {_cut_middle(text, _WIDTH - len(file) - 2)}"


def _cut_start(text: str, length: int) -> str:
    return text if len(text) <= length else f"...{text[3 - length :]}"


def _cut_middle(text: str, length: int) -> str:
    half = (length - 5) // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.rjust(width) if place == 1 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def as_json(done: Check) -> dict[str, Any]:
    """All findings as JSON: a summary, the splits, and under `findings` every one of each kind."""
    kinds = {}
    for kind, found in done.by_kind().items():
        severity, title, meaning, repair = KINDS[kind]
        kinds[kind] = {
            "severity": severity,
            "title": title,
            "meaning": meaning,
            "repair": repair,
            "count": len(found),
            "found": [_record(done, finding) for finding in found],
        }
    return {
        "version": FORMAT_VERSION,
        "data": done.survey.name,
        "counts": done.severities(),
        "splits": [
            {**numbers_of(split)._asdict(), "remarks": list(split.content.remarks)}
            for split in done.survey.splits
        ],
        "findings": kinds,
    }


def _record(done: Check, finding: Finding) -> dict[str, Any]:
    record: dict[str, Any] = {"split": finding.split, "file": finding.file, "text": finding.text}
    if finding.other:
        record["other"] = finding.other
    if finding.boxes:
        split, rows = done.survey_split(finding.split), list(finding.boxes)
        corners = split.annotations.boxes_xyxy[rows].tolist()
        record["boxes"] = [[_number(value) for value in box] for box in corners]
        record["classes"] = [split.class_names[i] for i in split.annotations.classes[rows]]
    return {key: value for key, value in record.items() if value != ""}


def _number(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return round(value, 3) if np.isfinite(value) else str(value)
