"""Evaluation and inference in tiles and on copies, by the options of the commands."""

import json

import pytest

from ppdet_lite.commands import eval as eval_command
from ppdet_lite.commands import infer as infer_command
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.evaluate.run import run_evaluation
from ppdet_lite.evaluate.views.options import view_settings
from ppdet_lite.evaluate.views.view import Copies, Tiles


def settings(config, *options):
    return view_settings(eval_command.build_parser().parse_args(["-c", str(config), *options]))


def test_options(small_config):
    assert settings(small_config) is None
    found = settings(small_config, "--slice_infer", "--slice_size", "512", "768", "--slice_only")
    assert found.views == Tiles((512, 768), (0.25, 0.25), with_whole=False)
    assert found.merge.threshold == 0.6 and not found.merge.vote
    found = settings(small_config, "--tta", "--tta_scales", "1", "1.5", "--match_metric", "ios")
    assert found.views == Copies((1.0, 1.5)) and found.merge.metric == "ios" and found.merge.vote
    with pytest.raises(ConfigError, match="`slice_infer` and `tta`"):
        settings(small_config, "--slice_infer", "--tta")
    with pytest.raises(ConfigError, match="slice_size"):
        settings(small_config, "--slice_infer", "--slice_size", "1", "2", "3")


def test_small_images_give_the_numbers_of_plain_evaluation(small_config, tmp_path):
    cfg = load_config(small_config)
    plain = run_evaluation(cfg, output_eval=str(tmp_path / "plain"))
    views = settings(small_config, "--slice_infer", "--match_threshold", "1")
    tiled = run_evaluation(cfg, output_eval=str(tmp_path / "tiled"), views=views)
    assert tiled == pytest.approx(plain, abs=1e-6)
    found = [json.loads((tmp_path / name / "bbox.json").read_text()) for name in ("plain", "tiled")]
    assert len(found[0]) == len(found[1]) > 0


def test_inference_on_copies(small_config, tiny_coco, tmp_path):
    image = tiny_coco / "images" / "val_0.jpg"
    arguments = ["-c", str(small_config), "--infer_img", str(image), "--draw_threshold", "0.01"]
    for name, options in {"plain": [], "tta": ["--tta", "--tta_scales", "1"]}.items():
        options = [*arguments, *options, "--output_dir", str(tmp_path / name)]
        infer_command.main(infer_command.build_parser().parse_args(options))
    found = [
        json.loads((tmp_path / name / "val_0.json").read_text())["detections"]
        for name in ("plain", "tta")
    ]
    assert found[0] != found[1] and found[1]
    best = max(row["score"] for row in found[0])
    assert max(row["score"] for row in found[1]) >= best - 1e-6  # the copies only add
