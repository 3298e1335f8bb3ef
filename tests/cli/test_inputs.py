"""The commands that detect call images, folders and scores by the same names."""

import pytest

from ppdet_lite.cli import deploy
from ppdet_lite.commands import asff_weights, infer
from ppdet_lite.core.errors import ConfigError

PARSERS = {
    "infer": (infer.build_parser, ["-c", "x"], "infer_img", "infer_dir"),
    "asff-weights": (asff_weights.build_parser, ["-c", "x"], "infer_img", "infer_dir"),
    "deploy": (deploy.build_parser, ["--model_dir", "x"], "image_file", "image_dir"),
}


@pytest.mark.parametrize("command", PARSERS)
def test_every_name_is_understood(command):
    build_parser, required, image, folder = PARSERS[command]
    for option in ("--image", "--image_file", "--infer_img"):
        args = build_parser().parse_args([*required, option, "a.jpg", "b.jpg"])
        assert getattr(args, image) == ["a.jpg", "b.jpg"] and getattr(args, folder) is None
    for option in ("--image_dir", "--infer_dir"):
        for score in ("--threshold", "--draw_threshold"):
            args = build_parser().parse_args([*required, option, "photos", score, "0.25"])
            assert getattr(args, folder) == "photos" and args.threshold == 0.25


@pytest.mark.parametrize("command", PARSERS)
def test_one_kind_of_input(command, capsys):
    build_parser, required, *_ = PARSERS[command]
    with pytest.raises(SystemExit):
        build_parser().parse_args([*required, "--image", "a.jpg", "--infer_dir", "photos"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["crop", "numbers"])
def test_options_of_images_are_refused_for_videos(option):
    with pytest.raises(ConfigError, match=f"`{option}` needs `image_file` or `image_dir`"):
        deploy.main(["--model_dir", "x", "--video_file", "x.mp4", f"--{option}"])
