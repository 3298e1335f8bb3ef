"""The reference set of darknet's YOLOv4 networks, and how its names read here."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import paddle

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.weights.convert.darknet_plans import PLANS

SEED, HEIGHT, WIDTH = 20260713, 96, 128
REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO.parent / "shared" / "golden_yolov4"
CONFIGS = {
    "yolov4": "yolov4_cspdarknet53_coco",
    "yolov4-csp": "yolov4_csp_coco",
    "yolov4-tiny": "yolov4_tiny_coco",
}
NETWORKS = tuple(n for n in CONFIGS if (FOLDER / "forward" / f"{n}.npz").is_file()) or ("yolov4",)
NORM_KEYS = ("weight", "bias", "_mean", "_variance")


@cache
def filling():
    """The module that makes weights and inputs from names and seeds."""
    spec = importlib.util.spec_from_file_location("yolov4_fill", FOLDER / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def description(name: str) -> dict:
    return json.loads((FOLDER / "state_dict" / f"{name}.json").read_text())


def arrays(path: str) -> dict:
    with np.load(FOLDER / path) as data:
        return dict(data)


def key_map(name: str) -> dict:
    """Key of the set -> key here."""
    found = {}
    for i, conv in enumerate(PLANS[name](80)):
        if conv.has_norm:
            found[f"conv{i:03d}.conv.weight"] = f"{conv.name}.conv.weight"
            for leaf in NORM_KEYS:
                found[f"conv{i:03d}.bn.{leaf}"] = f"{conv.name}.batch_norm.{leaf}"
        else:
            for leaf in ("weight", "bias"):
                found[f"conv{i:03d}.conv.{leaf}"] = f"{conv.name}.{leaf}"
    return found


def filled_state(name: str) -> dict:
    """The filled weights under the names of the set."""
    about = description(name)
    stats = arrays(f"stats/{name}.npz")
    return filling().fill_state(about["shapes"], stats, about["closing"])


@cache
def config(name: str):
    return load_config(REPO / "configs" / "yolov4" / f"{CONFIGS[name]}.yml")


@cache
def model(name: str):
    """The shipped network with the filled weights, in evaluation mode."""
    cfg = config(name)
    network = create(cfg.architecture, cfg)
    names = key_map(name)
    state = {names[key]: paddle.to_tensor(v) for key, v in filled_state(name).items()}
    missing, unexpected = network.set_state_dict(state)
    assert not missing and not unexpected
    network.eval()
    return network
