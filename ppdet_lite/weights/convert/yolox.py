"""Weights of YOLOX's authors (Megvii-BaseDetection/YOLOX): nano to x, tiny, and DarkNet53."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.convert.converter import Converter
from ppdet_lite.weights.torch_file import read_tensors

Rename = tuple[str, Union[str, Callable[..., str]]]
"""The beginning of a name there, and here."""


def _stage_part(level: str, part: str) -> str:
    number, kind = {"0": (2 * int(level) - 3, "conv"), "1": (2 * int(level) - 2, "csp")}[part]
    return f"backbone.layers{number}.stage{int(level) - 1}.{kind}_layer."


_CSP: tuple[Rename, ...] = (
    (r"backbone\.backbone\.stem\.", "backbone.stem."),
    (r"backbone\.backbone\.dark5\.1\.", "backbone.layers8.stage4.spp_layer."),
    (r"backbone\.backbone\.dark5\.2\.", "backbone.layers9.stage4.csp_layer."),
    (r"backbone\.backbone\.dark([2-5])\.([01])\.", _stage_part),
    (r"backbone\.lateral_conv0\.", "neck.lateral_convs.0."),
    (r"backbone\.reduce_conv1\.", "neck.lateral_convs.1."),
    (r"backbone\.C3_p4\.", "neck.fpn_blocks.0."),
    (r"backbone\.C3_p3\.", "neck.fpn_blocks.1."),
    (r"backbone\.bu_conv2\.", "neck.downsample_convs.0."),
    (r"backbone\.bu_conv1\.", "neck.downsample_convs.1."),
    (r"backbone\.C3_n3\.", "neck.pan_blocks.0."),
    (r"backbone\.C3_n4\.", "neck.pan_blocks.1."),
)


def _block_part(block: str, part: str) -> str:
    parts = ("conv0", "conv1", "conv2", "conv3", "route")
    return f"neck.yolo_block.{block}.conv_module.{parts[int(part)]}."


_P5 = "neck.yolo_block.0.conv_module"
_DARKNET: tuple[Rename, ...] = (
    (r"backbone\.backbone\.stem\.0\.", "backbone.conv0."),
    (r"backbone\.backbone\.stem\.1\.", "backbone.downsample0.conv_bn_layer."),
    (
        r"backbone\.backbone\.dark([2-5])\.0\.",
        lambda level: f"backbone.stage.{int(level) - 2}.downsample.conv_bn_layer.",
    ),
    (r"backbone\.backbone\.dark5\.5\.", f"{_P5}.conv0."),
    (r"backbone\.backbone\.dark5\.6\.", f"{_P5}.conv1."),
    (r"backbone\.backbone\.dark5\.7\.conv1\.", f"{_P5}.conv2."),
    (r"backbone\.backbone\.dark5\.7\.conv2\.", f"{_P5}.spp.conv."),
    (r"backbone\.backbone\.dark5\.8\.", f"{_P5}.conv3."),
    (r"backbone\.backbone\.dark5\.9\.", f"{_P5}.route."),
    (r"backbone\.out1_cbl\.", "neck.yolo_transition.0."),
    (r"backbone\.out2_cbl\.", "neck.yolo_transition.1."),
    (r"backbone\.out([12])\.([0-4])\.", _block_part),
)
_HEAD: tuple[Rename, ...] = (
    (r"head\.stems\.(\d)\.", r"head.stem_conv.\1."),
    (r"head\.(cls|reg)_convs\.(\d)\.([01])\.", r"head.conv_\1.\2.\3."),
    (r"head\.(cls|reg)_preds\.(\d)\.", r"head.conv_\1.\2.2."),
)
_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
_PREFIX = "module."


class YOLOXConverter(Converter):
    """A `.pth` or `.pth.tar` checkpoint, or its state dict as `.safetensors` or `.npz`.

    Shapes are equal in both; box and objectness layers of the head become one. The networks expect
    images in the order B, G, R, as configs/yolox/upstream gives them.
    """

    name = "yolox"
    endings = (".pth", ".pth.tar", ".pt", ".safetensors", ".npz")
    project = "YOLOX"

    def read(self, path: Path) -> dict[str, np.ndarray]:
        return read_tensors(path)

    def fits(self, state: Mapping[str, np.ndarray]) -> bool:
        keys = list(map(_without_prefix, state))
        return any(key.startswith("backbone.backbone.") for key in keys) and any(
            key.startswith("head.reg_preds.") for key in keys
        )

    def leaves_out(self, key: str) -> bool:
        return key.endswith("num_batches_tracked")

    def convert(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        place_of = darknet_key if any(".layer1." in key for key in state) else csp_key
        converted: dict[str, np.ndarray] = {}
        for full, array in state.items():
            key = _without_prefix(full)
            if self.leaves_out(key) or key.startswith("head.obj_preds."):
                continue
            place = place_of(key)
            if place is None:
                text = f"found the tensor {full}, allowed: those of YOLOX's networks"
                raise CheckpointError(text)
            if key.startswith("head.reg_preds."):
                partner = full.replace("reg_preds", "obj_preds")
                if partner not in state:
                    raise CheckpointError(f"found the tensor {full}, but no {partner}")
                array = np.concatenate([array, state[partner]])
            converted[place] = array
        return converted

    def has_coco_classes(self, state: Mapping[str, np.ndarray]) -> bool:
        last = [v for k, v in state.items() if re.fullmatch(r"head\.conv_cls\.\d\.2\.\w+", k)]
        return bool(last) and all(array.shape[0] == 80 for array in last)


def _without_prefix(key: str) -> str:
    """A name as it is in the network; models trained on several GPUs put a word before it."""
    return key[len(_PREFIX) :] if key.startswith(_PREFIX) else key


def csp_key(key: str) -> Optional[str]:
    """The name in `CSPDarkNet`, `YOLOCSPPAN` and the head of a tensor of YOLOX's authors; None if
    there is none. The objectness layers, which have none of their own, are not asked for."""
    key = re.sub(r"\.m\.(\d+)\.", r".bottlenecks.\1.", key)
    key = key.replace(".dconv.", ".dw_conv.").replace(".pconv.", ".pw_conv.")
    return _renamed(key, (*_CSP, *_HEAD))


def darknet_key(key: str) -> Optional[str]:
    """The same for `DarkNet` and `YOLOXFPN`. A stage begins with the convolution of stride 2, which
    `DarkNet` counts to the stage before."""
    if key.startswith("head."):
        return _renamed(key, _HEAD)
    key = key.replace(".bn.", ".batch_norm.")
    if found := re.match(r"backbone\.backbone\.(stem|dark[2-5])\.(\d+)\.layer([12])\.", key):
        stage = 0 if found[1] == "stem" else int(found[1][4]) - 1
        block = int(found[2]) - (2 if stage == 0 else 1)
        place = f"stage.{stage}.{block}" if block else "basicblock0"
        rest = f"{place}.conv{found[3]}.{key[found.end() :]}"
        return _with_statistics(f"backbone.stage.{stage}.{rest}")
    return _renamed(key, _DARKNET)


def _renamed(key: str, rules: Sequence[Rename]) -> Optional[str]:
    for pattern, place in rules:
        if found := re.match(pattern, key):
            made = place(*found.groups()) if callable(place) else found.expand(place)
            return _with_statistics(made + key[found.end() :])
    return None


def _with_statistics(key: str) -> str:
    parent, _, leaf = key.rpartition(".")
    return f"{parent}.{_STATISTICS.get(leaf, leaf)}"
