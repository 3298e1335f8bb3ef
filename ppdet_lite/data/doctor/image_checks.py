"""Checks of images and their files."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np

from ppdet_lite.data.doctor.box_checks import are_shares
from ppdet_lite.data.doctor.catalog import Finding
from ppdet_lite.data.doctor.duplicates import clusters, equal_files, near_images
from ppdet_lite.data.doctor.survey import Split, Survey

Place = tuple[Split, int]


def image_findings(split: Split) -> Iterator[Finding]:
    """Problems of the images of a split, one by one, and of their label files."""
    yield from _label_findings(split)
    images, failed = split.annotations.images, split.unusable_rows()
    counts = split.box_counts()
    has_files = any(split.content.label_files)
    for row, fact in enumerate(split.facts):
        file = split.file(row)
        if fact.problem:
            kind = "missing_image" if fact.is_missing else "unreadable_image"
            yield Finding(kind, split.name, file, fact.problem.replace(f"{file}: ", ""), row=row)
            continue
        given = (int(images.heights[row]), int(images.widths[row]))
        if fact.lacks_end:
            yield Finding("no_end_marker", split.name, file, "its last bytes are cut off", row=row)
        turned = fact.orientation > 1
        if is_turned_label(given, split, row):
            text = f"labels {_size(given)}, as stored; shown {_size(fact.size_hw)}"
            yield Finding("turned_labels", split.name, file, text, counts[row], row)
        elif min(given) > 0 and given != fact.size_hw:
            text = f"labels {_size(given)}, file {_size(fact.size_hw)}"
            rank = abs(np.log(given[0] * given[1] / (fact.size_hw[0] * fact.size_hw[1])))
            yield Finding("wrong_size", split.name, file, text, float(rank), row)
        elif turned:
            text = f"orientation {fact.orientation}; stored {_size(fact.stored_hw)}"
            yield Finding("exif_rotation", split.name, file, text, counts[row], row)
        if has_files and not split.label_file(row):
            yield Finding("unlabeled", split.name, file, "no label file", row=row)
        elif not counts[row] and row not in failed:
            yield Finding("empty_image", split.name, file, "no box", row=row)


def is_turned_label(given_hw: tuple[int, int], split: Split, row: int) -> bool:
    """True if the size in the labels is that before an EXIF rotation by 90 degrees."""
    fact = split.facts[row]
    return fact.orientation >= 5 and fact.stored_hw == given_hw != fact.size_hw


def _label_findings(split: Split) -> Iterator[Finding]:
    files = {file: row for row, file in enumerate(split.content.label_files) if file}
    for problem in split.problems:
        row = next((files[part] for part in _starts(problem) if part in files), None)
        file = problem.partition(": ")[0]
        yield Finding("unusable_label", split.name, file, problem[len(file) + 2 :], row=row)
    names = [os.path.normpath(split.file(row)) for row in range(len(split))]
    for name, count in Counter(names).items():
        if count > 1:
            row = names.index(name)
            text = f"listed {count} times"
            yield Finding("repeated_entry", split.name, name, text, count, row)
    if are_shares(split):
        text = f"all {len(split.annotations.classes)} boxes lie between 0 and 1"
        yield Finding("box_units", split.name, split.content.name, text)


def _starts(problem: str) -> list[str]:
    head = problem.partition(": ")[0]
    return [head, head.partition(" line ")[0]]


def left_over_findings(survey: Survey) -> Iterator[Finding]:
    """Splits that cannot be read, and files that belong to nothing."""
    for name, problem in survey.failures.items():
        head, _, rest = problem.partition(": ")
        is_file = os.path.lexists(head.partition(" line ")[0])
        yield Finding("unusable_split", name, *((head, rest) if is_file else ("", problem)))
    for file in survey.unlabeled:
        yield Finding("unlabeled", "", file, "no labels, and in no split")
    for file in survey.strays:
        yield Finding("stray_image", "", file, "has labels, but is in no split")
    for file in survey.orphans:
        yield Finding("orphan_label", "", file, "no image of this name")


def twin_findings(survey: Survey) -> Iterator[Finding]:
    """Images that are there twice, in a split and across splits."""
    places = _distinct_places(survey)
    facts = [split.facts[row] for split, row in places]
    equal = equal_files(facts)
    for group in equal:
        yield from _group_findings([places[i] for i in group], "duplicate", "leak")
    first_of = {place: group[0] for group in equal for place in group}
    pairs = [(a, b) for a, b in near_images(facts) if first_of.get(a, a) != first_of.get(b, b)]
    yield from _near_leaks(places, pairs)
    inside = [(a, b) for a, b in pairs if places[a][0] is places[b][0]]
    for group in clusters(inside):
        yield from _group_findings([places[i] for i in group], "near_duplicate", "")


def _distinct_places(survey: Survey) -> list[Place]:
    """The images of all splits, each file once in a split."""
    places = []
    for split in survey.splits:
        seen = set()
        for row in range(len(split)):
            name = os.path.normpath(split.file(row))
            if name not in seen:
                places.append((split, row))
                seen.add(name)
    return places


def _group_findings(group: Sequence[Place], same: str, across: str) -> Iterator[Finding]:
    """A finding for every image of the group but the first of its split, and for those of a later
    split; the first split, which is trained on, is the one that leaks.
    """
    firsts: dict[str, Place] = {}
    for split, row in group:
        first = firsts.setdefault(split.name, (split, row))
        if first[1] != row or first[0] is not split:
            yield _twin(same, (split, row), first, len(group))
    names = list(firsts)
    for name in names[1:] if across else ():
        yield _twin(across, firsts[names[0]], firsts[name], len(group))


def _near_leaks(places: Sequence[Place], pairs: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """A finding for every image with one that looks alike in a later split."""
    seen: set[tuple[int, str]] = set()
    for a, b in pairs:
        other = places[b][0].name
        if places[a][0] is not places[b][0] and (a, other) not in seen:
            seen.add((a, other))
            yield _twin("near_leak", places[a], places[b], 2)


def _twin(kind: str, place: Place, other: Place, count: int) -> Finding:
    split, row = place
    text = f"{'looks like' if kind.startswith('near') else 'is'} {_short(other)}"
    boxes = [len(each.boxes_of(line)) for each, line in (place, other)]
    if boxes[0] != boxes[1]:
        text += f", which has {boxes[1]} boxes, not {boxes[0]}"
    bits = _distance(place, other)
    rank = count + (0.0 if bits is None else -bits / 1000)
    return Finding(kind, split.name, split.file(row), text, rank, row, (), other[0].file(other[1]))


def _distance(place: Place, other: Place) -> Optional[int]:
    looks = [split.facts[row].look for split, row in (place, other)]
    if looks[0] is None or looks[1] is None:
        return None
    return int(np.unpackbits(looks[0] ^ looks[1]).sum())


def _short(place: Place) -> str:
    split, row = place
    return f"{split.annotations.images.files[row]} of {split.name}"


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]} x {size_hw[0]}"
