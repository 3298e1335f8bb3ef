"""Darknet's `.cfg` and `.weights` of the reference networks, written by the rules of its set."""

import numpy as np
import pytest

from ppdet_lite.weights.convert.converter import convert_file
from ppdet_lite.weights.convert.darknet import network_of_cfg
from tests.golden import yolov4_set as reference

pytestmark = pytest.mark.usefixtures("golden_yolov4")


def write_cfg(name, path) -> None:
    """The network's file from the plan of the set."""
    lines = ["[net]", "channels=3"]
    for layer in reference.description(name)["plan"]:
        lines.append(f"[{layer['type']}]")
        if layer["type"] == "convolutional":
            lines += [f"filters={layer['cout']}", f"size={layer['k']}", f"groups={layer['groups']}"]
            lines.append(f"batch_normalize={layer['bn']}")
        elif layer["type"] == "route":
            lines.append("layers=" + ",".join(map(str, layer["src"])))
            lines.append(f"groups={layer['groups']}")
        elif layer["type"] == "shortcut":
            lines.append("from=-3")
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("name", reference.NETWORKS)
def test_cfg_is_recognized(name, tmp_path):
    path = tmp_path / "net.cfg"
    write_cfg(name, path)
    assert network_of_cfg(path) == (name, 80)


@pytest.mark.parametrize("name", [n for n in reference.NETWORKS if n == "yolov4-tiny"])
def test_weights_are_read(name, tmp_path):
    given, names = reference.filled_state(name), reference.key_map(name)
    weights, cfg = tmp_path / "net.weights", tmp_path / "net.cfg"
    write_cfg(name, cfg)
    with open(weights, "wb") as stream:
        stream.write(np.array([0, 2, 5, 64, 0], "<i4").tobytes())
        for layer in reference.description(name)["plan"]:
            if layer["type"] != "convolutional":
                continue
            parts = [f"bn.{leaf}" for leaf in ("bias", "weight", "_mean", "_variance")]
            for part in [*(parts if layer["bn"] else ["conv.bias"]), "conv.weight"]:
                stream.write(given[f"{layer['key']}.{part}"].astype("<f4").tobytes())
    for description in (None, cfg):
        found = convert_file(weights, None, description)[1]
        assert set(found) == set(names.values())
        for key, value in given.items():
            np.testing.assert_array_equal(found[names[key]], value)
