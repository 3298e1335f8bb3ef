"""Options of ppdet_infer about results, and its messages, beside those of deploy/python."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from ppdet_lite.cli.deploy import build_parser, main
from ppdet_lite.data.pixels.image_ops import decode_image

ODD_NAMES = {0: ' ..a/b: "c"?. ', 45: "...", 60: "table à manger"}
"""Names of classes that cannot be names of folders as they are, by class index."""


@pytest.fixture(scope="module")
def odd(nano, tmp_path_factory):
    """An export with ODD_NAMES."""
    folder = tmp_path_factory.mktemp("odd") / "model"
    shutil.copytree(nano["fixed"], folder)
    config = yaml.safe_load((folder / "infer_cfg.yml").read_text())
    for number, name in ODD_NAMES.items():
        config["label_list"][number] = name
    (folder / "infer_cfg.yml").write_text(yaml.safe_dump(config, allow_unicode=True))
    return folder


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    """Photos as PNG, whose pixels are the same in every OpenCV, one in a folder of its own."""
    path = tmp_path_factory.mktemp("photos")
    (path / "sub").mkdir()
    for number in (0, 1, 4, 6, 13, 21):
        photo, place = photos[number], path / "sub" if number == 0 else path
        cv2.imwrite(str(place / f"{photo.stem}.png"), decode_image(photo)[:, :, ::-1])
    return path


@pytest.fixture
def both(infer, folder, tmp_path):
    """The two folders of results, of C++ and of Python, for the same options."""

    def run(model, *options):
        found = []
        for kind in ("cpp", "python"):
            output = tmp_path / kind
            shutil.rmtree(output, ignore_errors=True)
            given = ["--model_dir", model, "--image_dir", folder, "--output_dir", output, *options]
            if kind == "cpp":
                infer(*given)
            else:
                main([*map(str, given), "--engine", "openvino"])
            found.append(output)
        return found

    return run


def files_of(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_classes_and_crops_are_those_of_python(both, odd):
    options = ["--classes", ODD_NAMES[0], "45", ODD_NAMES[60], "--threshold", "0.15"]
    options += ["--crop", "--save_results", "--save_images", "false"]
    ours, theirs = both(odd, *options)
    assert files_of(ours) == files_of(theirs)
    crops = [name for name in files_of(ours) if name.parts[0] == "crops"]
    assert {name.parts[1] for name in crops} == {"a_b_ _c__", "class", ODD_NAMES[60]}
    assert len(crops) > 15 and any(name.parts[2] == "sub" for name in crops)
    for name in files_of(ours):
        if name.suffix == ".json":
            mine, other = (json.loads((part / name).read_text("utf-8")) for part in (ours, theirs))
            assert mine == other
        else:
            mine, other = (decode_image(part / name).astype(int) for part in (ours, theirs))
            assert mine.shape == other.shape and np.abs(mine - other).mean() < 1
    ids = {found["category_id"] for found in json.loads((ours / "bbox.json").read_text())}
    assert ids == {1, 51, 67}  # COCO's of classes 0, 45, 60


def test_boxes_alone_are_drawn_to_the_pixel(both, nano, folder):
    ours, theirs = both(nano["fixed"], "--hide_labels", "--threshold", "0.2")
    changed = 0
    for name in (name for name in files_of(ours) if name.suffix == ".png"):
        mine = decode_image(ours / name)
        np.testing.assert_array_equal(mine, decode_image(theirs / name))
        changed += (mine != decode_image(folder / name)).any()
    assert changed > 3


def test_numbers_stand_in_a_list_at_the_right(both, nano, folder):
    """The letters of Python's OpenCV are others, so that only the image's part is compared."""
    ours, theirs = both(nano["fixed"], "--numbers", "--hide_scores", "--threshold", "0.2")
    for name in (name for name in files_of(ours) if name.suffix == ".png"):
        mine, other, image = (decode_image(part / name) for part in (ours, theirs, folder))
        height, width = image.shape[:2]
        found = json.loads((ours / name).with_suffix(".json").read_text())["detections"]
        assert mine.shape[0] == height and (mine.shape[1] > width) == bool(found)
        assert (other.shape[1] > width) == bool(found)
        assert np.abs(mine[:, :width].astype(int) - other[:, :width]).mean() < 2
        if found:
            rows = (mine[:, width:].min(axis=(1, 2)) < 255).sum()
            assert rows > 8 * min(len(found), 3)  # a line for each, on white


@pytest.mark.parametrize(
    "options, problem",
    [
        (["--classes", "person", "drgon"], "--classes: found drgon, allowed: person, bicycle, "),
        (["--classes", "80"], "--classes: found 80, allowed: person"),
        (["--classes", "zebr"], "did you mean 'zebra'?"),
        (
            ["--provider", "cuda"],
            "--provider is an option of engines in deploy/python only; engine",
        ),
        (["--cuda_graph"], "engines of this build: openvino"),
        (["--tf32", "true"], "--tf32 is an option of engines in deploy/python only"),
        (["--engine", "onnxruntime"], "found onnxruntime, allowed in this build: openvino"),
        (["--engine", "paddle", "--use_openvino"], "--use_openvino and --engine paddle: give one"),
        (["--precision", "int4"], "--precision: found int4, allowed: fp32, fp16, int8"),
        (["--enable_mkldnn_bfloat16", "--no-mkldnn"], "needs --engine paddle, --enable_mkldnn"),
        (["--output_dir", "/proc/x"], "cannot be written (No such file or directory)"),
        (["--rtsp", "rtsp://x"], "--image and --rtsp: give one of them"),
        (["--clases", "person"], "unrecognized arguments: --clases; did you mean '--classes'?"),
    ],
)
def test_options_that_cannot_be_used_are_named(infer, nano, photos, options, problem):
    done = infer("--model_dir", nano["fixed"], "--image", photos[0], *options, code=2)
    assert problem in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_options_of_images_are_refused_for_videos(infer, nano):
    for option in ("--crop", "--numbers"):
        done = infer("--model_dir", nano["fixed"], "--video_file", "x.mp4", option, code=2)
        assert done.stderr == f"error: {option} needs --image or --image_dir\n"


def test_a_folder_without_permission_is_one_line(infer, nano, photos, tmp_path):
    """An error of the file system that nobody foresaw; a loop of links is one for root as well."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    done = infer("--model_dir", tmp_path / "loop", "--image", photos[0], code=2)
    assert str(tmp_path / "loop") in done.stderr and done.stderr.count("\n") == 1


