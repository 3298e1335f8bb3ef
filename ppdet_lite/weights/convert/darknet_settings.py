"""What a `.cfg` of darknet states beside its convolutions, against a configuration here: weights
read under other activations or anchors give boxes that are wrong without any other sign."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from ppdet_lite.core.build import value_of
from ppdet_lite.core.config import Config
from ppdet_lite.core.registry import get_class, parameters_of, parse_spec
from ppdet_lite.weights.convert.darknet_cfg import (
    CfgConvolution,
    CfgSection,
    numbers_of,
    read_cfg,
    read_yolo_layers,
    wrong,
)
from ppdet_lite.weights.convert.darknet_plans import Convolution

ROLES = ("backbone", "neck", "yolo_head")
"""Of the parts of a model; names of layers begin with them."""

KNOWN_ACTS = ("relu", "relu6", "leaky", "mish", "swish")
"""Activations that have the same name here."""


def options_for(path: Path, plan: Sequence[Convolution], cfg: Config) -> list[str]:
    """What `-o` has to set in a configuration, so that its network is the one of a `.cfg` whose
    convolutions are those of `plan`. Keys that the file does not state are not compared, but for
    `scale_x_y` and `new_coords`, which have defaults in darknet.

    Raises:
        CheckpointError: an activation or a value of `[yolo]` that no option can give.
    """
    convs = list(zip(read_cfg(path), plan))
    options = _activations(path, convs, cfg)
    layers = read_yolo_layers(path)
    if layers:
        outputs = [given for given, own in convs if not own.has_norm]
        options += _boxes(path, layers, outputs, cfg)
    return options


def _class(cfg: Config, role: str) -> str:
    """Name of the class that the model has for a part of it."""
    spec = value_of(cfg, cfg.architecture, role)
    parsed = parse_spec(spec)
    return parsed.name if parsed else str(spec)


def _own(cfg: Config, name: str, parameter: str, otherwise: Any) -> Any:
    has_it = parameter in parameters_of(get_class(name))
    value = value_of(cfg, name, parameter) if has_it else None
    return otherwise if value is None else value


def _activations(
    path: Path, convs: Sequence[tuple[CfgConvolution, Convolution]], cfg: Config
) -> list[str]:
    options = []
    for role in ROLES:
        part = [given for given, own in convs if own.name.startswith(f"{role}.") and own.has_norm]
        part = [given for given in part if given.activation is not None]
        if not part:
            continue
        name = _class(cfg, role)
        own = _own(cfg, name, "act", "leaky")
        own = "swish" if own == "silu" else own
        other = next((given for given in part if given.activation != own), None)
        if other is None:
            continue
        is_one = len({given.activation for given in part}) == 1
        has_option = "act" in parameters_of(get_class(name))
        if not (is_one and has_option and other.activation in KNOWN_ACTS):
            raise wrong(path, other.section, "activation", str(other.activation), own)
        options.append(f"{name}.act={other.activation}")
    return options


def _boxes(
    path: Path, layers: Sequence[CfgSection], outputs: Sequence[CfgConvolution], cfg: Config
) -> list[str]:
    head = _class(cfg, "yolo_head")
    scales = [numbers_of(path, layer, "scale_x_y", "1")[0] for layer in layers]
    masks = _masks(path, layers)
    given: dict[str, Any] = {"anchors": _anchors(path, layers), "anchor_masks": masks}
    own = {key: _plain(_own(cfg, head, key, None)) for key in given}
    given["scale_x_y"] = scales
    own["scale_x_y"] = _own_scales(cfg, head, len(scales))
    options = [
        f"{head}.{key}={values!r}".replace(" ", "")
        for key, values in given.items()
        if values is not None and values != own[key]
    ]
    return options + _new_coords(path, layers, outputs, cfg, head)


def _own_scales(cfg: Config, head: str, count: int) -> list[float]:
    scale = _own(cfg, head, "scale_x_y", None)
    if scale is None:  # of YOLOv3 it is its loss that may have it
        scale = _own(cfg, str(_own(cfg, head, "loss", "YOLOv3Loss")), "scale_x_y", 1.0)
    return list(scale) if isinstance(scale, (list, tuple)) else [float(scale)] * count


def _new_coords(
    path: Path,
    layers: Sequence[CfgSection],
    outputs: Sequence[CfgConvolution],
    cfg: Config,
    head: str,
) -> list[str]:
    flags = [numbers_of(path, layer, "new_coords", "0")[0] != 0 for layer in layers]
    for layer, conv, flag in zip(layers, outputs, flags):
        needed = "logistic" if flag else "linear"
        if conv.activation not in (None, needed):
            raise wrong(path, conv.section, "activation", str(conv.activation), needed)
        if flag != flags[0]:
            value = layer.values.get("new_coords", "0")
            raise wrong(path, layer, "new_coords", value, "that of the first [yolo]")
    is_stated = "new_coords" in layers[0].values or outputs[0].activation is not None
    if not is_stated or flags[0] == _own(cfg, head, "new_coords", False):
        return []
    if "new_coords" not in parameters_of(get_class(head)):
        raise wrong(path, layers[0], "new_coords", "1", "0")
    return [f"{head}.new_coords={str(flags[0]).lower()}"]


def _masks(path: Path, layers: Sequence[CfgSection]) -> Optional[list[list[int]]]:
    if not all("mask" in layer.values for layer in layers):
        return None
    return [[int(n) for n in numbers_of(path, layer, "mask", whole=True)] for layer in layers]


def _anchors(path: Path, layers: Sequence[CfgSection]) -> Optional[list[list[int]]]:
    """Pairs of width and height, the same in every layer."""
    stating = [layer for layer in layers if "anchors" in layer.values]
    if not stating:
        return None
    found = [numbers_of(path, layer, "anchors", whole=True) for layer in stating]
    for layer, numbers in zip(stating, found):
        if numbers != found[0] or len(numbers) % 2:
            needed = "pairs, the same in every layer"
            raise wrong(path, layer, "anchors", layer.values["anchors"], needed)
    sides = [int(number) for number in found[0]]
    return [sides[i : i + 2] for i in range(0, len(sides), 2)]


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
