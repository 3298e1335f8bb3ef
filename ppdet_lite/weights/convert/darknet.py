"""Weights of darknet (AlexeyAB/darknet, pjreddie/darknet): YOLOv4, its tiny and CSP form, YOLOv3,
CSPResNeXt50-PANet-SPP, and the classifiers that YOLOv4's trainings start from.

A file holds the version as three int32, the images seen (uint64, in files before version 0.2
uint32), and per convolution bias, scale, mean and variance of the norm, or only a bias, then the
weights [out, in, height, width]; float32 without names or shapes. Networks trained there expect
images in RGB from 0 to 1.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.convert.converter import Converter, has_yolo_outputs_of_coco
from ppdet_lite.weights.convert.darknet_cfg import CfgConvolution, read_cfg
from ppdet_lite.weights.convert.darknet_plans import (
    CLASSIFIERS,
    LAST_OF_CLASSIFIERS,
    PLANS,
    Convolution,
)
from ppdet_lite.weights.convert.darknet_settings import options_for

ALL_PLANS = {**PLANS, **CLASSIFIERS}

SHIPPED = {
    "yolov4": "yolov4_cspdarknet53_coco",
    "yolov4-csp": "yolov4_csp_coco",
    "yolov4-tiny": "yolov4_tiny_coco",
    "yolov3": "yolov3_darknet53_270e_coco",
    "csresnext50-panet-spp": "yolov4_ablation_base",
    "csdarknet53": "yolov4_cspdarknet53_coco",
    "csresnext50": "yolov4_ablation_base",
}
"""Network -> the configuration here that has it."""

NORM_LEAVES = ("bias", "weight", "_mean", "_variance")
"""Of a norm, in the order of the file."""

MOST_VERSION, MOST_CLASSES = 1000, 100_000


class DarknetConverter(Converter):
    """`.weights` files; `description` is the network's `.cfg`.

    Without it the network is the one whose numbers fill the file exactly for some number of
    classes. A file may end behind any convolution from the last of the backbone on, as those that
    trainings of darknet start from do (`yolov4.conv.137`).
    """

    name = "darknet"
    endings = (".weights",)
    project = "darknet"
    takes_description = True

    @classmethod
    def reads(cls, name: str) -> bool:
        return super().reads(name) or re.search(r"\.conv\.[0-9]+$", name) is not None

    def read(self, path: Path) -> dict[str, np.ndarray]:
        try:
            with open(path, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                version, seen = _header(path, stream, size)
                count = (size - stream.tell()) // 4
                if (size - stream.tell()) % 4:
                    raise CheckpointError(
                        f"{path}: truncated or damaged: {size - stream.tell()} bytes are no whole "
                        "number of float32"
                    )
                network, classes = self._network(path, count)
                plan = list(ALL_PLANS[network](classes))
                length = _length(plan, count)
                state = _arrays(path, stream, plan[:length])
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
        get_logger().info(
            "%s: %s with %d classes, %d convolutions, %d numbers; version %s, %d images seen",
            *(path, network, classes, length, count, version, seen),
        )
        get_logger().info("It was trained on RGB from 0 to 1: NormalizeImage with mean 0, std 1.")
        self.is_part = length < len(plan) or network in CLASSIFIERS
        self.notes = []
        if length < len(plan):
            about = f"the first {length} of the {len(plan)} convolutions of {network}"
            self.notes.append(f"{about}, up to {plan[length - 1].name}")
        if self.description is not None:
            self.notes += self._differences(self.description, network, plan)
        return state

    def _differences(self, cfg_file: Path, network: str, plan: list[Convolution]) -> list[str]:
        cfg = self.config or load_config(SHIPPED[network])
        options = options_for(cfg_file, plan, cfg)
        return [f"{cfg_file} is not {cfg.name}: set -o {' '.join(options)}"] if options else []

    def leaves_out(self, key: str) -> bool:
        return key.startswith(f"{LAST_OF_CLASSIFIERS}.")

    def convert(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {key: array for key, array in state.items() if not self.leaves_out(key)}

    def has_coco_classes(self, state: Mapping[str, np.ndarray]) -> bool:
        return has_yolo_outputs_of_coco(state)

    def _network(self, path: Path, count: int) -> tuple[str, int]:
        """The name of the network in a file of `count` numbers, and its classes."""
        if self.description is None:
            return _by_length(path, count)
        network, classes = network_of_cfg(self.description)
        needed = _values(network, classes)
        if not _length(list(ALL_PLANS[network](classes)), count):
            kind = "truncated" if count < needed else "too long"
            raise CheckpointError(
                f"{path}: {kind}: it holds {count} numbers, the network of {self.description} "
                f"({network} with {classes} classes) has {needed}"
            )
        return network, classes


def _header(path: Path, stream: BinaryIO, size: int) -> tuple[str, int]:
    """Version and images seen; the stream stands at the first number then."""
    head = stream.read(12)
    if len(head) < 12:
        raise CheckpointError(f"{path}: truncated: {size} bytes, a header alone has 16")
    major, minor, revision = (int(n) for n in np.frombuffer(head, "<i4"))
    if not all(0 <= n < MOST_VERSION for n in (major, minor, revision)):
        raise CheckpointError(
            f"{path}: damaged or not of darknet: found version {major}.{minor}.{revision}"
        )
    kind = np.dtype("<u8" if major * 10 + minor >= 2 else "<u4")
    seen = stream.read(kind.itemsize)
    if len(seen) < kind.itemsize:
        raise CheckpointError(f"{path}: truncated: {size} bytes end within its header")
    return f"{major}.{minor}.{revision}", int(np.frombuffer(seen, kind)[0])


def _values(network: str, classes: int) -> int:
    return sum(conv.values for conv in ALL_PLANS[network](classes))


def _length(plan: list[Convolution], count: int) -> int:
    """How many convolutions of a network have `count` numbers, those of its backbone and perhaps
    more; 0 if no number of them has."""
    total = 0
    for i, conv in enumerate(plan):
        total += conv.values
        if total == count and not any(c.name.startswith("backbone.") for c in plan[i + 1 :]):
            return i + 1
    return 0


def _by_length(path: Path, count: int) -> tuple[str, int]:
    for network in ALL_PLANS:
        one = _values(network, 1)
        per_class = _values(network, 2) - one
        classes, rest = divmod(count - one, per_class)
        if rest == 0 and 0 <= classes < MOST_CLASSES:
            return network, classes + 1
    for network in PLANS:
        plan = list(PLANS[network](1))
        outputs = [i for i, conv in enumerate(plan) if not conv.has_norm]
        if _length(plan[: outputs[0]], count):
            return network, 1
    listed = ", ".join(f"{name} {_values(name, 80)}" for name in PLANS)
    raise CheckpointError(
        f"{path}: truncated, too long, or of another network: it holds {count} numbers, which are "
        f"those of no network here with any number of classes (with 80: {listed}); `cfg` names the "
        "network's .cfg file"
    )


def network_of_cfg(path: Path) -> tuple[str, int]:
    """The network of a `.cfg`, the one with the same convolutions, and its classes.

    Raises:
        CheckpointError: the file cannot be read or describes another network.
    """
    given = read_cfg(path)
    closest: Optional[tuple[int, str]] = None
    last = given[-1].ch_out if given else 0
    for network, plan_of in CLASSIFIERS.items():
        plan = list(plan_of(last))
        if len(given) == len(plan) and all(map(_fits, given, plan)):
            return network, last
    classes = last // 3 - 5
    if last % 3 or not 1 <= classes <= MOST_CLASSES:
        raise CheckpointError(
            f"{path}: found {last} filters in the last convolution, allowed: 3 x (5 + classes)"
        )
    for network, plan_of in PLANS.items():
        plan = list(plan_of(classes))
        pairs = zip(given, plan)
        same = next((i for i, (a, b) in enumerate(pairs) if not _fits(a, b)), None)
        if same is None and len(given) == len(plan):
            return network, classes
        position = min(len(given), len(plan)) if same is None else same
        if closest is None or position > closest[0]:
            closest = position, network
    assert closest is not None
    position, network = closest
    plan = list(PLANS[network](classes))
    found = _shown(given[position]) if position < len(given) else "no more convolutions"
    needed = _shown(plan[position]) if position < len(plan) else "the end"
    raise CheckpointError(
        f"{path}: no network here: nearest is {network}; convolution {position}: found {found}, "
        f"allowed: {needed}"
    )


def _fits(given: CfgConvolution, own: Convolution) -> bool:
    sizes = (given.ch_in, given.ch_out, given.size, given.has_norm, given.groups)
    return sizes == (own.ch_in, own.ch_out, own.size, own.has_norm, own.groups)


def _shown(conv: Union[CfgConvolution, Convolution]) -> str:
    norm = "a norm" if conv.has_norm else "no norm"
    text = f"{conv.ch_in} to {conv.ch_out} channels, {conv.size} x {conv.size}, {norm}"
    return text if conv.groups == 1 else f"{text}, {conv.groups} groups"


def _arrays(path: Path, stream: BinaryIO, plan: list[Convolution]) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}

    def take(name: str, *shape: int) -> np.ndarray:
        array = np.empty(shape, "<f4")
        if stream.readinto(array) != array.nbytes:  # type: ignore[attr-defined]
            raise CheckpointError(f"{path}: truncated in {name}")
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path}: damaged: NaN or infinite values in {name}")
        return array

    for conv in plan:
        if conv.has_norm:
            for leaf in NORM_LEAVES:
                name = f"{conv.name}.batch_norm.{leaf}"
                state[name] = take(name, conv.ch_out)
            if (state[name] < 0).any():
                raise CheckpointError(
                    f"{path}: damaged or of another network: negative variances in {name}"
                )
            kernel = f"{conv.name}.conv.weight"
        else:
            bias, kernel = f"{conv.name}.bias", f"{conv.name}.weight"
            state[bias] = take(bias, conv.ch_out)
        state[kernel] = take(kernel, *conv.shape)
    return state
