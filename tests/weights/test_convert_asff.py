"""Weights of ASFF's authors: every layer of the networks here has a name there, and back."""

import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.weights.convert.asff import ASFFConverter, key_places
from ppdet_lite.weights.convert.converter import convert_file

THEIR_LEAVES = {"_mean": "running_mean", "_variance": "running_var"}


def their_state(model, has_fusion):
    """The weights of a model here under the authors' names."""
    names = {here: there for there, here in key_places(has_fusion).items()}
    state = {}
    for key, value in model.state_dict().items():
        layer, leaf = key.rsplit(".", 1)
        own, _, kind = layer.rpartition(".")
        there = names.get(layer) or f"{names[own]}.{kind}"
        state[f"{there}.{THEIR_LEAVES.get(leaf, leaf)}"] = value.numpy()
    return state


@pytest.mark.parametrize(
    "name", ["yolov3_asff_coco", "yolov3_asff_star_coco", "yolov3_strong_baseline_coco"]
)
def test_every_tensor_finds_its_place(repo, name, tmp_path):
    path = repo / "configs" / "asff" / f"{name}.yml"
    model = create("YOLOv3", load_config(path, ["width_mult=0.125", "num_classes=2"]))
    theirs = their_state(model, "asff" in name)
    counters = {"module_list.0.batch_norm.num_batches_tracked": np.int64(7)}
    np.savez(tmp_path / "weights.npz", **{f"module.{k}": v for k, v in theirs.items()}, **counters)
    source, found = convert_file(tmp_path / "weights.npz")
    assert source == "asff"
    expected = {key: value.numpy() for key, value in model.state_dict().items()}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


def test_tensors_of_other_networks_are_named():
    converter = ASFFConverter()
    assert not converter.fits({"module_list.0.conv.weight": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"module_list\.99\.conv\.weight"):
        converter.convert({"module_list.99.conv.weight": np.zeros(1)})
