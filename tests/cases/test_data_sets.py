"""Data sets of public bug reports: every one loads as it is meant, or the reason is told."""

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import decode_image
from tests.cases.sets import (
    coco_content,
    open_set,
    report,
    voc_xml,
    write_coco,
    write_text,
    write_voc,
    write_yolo,
)


def coco(root, **changes):
    """The data set after functions of the entries of `images` etc. changed each of them."""
    content = coco_content(folder=root / "img")
    for key, change in changes.items():
        content[key] = [change(entry) for entry in content[key]]
    return open_set(root, write_coco(root, content))


def test_coco_boxes_as_shares_of_one_are_told(tmp_path):
    shares = {"bbox": [0.2, 0.2, 0.3, 0.4], "area": 0.12}
    with pytest.raises(DataError, match="pixels"):
        coco(tmp_path, annotations=lambda entry: {**entry, **shares})


@pytest.mark.parametrize("value, crowd", [("0", 0), ("1", 1), (False, 0), (1.0, 1), (True, 1)])
def test_coco_iscrowd_of_other_types(tmp_path, value, crowd):
    dataset = coco(tmp_path, annotations=lambda entry: {**entry, "iscrowd": value})
    assert [entry["iscrowd"] for entry in dataset.to_coco()["annotations"]] == [crowd] * 4
    assert dataset.box_count == (0 if crowd else 4)


@pytest.mark.parametrize("value", ["x", 2, [], "yes"])
def test_coco_iscrowd_that_means_nothing_is_refused(tmp_path, value):
    with pytest.raises(DataError, match="iscrowd"):
        coco(tmp_path, annotations=lambda entry: {**entry, "iscrowd": value})


def test_coco_mappings_inside_entries_may_have_any_keys(tmp_path):
    inside = {"track_id": 1, "bbox": [1, 2, 3, 4], "image_id": "cam-3", "annotations": [{"a": 1}]}
    dataset = coco(
        tmp_path,
        annotations=lambda entry: {**entry, "attributes": inside},
        images=lambda entry: {**entry, "image_id": entry["id"], "meta": inside},
        categories=lambda entry: {**entry, "keypoints": inside},
    )
    assert len(dataset) == 4 and dataset.box_count == 4
    content = {"info": {"example": {"image_id": 1}, "annotations": []}, **coco_content()}
    assert open_set(tmp_path, write_coco(tmp_path, content)).box_count == 4


def test_coco_root_category_with_the_name_of_a_class(tmp_path):
    content = coco_content(folder=tmp_path / "img")
    root, leaf = ({"id": i, "name": "raccoon", "supercategory": n} for i, n in enumerate("nr"))
    content["categories"] = [root, leaf]
    content["annotations"] = [{**entry, "category_id": 1} for entry in content["annotations"]]
    dataset = open_set(tmp_path, write_coco(tmp_path, content))
    assert (dataset.class_names, dataset.category_ids) == (["raccoon"], [1])


def test_coco_ids_as_floats(tmp_path):
    def floats(entry):
        ids = ("id", "image_id", "category_id", "width")
        return {key: float(value) if key in ids else value for key, value in entry.items()}

    dataset = coco(tmp_path, images=floats, annotations=floats, categories=floats)
    assert dataset.box_count == 4 and dataset.category_ids == [1, 2]


def test_voc_ids_with_blanks_and_in_subfolders(tmp_path):
    for ending, names in ((".jpg", ["IMG 0001", "IMG 0002"]), (".png", ["part 1/1", "part2/1"])):
        root = tmp_path / ending[1:]
        dataset = open_set(root, write_voc(root, dict.fromkeys(names, voc_xml()), ending))
        paths = [dataset.record(index)["im_file"] for index in range(2)]
        assert paths == [str(root / "JPEGImages" / f"{name}{ending}") for name in names]


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "shift_jis", "euc-kr", "utf-16"])
def test_voc_encodings(tmp_path, encoding):
    word = {"shift_jis": "猫", "euc-kr": "고양이"}.get(encoding, "猫")
    section = write_voc(tmp_path, {"1": ""})
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    write_text(tmp_path / "Annotations/1.xml", voc_xml(word, head=head), encoding)
    assert open_set(tmp_path, section).class_names == [word]


def test_voc_encoding_that_nobody_knows(tmp_path):
    head = '<?xml version="1.0" encoding="foo-bar"?>'
    with pytest.raises(DataError, match=r"1.xml.*foo-bar"):
        open_set(tmp_path, write_voc(tmp_path, {"1": voc_xml(head=head)}))


