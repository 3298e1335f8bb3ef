"""A wrong export is found, whatever is wrong with it and whichever images it is compared on."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.export.check import (
    ExportMismatch,
    built_in_image,
    check_outputs,
    load_images,
    verify_export,
)
from ppdet_lite.export.formats.format import Trial
from ppdet_lite.export.formats.paddle_format import PaddleFormat
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.runtime.engines.engine import EngineError
from tests.export.conftest import run_network


@pytest.fixture
def settings(exported):
    return InferConfig.read(exported / "infer_cfg.yml")


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


FEW = "BBoxPostProcess.nms.keep_top_k=10"  # so that all places are taken


# ------------------------------------------------------------------------------- wrong exports
@pytest.mark.parametrize(
    ("of_trained", "of_exported", "complaint"),
    [
        (calm, saturated, r"of 10 boxes 0 agree within .+, 10 are missing and 10 are new"),
        (calm, silent, r"of 10 boxes 0 agree within .+, 10 are missing and 0 are new"),
        # All rows lie at the limit, on both sides.
        (saturated, wider, r"of 10 boxes . agree, and [2-9] of the others are none that the"),
    ],
)
def test_a_wrong_export_is_refused_and_leaves_nothing(
    of_trained, of_exported, complaint, changed_config, quick_export, network_engine, tmp_path
):
    exported = {}

    def write(network, folder):
        of_exported(network.yolo_head)
        exported["engine"] = network_engine(network)

    with pytest.raises(ExportMismatch, match=complaint) as caught:
        quick_export(
            write,
            lambda inputs: exported["engine"].run(inputs),
            tmp_path / "out",
            changed_config(of_trained, FEW),
        )
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(
        "the exported model (a quick engine) differs from the trained one on built-in image: "
    )
    assert os.listdir(tmp_path / "out") == []


class WithOtherParameters(PaddleFormat):
    """A graph with the parameters of other weights, of which Paddle says nothing."""

    name = "other-weights"

    def write(self, network, folder, options):
        super().write(network, folder, options)
        silent(network.yolo_head)
        (folder / "other").mkdir()
        super().write(network, folder / "other", options)
        shutil.move(folder / "other" / "model.pdiparams", folder / "model.pdiparams")
        shutil.rmtree(folder / "other")


def test_a_graph_with_the_parameters_of_other_weights(small_config, tmp_path):
    with pytest.raises(ExportMismatch, match=r"\(plain kernels\) differs .* on built-in image"):
        export_model(load_config(small_config), tmp_path, ExportOptions(["other-weights"]))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_is_tried_whatever_the_number_of_images(count, trained, settings):
    """This export gives the detections of a batch's last image for all of them."""
    image = built_in_image()
    images = dict(list({"a.jpg": image, "b.jpg": image[::-1].copy()}.items())[:count])

    def run(inputs):
        last = {key: value[-1:] for key, value in inputs.items()}
        bbox, bbox_num = run_network(trained, "nms", last)
        return [np.concatenate([part] * len(inputs["image"])) for part in (bbox, bbox_num)]

    trials = [Trial("an engine", lambda: SimpleNamespace(run=run))]
    with pytest.raises(ExportMismatch, match="differs from the trained one on a.jpg in a batch: "):
        verify_export(trained, trials, settings, images)
    verify_export(trained, trials, replace(settings, batch=1), images)


def test_an_export_must_give_outputs_for_every_image(trained, settings):
    def run(inputs):
        return run_network(trained, "nms", {key: value[:1] for key, value in inputs.items()})

    trials = [Trial("an engine", lambda: SimpleNamespace(run=run))]
    with pytest.raises(ExportMismatch, match="outputs of 1 images for 2"):
        verify_export(trained, trials, settings, load_images())


def test_another_size_is_tried_where_it_is_free(trained, settings):
    def run(inputs):
        bbox, bbox_num = run_network(trained, "nms", inputs)
        return [bbox if inputs["image"].shape[2:] == (96, 128) else bbox + 1, bbox_num]

    trials = [Trial("an engine", lambda: SimpleNamespace(run=run))]
    images = {"a.jpg": built_in_image()}
    verify_export(trained, trials, settings, images)
    with pytest.raises(ExportMismatch, match="on a.jpg in another size: "):
        verify_export(
            trained, trials, replace(settings, input_hw=None, use_dynamic_shape=True), images
        )


def test_a_fixed_batch_is_filled_up(trained, settings):
    counts = []

    def run(inputs):
        counts.append(len(inputs["image"]))
        return run_network(trained, "nms", inputs)

    trials = [Trial("an engine", lambda: SimpleNamespace(run=run))]
    images = {name: built_in_image() for name in "abc"}
    verify_export(trained, trials, replace(settings, batch=2), images)
    assert counts == [2, 2]


# --------------------------------------------------------------- models that cannot be compared
def diverged(head):
    """Raw outputs that are no numbers, from weights that are."""
    weight = head.yolo_output[1].weight
    weight.set_value(paddle.full_like(weight, 3e38))


