"""The run over images: what is written for which, also when it ends early."""

import json

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.utils.detect_files import detect_and_save, result_suffix
from ppdet_lite.utils.files import write_image

BOX = np.array([[1, 0.9, 10, 10, 40, 30]])


def decode(path):
    if path.stem.startswith("bad"):
        raise ImageError(f"{path}: damaged")
    return np.full((48, 64, 3), 90, np.uint8)


def run(paths, out, detect=lambda images: [BOX] * len(images), **options):
    return detect_and_save(
        detect, decode, paths, None, out, ["a", "b"], 0.5, save_results=True, **options
    )


def records_of(folder):
    return json.loads((folder / "bbox.json").read_text())


def test_ids_are_places_in_the_list_and_categories_of_the_data(tmp_path):
    """An unreadable image keeps its number, and one that is given twice has two."""
    names = ["p.jpg", "bad.jpg", "q.jpg", "p.jpg", "bad2.jpg"]
    images = [tmp_path / "in" / name for name in names]
    with pytest.raises(ImageError, match="2 of 5 images cannot be read"):
        run(images, tmp_path / "out", batch_size=2, category_ids=[7, 90])
    found = [
        (r["image_id"], r["file_name"], r["category_id"]) for r in records_of(tmp_path / "out")
    ]
    assert found == [(number, str(images[number]), 90) for number in (0, 2, 3)]
    run(images[:1], tmp_path / "plain")
    assert [record["category_id"] for record in records_of(tmp_path / "plain")] == [1]


def test_a_class_without_category_is_said(tmp_path):
    with pytest.raises(ConfigError) as caught:
        run([tmp_path / "in" / "p.jpg"], tmp_path / "out", category_ids=[7])
    assert str(caught.value) == "category_ids: 1 entries, but the network found class 1"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConfigError("wrong")])
def test_what_was_done_before_the_end_is_in_bbox_json(tmp_path, error):
    calls = []

    def detect(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise error
        return [BOX] * len(images)

    paths = [tmp_path / "in" / f"{number}.jpg" for number in range(7)]
    with pytest.raises(type(error)):
        run(paths, tmp_path / "out", detect, batch_size=2)
    assert calls == [2, 2, 2]
    assert [record["image_id"] for record in records_of(tmp_path / "out")] == [0, 1, 2, 3]


def test_nothing_done_leaves_nothing(tmp_path):
    def detect(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "in" / "p.jpg"], tmp_path / "out", detect)
    assert not (tmp_path / "out").exists()


def test_nothing_found_is_an_empty_list(tmp_path):
    run([tmp_path / "in" / "p.jpg"], tmp_path / "out", lambda images: [np.zeros((0, 6))])
    assert records_of(tmp_path / "out") == []


def test_endings_that_opencv_cannot_write(tmp_path):
    names = ["noext", "a.jfif", "a.jpg", "b.PNG", "c.json", "noext2/noext", "a.jpg2"]
    run([tmp_path / "in" / name for name in names], tmp_path / "out")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    images = ["noext.jpg", "a.jpg", "a_jpg.jpg", "b.PNG", "c.jpg", "noext_2.jpg", "a_jpg2.jpg"]
    lines = [f"{name[:-4]}.json" for name in images]
    assert written == sorted([*images, *lines, "bbox.json"])


@pytest.mark.parametrize("ending", [".jpg", ".JPEG", ".png", ".bmp", ".tif", ".tiff", ".webp"])
def test_endings_that_stay(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    assert result_suffix(path) == ending
    write_image(path, decode(path))
    assert path.stat().st_size > 0
