"""A wrong export is found, whatever is wrong with it and whichever images it is compared on."""

import importlib.util
import os
import re
import shutil
import sys

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.cli.tool import run_tool
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export import check as export_check
from ppdet_lite.export import run as export
from ppdet_lite.export.check import ExportMismatch, built_in_image, verify_export
from ppdet_lite.export.options import export_options
from ppdet_lite.export.runners import ExportedModel, Trial


@pytest.fixture
def export_tool(repo, monkeypatch):
    """export_tool(arguments...) runs tools/export_model.py in this process -> its exit code."""
    path = repo / "tools/export_model.py"
    spec = importlib.util.spec_from_file_location("tool_export_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_tool(module.main)
        return end.value.code

    return run


def calm(head):
    """Scores that differ."""
    for conv in head.yolo_output:
        conv.weight.set_value(conv.weight * 0.02)


def saturated(head):
    """Every score becomes 1: the rows take all places, and all of them lie at the limit."""
    for conv, level in zip(head.yolo_output, head.levels):
        step, first = 5 + head.num_classes, len(level.anchors)
        channels = [*range(first)]
        for anchor in range(first):
            start = first + step * anchor
            channels += range(start + 4, start + step)
        bias = conv.bias.numpy()
        bias[channels] += 25
        conv.bias.set_value(bias)


def silent(head):
    """Nothing is found."""
    for conv in head.yolo_output:
        conv.bias.set_value(paddle.full_like(conv.bias, -1e4))


def wider(head):
    """Boxes of other widths, with the same scores."""
    for conv, level in zip(head.yolo_output, head.levels):
        step, first = 5 + head.num_classes, len(level.anchors)
        bias = conv.bias.numpy()
        bias[[first + step * anchor + 2 for anchor in range(first)]] += 1
        conv.bias.set_value(bias)


@pytest.fixture
def change(monkeypatch):
    """change(trained=..., exported=...): what is done to the head of either network."""

    def change_heads(trained=None, exported=None):
        load, make = export.load_trained_model, export.exported_network

        def load_changed(cfg):
            model, weights = load(cfg)
            if trained is not None:
                trained(model.yolo_head)
            return model, weights

        def make_changed(model, options):
            network = make(model, options)
            exported(network.yolo_head)
            return network

        monkeypatch.setattr(export, "load_trained_model", load_changed)
        monkeypatch.setattr(export, "exported_network", make_changed)

    return change_heads


@pytest.mark.parametrize(
    ("trained", "exported", "complaint"),
    [
        (calm, saturated, r"of 10 boxes 0 agree within .+, 10 are missing and 10 are new"),
        (calm, silent, r"of 10 boxes 0 agree within .+, 10 are missing and 0 are new"),
        # All rows lie at the limit, on both sides.
        (
            saturated,
            wider,
            r"of 10 boxes . agree, and [2-9] of the others are none that the trained",
        ),
    ],
)
def test_a_wrong_export_ends_with_an_error_and_leaves_nothing(
    trained, exported, complaint, change, export_tool, small_config, tmp_path, capsys
):
    change(trained, exported)
    few = "-o", "BBoxPostProcess.nms.keep_top_k=10"  # so that all places are taken
    assert export_tool("-c", small_config, *few, "--output_dir", tmp_path / "out") == 1
    (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert said.startswith(
        "error: the exported model (plain kernels) differs from the trained one on built-in image"
    )
    assert re.search(complaint, said), said
    assert os.listdir(tmp_path / "out") == []


class LastOfABatchOnly:
    """An export that gives the detections of a batch's last image for all of them."""

    name = "an engine"

    def __init__(self, folder):
        self.run = ExportedModel(folder)

    def __call__(self, inputs):
        count = len(inputs["image"])
        bbox, bbox_num = self.run({key: value[-1:] for key, value in inputs.items()})
        return [np.concatenate([bbox] * count), np.concatenate([bbox_num] * count)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_is_tried_whatever_the_number_of_images(count, exported, small_config, monkeypatch):
    """This export is right for single images."""
    image = built_in_image()
    images = {"a.jpg": image, "b.jpg": image[::-1].copy()}
    images = dict(list(images.items())[:count])
    model, _ = load_trained_model(load_config(small_config))
    settings = yaml.safe_load((exported / "infer_cfg.yml").read_text(encoding="utf-8"))
    trials = [Trial(lambda: LastOfABatchOnly(exported))]
    monkeypatch.setattr(export_check, "trials", lambda folder: trials)
    with pytest.raises(ExportMismatch, match="differs from the trained one on a.jpg in a batch: "):
        verify_export(model, exported, settings, images)
    verify_export(model, exported, {**settings, "batch_size": 1}, images)


@pytest.fixture(scope="module")
def other_network(small_config, tmp_path_factory):
    """Files of a wider network under the same names."""
    cfg = load_config(small_config, ["width_mult=0.5"])
    model, options = create(cfg.architecture, cfg), export_options(cfg)
    folder = tmp_path_factory.mktemp("other")
    export.save_inference_model(export.exported_network(model, options), folder, {}, options)
    return folder


@pytest.mark.parametrize("other", ["weights", "network"])
def test_files_of_two_exports(
    other, other_network, small_config, tmp_path, monkeypatch, export_tool, capsys
):
    """A graph with the parameters of another one: Paddle says no more than that it cannot run it,
    and nothing at all where they have the same shapes."""
    save = export.save_inference_model

    def save_and_mix(network, folder, infer_cfg, options):
        save(network, folder, infer_cfg, options)
        if other == "network":
            shutil.copy(other_network / "model.pdiparams", folder)
        else:
            silent(network.yolo_head)
            save(network, tmp_path / "another", infer_cfg, options)
            shutil.copy(tmp_path / "another" / "model.pdiparams", folder)

    (tmp_path / "another").mkdir()
    monkeypatch.setattr(export, "save_inference_model", save_and_mix)
    code = export_tool("-c", small_config, "--output_dir", tmp_path / "out")
    (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    if other == "network":
        assert code == 2 and re.match(r"error: Paddle cannot run model\.\w+: ", said)
    else:
        assert code == 1 and "differs from the trained one on built-in image" in said
    assert said.endswith("Nothing was written.")
    assert os.listdir(tmp_path / "out") == []