def test_voc_size_zero_is_that_of_the_image(tmp_path):
    files = {name: voc_xml(size=(0, 0) if name < "4" else (96, 64)) for name in "1234"}
    try:
        dataset = open_set(tmp_path, write_voc(tmp_path, files))
    except DataError as error:  # then all files at once
        assert all(f"{name}.xml" in str(error) for name in "123")
    else:
        np.testing.assert_array_equal(dataset.record(0)["gt_bbox"], dataset.record(3)["gt_bbox"])


@pytest.mark.parametrize("content", [b"", bytes.fromhex("0005160700020000") + bytes(200)])
def test_yolo_one_unreadable_image_of_thirty_is_left_out_by_name(tmp_path, content):
    section = write_yolo(tmp_path, {f"{i}.jpg": "0 0.5 0.5 0.3 0.3\n" for i in range(30)})
    (tmp_path / "images/bad.jpg").write_bytes(content)
    dataset = open_set(tmp_path, section)
    assert "bad.jpg" in report(dataset) and dataset.box_count == 30


def test_yolo_endings_of_jpeg(tmp_path):
    names = ("0.jpg", "1.jfif", "2.JFIF", "3.jpe", "4.PNG")
    section = write_yolo(tmp_path, dict.fromkeys(names, "0 0.5 0.5 0.3 0.3\n"))
    (tmp_path / "images/5.psd").write_bytes(b"8BPS")
    dataset = open_set(tmp_path, section)
    assert len(dataset) == 5 and ".psd" in report(dataset)


def test_yolo_names_stay_as_written(tmp_path):
    names = "nc: 3\nnames: [yes, no, 007]\n"
    section = write_yolo(tmp_path, {"0.jpg": "0 0.5 0.5 0.3 0.3\n"}, names)
    assert open_set(tmp_path, section).class_names == ["yes", "no", "007"]
    section = f"{{name: ImageFolder, dataset_dir: '{tmp_path}/images', anno_path: ../data.yaml}}"
    write_text(tmp_path / "test.yml", f"TestDataset: {section}\n")
    dataset = create("TestDataset", load_config(tmp_path / "test.yml"))
    assert dataset.class_names == ["yes", "no", "007"]


def test_yolo_repeated_lines_count_once(tmp_path):
    lines = "0 0.3 0.5 0.2 0.2\n0 0.7 0.5 0.2 0.2\n" * 2
    dataset = open_set(tmp_path, write_yolo(tmp_path, {f"{i}.jpg": lines for i in range(4)}))
    assert len(dataset.to_coco()["annotations"]) == 8
    assert "dropped 8 repeated" in report(dataset)


def test_yolo_two_classes_of_one_name(tmp_path):
    with pytest.raises(DataError, match="'cat' stands already"):
        section = write_yolo(tmp_path, {"0.jpg": "1 0.5 0.5 0.3 0.3\n"}, "names: [cat, cat]\n")
        open_set(tmp_path, section)


def test_image_formats_as_they_look(tmp_path):
    """Pillow, which is none of this package's requirements, writes what OpenCV cannot."""
    Image = pytest.importorskip("PIL.Image")
    base = np.zeros((48, 64, 3), np.uint8)
    base[:, :32], base[:, 32:], base[10:30, 20:44] = (200, 30, 30), (30, 60, 220), (240, 240, 60)
    image = Image.fromarray(base)
    exif = Image.Exif()
    exif[274] = 6
    clear = image.convert("RGBA")
    clear.putalpha(0)
    rotated = [image.rotate(90)]
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    image.save(tmp_path / "progressive.jpg", progressive=True, quality=95, subsampling=0)
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    clear.save(tmp_path / "transparent.png")
    image.save(tmp_path / "animated.webp", save_all=True, append_images=rotated, lossless=True)
    image.save(tmp_path / "rotated.png", exif=exif)
    image.save(tmp_path / "rotated.tif", tiffinfo={274: 6})
    image.save(tmp_path / "rotated.webp", exif=exif, lossless=True)
    image.save(tmp_path / "is_jpeg.png", "JPEG", quality=95, subsampling=0)
    for path in sorted(tmp_path.iterdir()):
        wanted = np.rot90(base, -1) if path.name.startswith("rotated") else base
        pixels = decode_image(path)
        assert pixels.shape == wanted.shape, path.name
        assert np.abs(pixels.astype(int) - wanted).mean() < 6, path.name
