"""The contract of weight converters, and the converters by name."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Optional

import numpy as np

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import CheckpointError, UserError
from ppdet_lite.weights import convert

YOLO_OUTPUTS_OF_COCO = (3 * (5 + 80), 4 * (5 + 80))
"""Channels of a level with 3 anchors, and with a box without anchor beside them."""


def has_yolo_outputs_of_coco(state: Mapping[str, np.ndarray]) -> bool:
    """True if the output layers of a head of YOLOv3's form have 80 classes."""
    outputs = [array for key, array in state.items() if key.startswith("yolo_head.yolo_output.")]
    return bool(outputs) and all(array.shape[0] in YOLO_OUTPUTS_OF_COCO for array in outputs)


class Converter:
    """Weight files of another project.

    Every subclass with a name, in a file of this folder, can be asked for.

    Args:
        description: the project's file that describes the network, for those that take one.
        config: that the weights are for; None for the shipped one of their network.

    Attributes:
        is_part: the file that was read holds a part of a detector only, which trainings start from.
        notes: what a user has to know of the file that was read.
    """

    name: ClassVar[str] = ""  # as users ask for it
    endings: ClassVar[Sequence[str]] = ()  # of the files that it reads, with the dot
    project: ClassVar[str] = ""  # for messages
    takes_description: ClassVar[bool] = False

    def __init__(self, description: Optional[Path] = None, config: Optional[Config] = None):
        if description is not None and not self.takes_description:
            raise UserError(f"`cfg`: found {description}, allowed: none with files of {self.name}")
        self.description, self.config = description, config
        self.is_part, self.notes = False, list[str]()

    @classmethod
    def reads(cls, name: str) -> bool:
        """True if files of this name are read."""
        return name.endswith(tuple(cls.endings))

    def read(self, path: Path) -> dict[str, np.ndarray]:
        """The tensors of a file by their names there, in the file's order; a CheckpointError for a
        file that cannot be read."""
        raise NotImplementedError

    def fits(self, state: Mapping[str, np.ndarray]) -> bool:
        """True if the names are those of this project."""
        return True

    def leaves_out(self, key: str) -> bool:
        """True for a tensor of the file that a model here has no use for."""
        return False

    def convert(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The state dict of the model here; a CheckpointError that names a tensor without place."""
        raise NotImplementedError

    def has_coco_classes(self, state: Mapping[str, np.ndarray]) -> bool:
        """True if a state dict of `convert` has the classes of COCO in its order, as the files that
        the project publishes with 80 classes do."""
        return False


def known_converters() -> dict[str, type[Converter]]:
    """All converters by name."""
    for module in pkgutil.iter_modules(convert.__path__):
        importlib.import_module(f"{convert.__name__}.{module.name}")
    found, classes = {}, [Converter]
    for kind in classes:
        classes += kind.__subclasses__()
        if kind.name:
            found[kind.name] = kind
    return found


@dataclass(frozen=True)
class Conversion:
    """A converted file.

    Attributes:
        converter: the name of its converter.
        read: names of the tensors in the file.
        left_out: those that have no use here.
        state: the state dict of the model here.
        has_coco_classes: its classes are those of COCO, in its order.
        is_part, notes: see `Converter`.
    """

    converter: str
    read: list[str]
    left_out: list[str]
    state: dict[str, np.ndarray]
    has_coco_classes: bool = False
    is_part: bool = False
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The report for people."""
        joined = len(self.read) - len(self.left_out) - len(self.state)
        more = [f"{joined} joined with another"] if joined > 0 else []
        if self.left_out:
            kinds = sorted({key.rpartition(".")[2] for key in self.left_out})
            more.append(f"{len(self.left_out)} left out ({', '.join(kinds)})")
        parts: dict[str, list[int]] = {}
        for key, array in self.state.items():
            parts.setdefault(key.partition(".")[0], []).append(array.size)
        return [
            ", ".join([f"{len(self.read)} tensors read ({self.converter})", *more]),
            *(f"  {part}: {len(n)} tensors, {sum(n):,} numbers" for part, n in parts.items()),
            *self.notes,
        ]


def convert_file(
    path: Path, name: Optional[str] = None, description: Optional[Path] = None
) -> tuple[str, dict[str, np.ndarray]]:
    """The name of the converter and the state dict of `conversion_of` a file."""
    conversion = conversion_of(path, name, description)
    return conversion.converter, conversion.state


def conversion_of(
    path: Path,
    name: Optional[str] = None,
    description: Optional[Path] = None,
    config: Optional[Config] = None,
) -> Conversion:
    """Converts a weight file of another project.

    Args:
        name: of the converter; None for the first that reads files with this ending and knows the
            names of the tensors.
        description, config: see `Converter`.

    Raises:
        UserError: no converter has this name or reads such files.
        CheckpointError: the file cannot be read, or holds tensors of another network.
    """
    known = known_converters()
    if name is not None:
        if name not in known:
            raise UserError(f"`source`: found {name}, allowed: {', '.join(known)}")
        converter = known[name](description, config)
        return _converted(converter, converter.read(path))
    endings = sorted({ending for kind in known.values() for ending in kind.endings})
    kinds = [kind for kind in known.values() if kind.reads(path.name)]
    fitting = [kind(description, config) for kind in kinds]
    if not fitting:
        raise UserError(f"{path}: found the ending {path.suffix!r}, allowed: {', '.join(endings)}")
    for converter in fitting:
        state = converter.read(path)
        if converter.fits(state):
            return _converted(converter, state)
    projects = ", ".join(converter.project for converter in fitting)
    raise CheckpointError(f"{path}: its tensors are not those of a network of {projects}")


def _converted(converter: Converter, state: Mapping[str, np.ndarray]) -> Conversion:
    left_out = [key for key in state if converter.leaves_out(key)]
    converted = converter.convert(state)
    is_coco = converter.has_coco_classes(converted)
    facts = is_coco, converter.is_part, converter.notes
    return Conversion(converter.name, list(state), left_out, converted, *facts)