def test_names_that_are_not_utf8_stand_in_json_as_in_python(infer, nano, photos, tmp_path):
    name = b"k\xfche.jpg".decode("utf-8", "surrogateescape")
    shutil.copy(photos[0], tmp_path / name)
    for kind in ("cpp", "python"):
        options = ["--image", str(tmp_path / name), "--output_dir", str(tmp_path / kind)]
        options += ["--model_dir", str(nano["fixed"]), "--save_images", "false"]
        if kind == "cpp":
            infer(*options)
        else:  # xdist cannot hand on what would be captured here
            program = [sys.executable, "-m", "ppdet_lite", "deploy", "--engine", "openvino"]
            subprocess.run([*program, *options], check=True, capture_output=True)
    ours, theirs = ((tmp_path / kind / name).with_suffix(".json") for kind in ("cpp", "python"))
    assert json.loads(ours.read_text())["image"] == json.loads(theirs.read_text())["image"]


def test_the_help_names_all_options_of_python(infer):
    text = infer("--help").stdout
    for action in build_parser()._actions:
        assert all(option in text for option in action.option_strings), action.option_strings
    for part in ("input, one of:", "results:", "drawing:", "device and engine:", "examples:"):
        assert f"\n{part}\n" in text
    assert "written by ppdet export" in text and "tools/" not in text
    assert max(map(len, text.splitlines())) <= 100
