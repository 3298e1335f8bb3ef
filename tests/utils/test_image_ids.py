"""Image ids of COCO results are those of the annotations."""

import json
from pathlib import Path

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.image_ids import match_image_ids, read_image_ids


@pytest.mark.parametrize(
    ("paths", "images", "ids"),
    [
        (["a.jpg", "b.jpg"], {7: "b.jpg", 3: "a.jpg"}, [3, 7]),
        (["x/val/a.jpg", "x/train/a.jpg"], {1: "train/a.jpg", 2: "val/a.jpg"}, [2, 1]),
        (["moved/a.jpg"], {5: "val/a.jpg"}, [5]),
        (["moved/a.jpg"], {5: "val/a.jpg", 6: "train/a.jpg"}, None),
        (["p/a.jpg", "q/a.jpg"], {5: "val/a.jpg"}, None),
        (["p/a.jpg", "q/a.jpg", "b.jpg"], {5: "val/a.jpg", 2: "b.jpg"}, [6, 7, 2]),
        (["x/ba.jpg"], {5: "a.jpg"}, None),  # an ending of the name is no match
        (["new.jpg", "a.jpg", "other.jpg"], {9: "a.jpg"}, [10, 9, 11]),
        (["a.jpg"], {}, None),
        (["./x/./a.jpg"], {4: "./x/a.jpg"}, [4]),
    ],
)
def test_ids_by_path(paths, images, ids):
    assert match_image_ids([Path(path) for path in paths], images.items(), "a.json") == ids


def test_two_files_of_one_image():
    paths = [Path("p/a.jpg"), Path("q/a.jpg")]
    with pytest.raises(DataError, match="^a.json: image_id 3: found for p/a.jpg and q/a.jpg"):
        match_image_ids(paths, [(3, "a.jpg")], "a.json")


def test_ids_of_a_file(tmp_path):
    path = tmp_path / "a.json"
    images = [{"id": 3, "file_name": "a.jpg"}, {"id": 4.0, "file_name": "b.jpg"}]
    path.write_text(json.dumps({"images": images}))
    assert read_image_ids(path) == [(3, "a.jpg"), (4, "b.jpg")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "images: found no such list"),
        ('{"images": [{"id": true, "file_name": "a"}]}', "images.0.id: found 'True'"),
        ('{"images": [{"id": 2.5, "file_name": "a"}]}', "images.0.id: found '2.5'"),
        ('{"images": [{"id": 1}]}', "images.0.file_name: found 'None'"),
        ('{"images": [3]}', "images.0.id: found 'None'"),
    ],
)
def test_files_that_name_no_ids(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError, match=f"^{path}: {reason}"):
        read_image_ids(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=f"^{tmp_path / 'a.json'}: cannot be read"):
        read_image_ids(tmp_path / "a.json")
