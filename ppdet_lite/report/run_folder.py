"""The files of a training run that its page is made from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Optional

from ppdet_lite.core.errors import DataError
from ppdet_lite.report.page import IMAGE_FOLDER, PAGE_FILE
from ppdet_lite.report.results_csv import RESULTS_CSV
from ppdet_lite.utils.detection_rows import RESULTS_FILE, TRUTH_FILE

RUN_FILE = "run.json"
"""Facts about the run: name -> text."""


def facts_file(run: Path) -> Path:
    """The file with facts about the run."""
    return run / IMAGE_FOLDER / RUN_FILE


def detections_file(run: Path) -> Path:
    """The detections of the last evaluation, COCO results."""
    return run / IMAGE_FOLDER / RESULTS_FILE


def truth_file(run: Path) -> Path:
    """The labels of the last evaluation, COCO annotations; `path` of an image is its file."""
    return run / IMAGE_FOLDER / TRUTH_FILE


def batches_folder(run: Path) -> Path:
    """Training images as the network sees them, JPEG."""
    return run / IMAGE_FOLDER / "train_batches"


def set_aside(run: Path) -> Optional[Path]:
    """Moves the table and the page of an earlier run into `previous/<number>`, which is a folder
    that `ppdet report` reads; returns it, or None if there is neither.

    Raises:
        DataError: a file cannot be moved.
    """
    found = [run / name for name in (RESULTS_CSV, PAGE_FILE, IMAGE_FOLDER)]
    found = [path for path in found if os.path.lexists(path)]
    if not found:
        return None
    previous = run / "previous"
    taken = [int(path.name) for path in previous.glob("*") if path.name.isdigit()]
    aside = previous / str(max(taken, default=0) + 1)
    try:
        aside.mkdir(parents=True)
        for path in found:
            os.replace(path, aside / path.name)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be moved ({error.strerror})") from error
    return aside


def read_json(path: Path) -> Any:
    """The content of a JSON file; a DataError names one that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({str(error)[:200]})") from error


def read_facts(run: Path) -> dict[str, str]:
    """Name -> text; {} without the file."""
    path = facts_file(run)
    facts = read_json(path) if path.is_file() else {}
    if not isinstance(facts, dict):
        raise DataError(f"{path}: found {type(facts).__name__}, allowed: an object")
    return {str(name): str(value) for name, value in facts.items()}
