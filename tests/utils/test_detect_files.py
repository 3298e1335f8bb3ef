"""The run over images: what is written for which, also when it ends early."""

import json

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, DataError, ImageError
from ppdet_lite.utils.detect_files import (
    ResultOptions,
    detect_and_save,
    output_stems,
    result_suffix,
)
from ppdet_lite.utils.drawing import DrawStyle, draw_detections
from ppdet_lite.utils.files import write_image

BOX = np.array([[1, 0.9, 10, 10, 40, 30]])


def decode(path):
    if path.stem.startswith("bad"):
        raise ImageError(f"{path}: damaged")
    return np.full((48, 64, 3), 90, np.uint8)


def run(paths, out, detect=lambda images: [BOX] * len(images), **options):
    options = {"save_results": True, "threshold": 0.5, **options}
    return detect_and_save(detect, decode, paths, output_dir=out, class_names=["a", "b"], **options)


def records_of(folder):
    return json.loads((folder / "bbox.json").read_text())


def test_image_and_json_are_written_side_by_side(tmp_path):
    bbox = np.array([[1, 0.87, 192, 240, 384, 432], [0, 0.3, 0, 0, 9, 9]])
    image = np.full((480, 640, 3), 90, np.uint8)
    root, path = tmp_path / "in", tmp_path / "in" / "sub" / "x.png"
    options = {"output_dir": tmp_path, "class_names": ["a", "b"], "threshold": 0.5, "root": root}
    found = detect_and_save(lambda images: [bbox], lambda path: image, [path], **options)
    assert found == {str(path): bbox}
    assert sorted(p.name for p in (tmp_path / "sub").iterdir()) == ["x.json", "x.png"]
    on_disk = cv2.imread(str(tmp_path / "sub" / "x.png"))[:, :, ::-1]
    assert (on_disk == draw_detections(image, bbox, ["a", "b"])).all()
    assert json.loads((tmp_path / "sub" / "x.json").read_text()) == {
        "image": str(path),
        "width": 640,
        "height": 480,
        "threshold": 0.5,
        "detections": [
            {"class_id": 1, "class_name": "b", "score": 0.87, "box": [192.0, 240.0, 384.0, 432.0]}
        ],
    }


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


def test_the_unreadable_images_are_named(tmp_path):
    bad = tmp_path / "bad.jpg"
    with pytest.raises(ImageError, match=f"^{bad}: damaged$"):
        run([bad], tmp_path / "out")
    with pytest.raises(ConfigError, match="`threshold`: found 2"):
        run([bad], tmp_path / "out", threshold=2)


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
    names = [
        "noext",
        "a.jfif",
        "a.jpg",
        "b.PNG",
        "c.json",
        "noext2/noext",
        "a.jpg2",
        "g.pgm",
        "h.PBM",
    ]
    run([tmp_path / "in" / name for name in names], tmp_path / "out")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    images = ["noext.jpg", "a.jpg", "a_jpg.jpg", "b.PNG", "c.jpg", "noext_2.jpg", "a_jpg2.jpg"]
    images += ["g.jpg", "h.jpg"]
    lines = [f"{name[:-4]}.json" for name in images]
    assert written == sorted([*images, *lines, "bbox.json"])


@pytest.mark.parametrize("ending", [".jpg", ".JPEG", ".png", ".bmp", ".tif", ".tiff", ".webp"])
def test_endings_that_stay(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    assert result_suffix(path) == ending
    write_image(path, decode(path))
    assert path.stat().st_size > 0


def test_results_never_clash_and_never_cover_their_source(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    names = ["x.jpg", "x.png", "sub/x.jpg", "X.jpg", "x_png.jpg"]
    stems = output_stems([root / name for name in names], root, out)
    assert stems == [out / "x", out / "x_png", out / "sub" / "x", out / "X_jpg", out / "x_png_jpg"]
    names = ["bbox.jpg", "sub/bbox.jpg"]  # bbox.json holds the detections of all images
    stems = output_stems([root / name for name in names], root, out)
    assert stems == [out / "bbox_jpg", out / "sub" / "bbox"]
    apart = output_stems(
        [root / "a" / "x.jpg", root / "b" / "x.jpg", root / "c" / "x.jpg"], None, out
    )
    assert apart == [out / "x", out / "x_jpg", out / "x_jpg_2"]
    with pytest.raises(DataError, match=r"x\.jpg: its result would be written into the image's"):
        output_stems([root / "x.jpg"], root, root)


TWO = np.array([[1, 0.9, 10, 10, 40, 30], [0, 0.8, 2, 3, 12.5, 20.2], [0, 0.3, 0, 0, 9, 9]])


def test_only_chosen_classes_are_drawn_and_written(tmp_path):
    path = tmp_path / "in" / "x.png"
    options = ResultOptions(DrawStyle(labels=False), ("a",))
    found = run([path], tmp_path, lambda images: [TWO], options=options)
    assert found[str(path)][:, 0].tolist() == [0, 0]
    records = records_of(tmp_path)
    assert [record["score"] for record in records] == [0.8, 0.3]
    (written,) = json.loads((tmp_path / "x.json").read_text())["detections"]
    assert written["class_name"] == "a"
    drawn = cv2.imread(str(tmp_path / "x.png"))[:, :, ::-1]
    style = DrawStyle(labels=False)
    expected = draw_detections(decode(path), TWO[1:], ["a", "b"], min_side=320, style=style)
    assert (drawn == expected).all()
    assert not (tmp_path / "crops").exists()


def test_crops(tmp_path):
    paths = [tmp_path / "in" / name for name in ("sub/x.png", "sub_x.png", "y.png")]
    options = {"options": ResultOptions(crop=True), "root": tmp_path / "in"}
    run(paths, tmp_path / "out", lambda images: [TWO] * len(images), **options)
    folder = tmp_path / "out" / "crops"
    crops = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    ones = {"b/sub/x_1.jpg", "b/sub_x_1.jpg", "b/y_1.jpg"}
    assert crops == ones | {"a" + one[1:].replace("_1.", "_2.") for one in ones}
    assert cv2.imread(str(tmp_path / "out/crops/a/y_2.jpg")).shape == (18, 11, 3)


@pytest.mark.parametrize("name", ["../c", "C:\\d", "con.", "\0", 300 * "n", 99 * "n" + "ü"])
def test_crops_stay_in_their_folder(tmp_path, name):
    detect_and_save(
        *(lambda images: [TWO[:1]], decode, [tmp_path / "in" / "x.png"]),
        output_dir=tmp_path / "out",
        class_names=["a", name],
        threshold=0.5,
        options=ResultOptions(crop=True),
    )
    (crop,) = (tmp_path / "out" / "crops").rglob("*.jpg")
    assert crop.parent.parent == tmp_path / "out" / "crops"


def test_unknown_classes_are_refused_before_the_work(tmp_path):
    with pytest.raises(ConfigError, match="`classes`: found c, allowed: a, b"):
        run([tmp_path / "x.png"], tmp_path / "out", options=ResultOptions(classes=("c",)))
    with pytest.raises(ConfigError, match="found 2,"):
        run([tmp_path / "x.png"], tmp_path / "out", options=ResultOptions(classes=("2",)))