def test_a_network_that_gives_no_numbers(changed_config, quick_export, tmp_path):
    """NMS would leave what is no number out, on both sides."""
    with pytest.raises(UserError, match="100 % of raw output 1 .* on built-in image are NaN or"):
        quick_export(parent=tmp_path / "out", cfg=changed_config(diverged))
    assert not (tmp_path / "out").exists()


def test_one_image_of_many_may_show_that_a_network_gives_no_numbers(trained, settings):
    """Of two images the second alone."""

    class Overflows(paddle.nn.Layer):
        def raw_outputs(self, image):
            return [paddle.exp(image * 1000 - 500)]

    images = {"dark.jpg": np.zeros((96, 128, 3), np.uint8), "light.jpg": built_in_image()}
    with pytest.raises(UserError, match="raw output 0 .* on light.jpg are NaN or"):
        check_outputs(Overflows(), settings, images)
    check_outputs(trained, settings, images)


def other_candidates(trained, inputs):
    """Detections that the trained model could give as well: its last candidates with score 1."""
    boxes, scores = run_network(trained, "decoded", inputs)
    rows = []
    for corners, of_class in zip(boxes, scores[:, 0]):
        chosen = np.flatnonzero(of_class > 0.9999)[-10:]
        one = np.ones((len(chosen), 1))
        rows.append(np.concatenate([0 * one, of_class[chosen, None], corners[chosen]], axis=1))
    return [np.concatenate(rows).astype(np.float32), np.array([len(found) for found in rows])]


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (saturated, "hardly a box that stands out"),
        (silent, "the model finds nothing on the images"),
        (calm, ""),
    ],
)
def test_a_model_of_which_nothing_stands_out(
    change, warning, changed_config, quick_export, network_engine, capsys
):
    """All scores within the tolerance of the lowest that counts, as in an untrained YOLOX."""
    exported = {}

    def run(inputs):
        if change is saturated:
            return other_candidates(exported["network"], inputs)
        return run_network(exported["network"], "nms", inputs)

    quick_export(
        lambda network, folder: exported.update(network=network),
        run,
        cfg=changed_config(change, FEW),
    )
    said = capsys.readouterr().err
    assert "export verified (a quick engine): 2 images, " in said
    assert ("equality of boxes was not shown" in said) == bool(warning) and warning in said


# ----------------------------------------------------------------------------- engines that fail
def failing(loading):
    """How an engine opens that raises an error, when it loads the files or when it runs them."""

    def fail(*arguments):
        raise EngineError(Path("somewhere/model.x"), "an engine has no kernel for this")

    return fail if loading else lambda: SimpleNamespace(run=fail)


@pytest.mark.parametrize("loading", [True, False])
def test_an_engine_with_limits_of_its_own_is_reported_only(
    loading, trained, settings, network_engine, capsys
):
    good = Trial("a good engine", lambda: network_engine(trained))
    trials = [Trial("an engine", failing(loading), may_fail=True), good]
    verify_export(trained, trials, settings, load_images())
    said = capsys.readouterr().err
    assert "on this machine model.x: an engine has no kernel for this\n" in said
    assert "export verified (a good engine)" in said and "verified (an engine)" not in said
    trials = [Trial("an engine", failing(loading)), good]
    with pytest.raises(UserError, match=r"^model\.x: .*no kernel for this\. Nothing was written"):
        verify_export(trained, trials, settings, load_images())


def test_an_export_that_no_engine_has_run_is_said_to_be_unchecked(quick_export, capsys):
    quick_export()
    assert "no engine has run the export" in capsys.readouterr().err


class CutShort(PaddleFormat):
    """What a disk that gets full leaves, without a word from Paddle."""

    name = "cut-short"

    def write(self, network, folder, options):
        super().write(network, folder, options)
        path = folder / "model.pdiparams"
        path.write_bytes(path.read_bytes()[:50_000])


def test_parameters_that_were_cut_short(small_config, tmp_path):
    with pytest.raises(UserError, match=r"Paddle cannot run .+\. Nothing was written"):
        export_model(load_config(small_config), tmp_path, ExportOptions(["cut-short"]))
    assert os.listdir(tmp_path) == []


def test_parameters_of_another_network(exported, trained, small_config, settings, tmp_path):
    """Paddle says no more than that it cannot run it."""
    cfg = load_config(small_config, ["width_mult=0.5"])
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    other = exported_network(create(cfg.architecture, cfg), ExportOptions())
    PaddleFormat().write(other, tmp_path, ExportOptions(input_size=(96, 128), stage="raw"))
    shutil.copy(tmp_path / "model.pdiparams", folder)
    settings.with_files(folder).write(folder / "infer_cfg.yml")
    with pytest.raises(UserError, match=r"Paddle cannot run .+\. Nothing was written"):
        verify_export(trained, PaddleFormat().trials(folder), settings, load_images())


# -------------------------------------------------------------------------------------- images
def test_images_and_folders_to_compare_on(tmp_path, tiny_coco):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in (1, 2):
        shutil.copy(tiny_coco / "images" / f"val_{index}.jpg", folder)
    images = load_images([tiny_coco / "images" / "val_0.jpg", folder])
    assert [Path(name).name for name in images] == ["val_0.jpg", "val_1.jpg", "val_2.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty.*no images"):
        load_images([tmp_path / "empty"])
