"""Weights of ASFF's authors (GOATmessi8/ASFF): YOLOv3 with ASFF, ASFF*, and the baseline."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.convert.converter import Converter, has_yolo_outputs_of_coco
from ppdet_lite.weights.torch_file import read_tensors

LEVELS = range(3)
BLOCKS = (1, 2, 8, 8, 4)
"""Residual blocks of DarkNet-53."""

# Numbers in the authors' list of layers: of each level the convolutions conv0 to conv3, those
# between that come in pairs, then route and transition to the next level.
_WITH_FUSION = (
    {"conv2": "12", "spp.conv": "14", "conv3": "15", "route": "17"},
    {"conv0": "20", "conv1": "21", "route": "24"},
    {"conv0": "27", "conv1": "28", "route": "31"},
)
_BASELINE = (
    {"conv2": "12", "spp.conv": "14", "conv3": "15", "route": "17"},
    {"conv0": "22", "conv1": "23", "route": "26"},
    {"conv0": "31", "conv1": "32", "route": "35"},
)
_PAIRS = {True: ("11", "23", "30"), False: ("11", "25", "34")}
_TRANSITIONS = {True: ("18", "25"), False: ("20", "29")}
_TIPS = {True: {2: "32"}, False: {0: "18", 1: "27", 2: "36"}}
_HEADS = ("19", "28", "37")  # of the baseline
_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
_PREFIX = "module."


class ASFFConverter(Converter):
    """A `.pth` checkpoint of a network on DarkNet-53, or its state dict (`.safetensors`, `.npz`).

    The weights belong to the anchors with which they were trained: `GuidedAnchorHead.anchors` asff.
    """

    name = "asff"
    endings = (".pth", ".pt", ".safetensors", ".npz")
    project = "ASFF"

    def read(self, path: Path) -> dict[str, np.ndarray]:
        return read_tensors(path)

    def fits(self, state: Mapping[str, np.ndarray]) -> bool:
        keys = [key[len(_PREFIX) :] if key.startswith(_PREFIX) else key for key in state]
        guided = any(".guide_wh." in key for key in keys)
        return guided and "module_list.2.module_list.0.0.conv.weight" in keys

    def leaves_out(self, key: str) -> bool:
        return key.endswith("num_batches_tracked")

    def convert(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        places = key_places(has_fusion=any("_fusion." in key for key in state))
        converted = {}
        for full, array in state.items():
            key = full[len(_PREFIX) :] if full.startswith(_PREFIX) else full
            if not self.leaves_out(key):
                converted[_place_of(key, full, places)] = array
        return converted

    def has_coco_classes(self, state: Mapping[str, np.ndarray]) -> bool:
        return has_yolo_outputs_of_coco(state)


def _place_of(key: str, full: str, places: Mapping[str, str]) -> str:
    layer, _, leaf = key.rpartition(".")
    parent, _, kind = layer.rpartition(".")
    for known, rest in ((layer, ""), (parent, f".{kind}")):
        if known in places:
            return f"{places[known]}{rest}.{_STATISTICS.get(leaf, leaf)}"
    text = f"found the tensor {full}, allowed: those of ASFF's networks on DarkNet-53"
    raise CheckpointError(text)


def key_places(has_fusion: bool) -> dict[str, str]:
    """Layer there -> layer here; `conv` and `batch_norm` in blocks have the same names."""
    listed = {**_backbone(), **_neck(has_fusion)}
    found = {f"module_list.{layer}": place for layer, place in listed.items()}
    for level in LEVELS:
        header = f"level_{level}_header" if has_fusion else f"module_list.{_HEADS[level]}"
        found.update({f"{header}.{key}": place for key, place in _head(level).items()})
    if has_fusion:
        found.update(_fusion())
    return found


def _backbone() -> dict[str, str]:
    found = {"0": "backbone.conv0", "1": "backbone.downsample0.conv_bn_layer"}
    for stage, count in enumerate(BLOCKS):
        place = f"backbone.stage.{stage}"
        for block in range(count):
            own = f"{place}.stage.{stage}.{block}" if block else f"{place}.basicblock0"
            for conv in range(2):
                key = f"{2 * stage + 2}.module_list.{block}.{conv}"
                found[key] = f"{own}.conv{conv + 1}"
        if stage < len(BLOCKS) - 1:
            found[str(2 * stage + 3)] = f"{place}.downsample.conv_bn_layer"
    return found


def _neck(has_fusion: bool) -> dict[str, str]:
    neck = "neck.neck" if has_fusion else "neck"
    found = {}
    for level, numbers in enumerate(_WITH_FUSION if has_fusion else _BASELINE):
        place = f"{neck}.yolo_block.{level}.conv_module"
        found.update({number: f"{place}.{name}" for name, number in numbers.items()})
        for conv in range(2):
            key = f"{_PAIRS[has_fusion][level]}.module_list.0.{conv}"
            found[key] = f"{place}.conv{conv + (2 if level else 0)}"
    for i, number in enumerate(_TRANSITIONS[has_fusion]):
        found[number] = f"{neck}.yolo_transition.{i}"
    for level, number in _TIPS[has_fusion].items():
        found[number] = f"{neck}.yolo_block.{level}.tip"
    return found


def _fusion() -> dict[str, str]:
    found = {}
    for level in LEVELS:
        there, here = f"level_{level}_fusion", f"neck.fusion.{level}"
        found[f"{there}.weight_levels"] = f"{here}.weight_logits"
        found[f"{there}.expand"] = f"{here}.expand"
        for source in LEVELS:
            found[f"{there}.weight_level_{source}"] = f"{here}.weight_convs.{source}"
            kind = "stride" if source > level else "compress"
            found[f"{there}.{kind}_level_{source}"] = f"{here}.resize.{source}.conv"
    return found


def _head(level: int) -> dict[str, str]:
    adaption = f"yolo_head.adaption.{level}"
    found = {
        "guide_wh": f"yolo_head.guide_wh.{level}",
        "Feature_adaption.conv_offset": f"{adaption}.conv_offset",
        "Feature_adaption.dconv": f"{adaption}.conv",
        "conv": f"yolo_head.yolo_output.{level}",
    }
    for branch, count in enumerate((1, 2, 3, 3)):
        for conv in range(count):
            key = f"Feature_adaption.rfb.branch_{branch}.{conv}"
            found[key] = f"{adaption}.rfb.branch.{branch}.{conv}"
    return found
