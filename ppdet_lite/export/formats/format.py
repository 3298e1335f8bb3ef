"""The contract of export formats, and the formats by name.

Every subclass of `Format` with a name can be asked for: those in this folder, one file each, and
those in a user's own module that the configuration names in `custom_modules`.
"""

import importlib
import pkgutil
from itertools import combinations
from pathlib import Path
from typing import (
    Any,
    Callable,
    ClassVar,
    Mapping,
    NamedTuple,
    Protocol,
    Sequence,
    runtime_checkable,
)

import numpy as np
from paddle import nn

from ppdet_lite.core.errors import UserError
from ppdet_lite.export import formats
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.compare import FLOAT32, Tolerances
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.runtime.contract import CONFIG_FILE, ModelFolder
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions


class Runner(Protocol):
    """An engine, as far as the check of an export needs it."""

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name, more than needed are allowed -> the outputs in their order."""


@runtime_checkable
class RunnerWithRaw(Runner, Protocol):
    """An engine that also gives the raw outputs from which it made its outputs, behind them."""

    raw_count: int  # 0 if the outputs themselves are the raw ones


class Trial(NamedTuple):
    """One way in which the files of an export are run."""

    name: str  # of the engine, for messages
    open: Callable[[], Runner]  # may raise an EngineError, as the engine's `run` may
    may_fail: bool = False  # if the engine cannot run the files, that is reported, no error
    tolerances: Tolerances = FLOAT32


def open_strictly(folder: Path, engine: str, graph: str = "", **options: Any) -> Runner:
    """An engine as deployment opens it, with other `EngineOptions` if given, but one that fails
    rather than falls back to another; `graph` names the file where there may be several."""
    files = ModelFolder(folder, engine, graph=graph or None)
    return open_engine(files, EngineOptions(engine, is_strict=True, **options))


class Format:
    """Files that a network is written as."""

    name: ClassVar[str] = ""  # as users ask for it
    files: ClassVar[Sequence[str]] = ()  # every file that it may write
    has_portable_form: ClassVar[bool] = False  # True if it heeds `ExportOptions.portable_dcn`
    has_half_form: ClassVar[bool] = False  # True if it defines `write_half`
    described: ClassVar[Mapping[str, Any]] = {}  # fields of `InferConfig` that it sets

    def requirements(self) -> None:
        """Raises a UserError if a package or a version of Paddle is missing."""

    def check(self, options: ExportOptions) -> None:
        """Raises a UserError for options that the format does not have."""

    def copies(self, network: nn.Layer, options: ExportOptions) -> int:
        """The number of times that the weights are written."""
        return 1

    def write(self, network: nn.Layer, folder: Path, options: ExportOptions) -> None:
        """Writes the files of `network`, the detector in the form in which it is exported, or
        raises a UserError if it has none in this format. Temporary files go to `folder` as well."""
        raise NotImplementedError

    def write_half(self, folder: Path, calibration: Calibration) -> dict[str, Any]:
        """Writes float16 files beside those that `write` wrote, with layers in float32 where the
        images need it. Returns the value of `InferConfig.fp16`."""
        raise NotImplementedError

    def trials(self, folder: Path) -> list[Trial]:
        """The engines that must or may run the files in `folder`, which holds infer_cfg.yml."""
        return []


def known_formats() -> dict[str, type[Format]]:
    """All formats by name."""
    for module in pkgutil.iter_modules(formats.__path__):
        importlib.import_module(f"{formats.__name__}.{module.name}")
    found, classes = {}, [Format]
    for kind in classes:
        classes += kind.__subclasses__()
        if kind.name:
            found[kind.name] = kind
    return found


def find_formats(options: ExportOptions) -> list[Format]:
    """The formats of `options`, or a UserError if they are unknown, do not go together or cannot be
    written here."""
    known = known_formats()
    for name in options.formats:
        if name not in known:
            raise UserError(f"`formats`: found {name}, allowed: {', '.join(known)}")
    chosen = [known[name]() for name in dict.fromkeys(options.formats)]
    for one, other in combinations(chosen, 2):
        if both := set(one.files) & set(other.files):
            raise UserError(
                f"`formats`: {one.name} and {other.name} both write {min(both)}; write them into "
                "two folders with `output_dir`"
            )
    for wish, is_wanted, has_form in (
        ("`portable_dcn`", options.portable_dcn, "has_portable_form"),
        ("`precision` fp16", options.precision == "fp16", "has_half_form"),
    ):
        if is_wanted and not any(getattr(form, has_form) for form in chosen):
            able = [name for name, kind in known.items() if getattr(kind, has_form)]
            raise UserError(f"{wish} needs one of the `formats` {', '.join(able)}")
    for form in chosen:
        form.check(options)
        form.requirements()
    return chosen


def exported_files() -> set[str]:
    """Every file that an export may consist of; anything else in its folder is the user's."""
    return {CONFIG_FILE}.union(*(kind.files for kind in known_formats().values()))
