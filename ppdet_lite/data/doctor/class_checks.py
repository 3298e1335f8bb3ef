"""Checks of class names and of the objects that they have in each split."""

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ppdet_lite.data.doctor.catalog import Finding
from ppdet_lite.data.doctor.survey import Split, Survey
from ppdet_lite.data.sources.class_lists import compare_class_names


def object_counts(split: Split) -> dict[str, int]:
    """Class name -> number of boxes in the split, crowds not counted."""
    notes = split.annotations
    counts = np.bincount(notes.classes[~notes.crowd], minlength=len(split.class_names))
    return dict(zip(split.class_names, counts.tolist()))


def spelling_key(name: str) -> str:
    """The name without case, blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def spellings(survey: Survey) -> list[list[str]]:
    """Class names that differ by case and blanks only, the one with most boxes first."""
    counts: dict[str, int] = defaultdict(int)
    for split in survey.splits:
        for name, count in object_counts(split).items():
            counts[name] += count
    groups = defaultdict(list)
    for name in sorted(counts, key=lambda name: -counts[name]):
        groups[spelling_key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def class_findings(survey: Survey) -> Iterator[Finding]:
    """Problems of the classes of all splits."""
    counts = {split.name: object_counts(split) for split in survey.splits}
    for group in spellings(survey):
        parts = [f"'{name}' ({_total(counts, name)} boxes)" for name in group]
        rank = float(_total(counts, group[-1]))
        yield Finding("class_spelling", "", "", " and ".join(parts), rank)
    for split in survey.splits[1:]:
        first = survey.splits[0]
        if difference := compare_class_names(first.class_names, split.class_names):
            text = f"{first.name} and {split.name} {difference}"
            yield Finding("class_lists", split.name, split.content.name, text)
    yield from _missing(counts)


def _missing(counts: dict[str, dict[str, int]]) -> Iterator[Finding]:
    """Classes that have no object in a split."""
    for name in dict.fromkeys(name for each in counts.values() for name in each):
        total = _total(counts, name)
        if not total:
            yield Finding("class_unused", "", "", f"'{name}'")
            continue
        for split, each in counts.items():
            if len(counts) > 1 and not each.get(name, 0):
                kind = "class_not_trained" if split == "train" else "class_missing"
                yield Finding(kind, split, "", f"'{name}', {total} boxes elsewhere", float(total))


def _total(counts: dict[str, dict[str, int]], name: str) -> int:
    return sum(each.get(name, 0) for each in counts.values())
