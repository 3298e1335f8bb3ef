"""The reference set of YOLOv3 with ASFF, and how its names read here."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import paddle

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.weights.convert.asff import ASFFConverter

SEED, HEIGHT, WIDTH = 20260712, 96, 96
REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO.parent / "shared" / "golden_asff"
NAMES = ("yolov3_asff", "yolov3_asff_star", "yolov3_strong_baseline")
NETWORKS = tuple(n for n in NAMES if (FOLDER / "forward" / f"{n}.npz").is_file()) or NAMES[:1]
FUSIONS = tuple(n for n in NETWORKS if (FOLDER / "fusion" / f"{n}.npz").is_file()) or NAMES[:1]
MAPS = {"yolov3_asff_star": 5e-4}
"""Tolerance of maps, 3e-4 for the others."""


@cache
def filling():
    """The module that makes weights and inputs from names and seeds."""
    spec = importlib.util.spec_from_file_location("asff_fill", FOLDER / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def description(name: str) -> dict:
    return json.loads((FOLDER / "state_dict" / f"{name}.json").read_text())


def arrays(path: str) -> dict:
    with np.load(FOLDER / path) as data:
        return dict(data)


def filled_state(name: str) -> dict:
    """The filled weights under the names of the set."""
    about = description(name)
    stats = arrays(f"stats/{name}.npz")
    return filling().fill_state(about["shapes"], stats, about["closing"])


@cache
def model(name: str):
    """The shipped network with the authors' anchors and the filled weights, in evaluation mode."""
    path = REPO / "configs" / "asff" / f"{name}_coco.yml"
    cfg = load_config(path, ["GuidedAnchorHead.anchors=asff"])
    network = create(cfg.architecture, cfg)
    state = ASFFConverter().convert(filled_state(name))
    report = network.set_state_dict({key: paddle.to_tensor(v) for key, v in state.items()})
    assert report == ([], [])
    network.eval()
    return network


def image():
    return paddle.to_tensor(filling().make_image(SEED, (2, 3, HEIGHT, WIDTH)))
