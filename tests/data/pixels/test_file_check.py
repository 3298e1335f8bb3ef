"""Damaged image files are told from whole ones, mostly without decoding them."""

import cv2
import numpy as np
import pytest

from ppdet_lite.data.pixels import file_check
from ppdet_lite.data.pixels.file_check import files_to_check, image_problem, unreadable_images


@pytest.fixture(scope="module")
def contents():
    """Ending -> content of an image file of 64 x 48 pixels."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    endings = (".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm")
    return {ending: cv2.imencode(ending, image)[1].tobytes() for ending in endings}


@pytest.mark.parametrize("check", ["headers", "contents"])
@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_whole_and_cut_files(tmp_path, contents, ending, check):
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    whole.write_bytes(contents[ending])
    cut.write_bytes(contents[ending][:200])
    assert image_problem(str(whole), check) == ""
    if ending not in (".ppm", ".bmp"):  # OpenCV fills what is missing
        assert str(cut) in image_problem(str(cut), check)
    assert image_problem(str(cut), "none") == ""


@pytest.mark.parametrize("content", [b"", b"\0\5\26\7\0\2\0\0Mac OS X", b"<html>404</html>"])
def test_files_that_are_no_images(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert image_problem(str(path)).startswith(f"{path}: ")


def test_whole_files_are_not_decoded(tmp_path, contents, monkeypatch):
    monkeypatch.setattr(file_check, "decode_image", lambda path: pytest.fail(path))
    for ending in (".jpg", ".png", ".webp"):
        (tmp_path / f"a{ending}").write_bytes(contents[ending])
        assert image_problem(str(tmp_path / f"a{ending}")) == ""


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path, contents):
    (tmp_path / "a.jpg").write_bytes(contents[".jpg"] + b"\0" * 10_000)
    assert image_problem(str(tmp_path / "a.jpg")) == ""


def test_each_file_is_named_once(tmp_path):
    missing, folder = str(tmp_path / "a.jpg"), str(tmp_path)
    found = unreadable_images([missing, folder, missing])
    assert list(found) == [missing, folder]
    assert "No such file" in found[missing] and "directory" in found[folder]
    assert list(unreadable_images([missing, folder], "none")) == [missing, folder]


def test_of_a_large_data_set_some_files_are_checked():
    paths = [f"/nowhere/{number}.jpg" for number in range(10_000)]
    assert files_to_check([*paths, *paths], "auto") == paths
    many = [f"/nowhere/{number}.jpg" for number in range(118_287)]
    some = files_to_check(many, "auto")
    assert len(some) == len(set(some)) == 1000 and some[0] == many[0] and some[-1] in many[-119:]
    assert files_to_check(many, "headers") == many
    assert list(unreadable_images(many, "auto")) == some
