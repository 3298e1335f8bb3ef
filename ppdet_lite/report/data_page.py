"""The page of a data check: every kind of problem with its places, the worst drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ppdet_lite.data.doctor.catalog import KINDS, Finding
from ppdet_lite.data.doctor.check import Check, numbers_of
from ppdet_lite.report.finding_images import MARK, OTHER, SECOND, finding_tile
from ppdet_lite.report.page import (
    Cell,
    Group,
    Key,
    Number,
    Page,
    Section,
    Table,
    Tile,
    count_cell,
    write_page,
)

MOST_PLACES, MOST_TILES = 60, 8
"""Places that are listed, and drawn, of each kind; all of them are in the JSON."""

_VERDICTS = {
    "error": "There are errors: some of it is lost or learned wrongly in training.",
    "warning": "No errors. Look at the warnings before a long training.",
    "note": "Nothing wrong was found.",
}
_BOX_KEYS = (Key(MARK, "the box in question"), Key(OTHER, "other boxes"))
_PAIR_KEYS = (_BOX_KEYS[0], Key(SECOND, "the other of the two"), _BOX_KEYS[1])


def write_data_page(done: Check, folder: Path, json_file: str, command: str) -> Path:
    """Writes `index.html` of a check, and the drawn examples into `report/`.

    Raises:
        UserError: jinja2 is not installed.
        DataError: a file cannot be written.
    """
    counts, splits = done.severities(), [numbers_of(split) for split in done.survey.splits]
    worst = next((severity for severity, count in counts.items() if count), "note")
    numbers = [
        *(Number(f"{severity}s", f"{count:,}") for severity, count in counts.items()),
        Number("images", f"{sum(split.images for split in splits):,}"),
        Number("boxes", f"{sum(split.objects for split in splits):,}"),
    ]
    kinds = done.by_kind()
    page = Page(
        title=f"Check of {done.survey.name}",
        subtitle=f"{done.survey.layout}. {_VERDICTS[worst]}"
        if done.survey.layout
        else _VERDICTS[worst],
        numbers=numbers,
        sections=[_overview(done), *(_section(done, kind, found) for kind, found in kinds.items())],
        footer=f"All findings are in {json_file}.",
        command=command,
    )
    return write_page(page, folder)


def _overview(done: Check) -> Section:
    splits = [
        [Cell(numbers.split, numbers.split), *map(count_cell, numbers[1:])]
        for numbers in map(numbers_of, done.survey.splits)
    ]
    rows = []
    for kind, found in done.by_kind().items():
        severity, title, _, repair = KINDS[kind]
        order = list(KINDS).index(kind)
        texts = (title, repair or "a human has to look")
        rows.append(
            [
                Cell(severity, f"{order:02d}"),
                *(Cell(text, text) for text in texts),
                count_cell(len(found)),
            ]
        )
    tables = [
        Table(("split", "images", "boxes", "classes with boxes", "images without boxes"), splits)
    ]
    if rows:
        tables.append(Table(("severity", "problem", "in a repaired copy (--fix)", "found"), rows))
    return Section("overview", "Overview", short="Overview", tables=tables)


def _section(done: Check, kind: str, found: Sequence[Finding]) -> Section:
    severity, title, meaning, repair = KINDS[kind]
    root = _common_folder(done)
    shown = found[:MOST_PLACES]
    rows = [
        [Cell(each, each) for each in (item.split or "–", _below(item.file, root), item.text)]
        for item in shown
    ]
    text = f"{severity.capitalize()}: {len(found):,}. {meaning}"
    text += f" In a repaired copy: {repair}." if repair else ""
    if len(found) > len(shown):
        text += f" The first {len(shown)} are listed."
    tiles: list[Tile] = []
    for number, item in enumerate(found):
        tile = finding_tile(done, item, f"{kind}_{number + 1}", _below(item.file, root))
        tiles += [tile] if tile else []
        if len(tiles) == MOST_TILES or number >= 4 * MOST_TILES:
            break
    groups = []
    if tiles:
        most = max(len(item.boxes) for item in shown)
        keys = ((Key(OTHER, "boxes"),), _BOX_KEYS, _PAIR_KEYS)[most]
        is_pair = any(item.other for item in shown)
        groups = [Group("", "", tiles, "pairs" if is_pair else "large", keys)]
    tables = [Table(("split", "file", "found"), rows)]
    return Section(kind, title[0].upper() + title[1:], text, title, tables=tables, groups=groups)


def _common_folder(done: Check) -> str:
    roots = [os.fspath(split.content.image_root) for split in done.survey.splits]
    return os.path.dirname(os.path.commonpath(roots)) if roots else ""


def _below(file: str, root: str) -> str:
    """The path from the folder of the data set; the last parts of a long one."""
    path = os.path.relpath(file, root) if root and file.startswith(root) else file
    return path if len(path) <= 70 else f"...{path[-67:]}"
