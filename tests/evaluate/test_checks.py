"""Data that does not fit the configuration is found before any work."""

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.evaluate.checks import readable_part, tell_detection_limit


class Photos(Dataset):
    """20 images of which the first `bad` are empty files and number 15 does not exist."""

    def __init__(self, folder, bad):
        super().__init__("cells.json", ["cell"])
        self.folder = folder
        image = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
        for index in range(20):
            if index != 15:
                (folder / f"{index}.png").write_bytes(b"" if index < bad else image)

    def __len__(self):
        return 20

    def record(self, index):
        box = np.array([[0, 0, 2, 2]], np.float32)
        labels = {"gt_bbox": box, "gt_class": np.zeros((1, 1), np.int32)}
        name = str(self.folder / f"{index}.png")
        return {"im_file": name, "im_id": np.array([index]), **labels}


def test_few_unreadable_images_are_left_out_with_a_line(tmp_path, caplog):
    part = readable_part(Photos(tmp_path, 1), 0.1, "headers")
    (line,) = [record.getMessage() for record in caplog.records]
    first, *files = line.splitlines()
    assert first == "cells.json: 2 of 20 images cannot be read and are left out:"
    assert re.search(r"/0.png: the file is empty", files[0])
    assert re.search(r"/15.png: cannot be read \(No such file", files[1])
    assert len(part) == 18 and part.record(0)["im_id"].tolist() == [1]
    truth = part.to_coco()
    assert [image["id"] for image in truth["images"]] == [*range(1, 15), *range(16, 20)]
    assert [box["image_id"] for box in truth["annotations"]] == [*range(1, 15), *range(16, 20)]
    assert part.class_names == ["cell"] and part.name == "cells.json"


def test_many_are_an_error_that_lists_the_first_ten(tmp_path):
    with pytest.raises(DataError, match="16 of 20 images .*max_bad_fraction 0.5") as error:
        readable_part(Photos(tmp_path, 15), 0.5, "headers")
    lines = str(error.value).splitlines()
    assert len(lines) == 12 and lines[-1].strip() == "and 6 more"
    with pytest.raises(DataError, match="20 of 20 images cannot be read"):
        readable_part(Photos(tmp_path, 20), 1.0, "headers")


def test_without_a_check_only_the_files_must_exist(tmp_path):
    assert len(readable_part(Photos(tmp_path, 5), 0.1, "none")) == 19


def test_readable_images_are_the_data_set_itself(tmp_path):
    photos = Photos(tmp_path, 0)
    (tmp_path / "15.png").write_bytes((tmp_path / "1.png").read_bytes())
    assert readable_part(photos, 0.0, "contents") is photos


class Crowded(Dataset):
    """Two images, the second with 7 objects beside 5 crowds."""

    def __len__(self):
        return 2

    def record(self, index):
        return {"is_crowd": np.array([[0]] * 7 * index + [[1]] * 5)}


@pytest.mark.parametrize("keep_top_k, told", [(6, True), (7, False), (-1, False)])
def test_more_objects_than_the_network_returns_are_told(caplog, keep_top_k, told):
    nms = SimpleNamespace(arguments={"keep_top_k": keep_top_k})
    model = SimpleNamespace(post_process=SimpleNamespace(nms=nms))
    tell_detection_limit(Crowded("a.json"), model)
    assert ("keep_top_k=7" in caplog.text) == told
