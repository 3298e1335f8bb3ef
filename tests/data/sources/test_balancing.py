"""Repeat factors: LVIS's rule by hand, on every kind of data set."""

import json

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.sources.balancing import repeat_factors
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.dataset import Part, as_dataset


def test_the_rule_by_hand():
    # class 0 in 8 of 10 images, class 1 in 2, class 2 in 1; t = 0.4
    images = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 7, 8])
    classes = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 1])
    factors = repeat_factors(images, classes, 10, 0.4)
    np.testing.assert_allclose(factors, [1, 1, 1, 1, 1, 1, 1, 2, np.sqrt(2), 1])
    assert (repeat_factors(images, classes, 10, 0.1) == 1).all()
    assert (repeat_factors(images[:0], classes[:0], 3, 0.5) == 1).all()


@pytest.fixture
def rare(tmp_path):
    """Arguments of a COCO data set of 10 images: a cat in each but the last, a bird in the first,
    a crowd of birds in the second."""
    size = {"height": 9, "width": 9}
    box = {"bbox": [0, 0, 5, 5], "area": 25}
    boxes = [(i, 1, 0) for i in range(9)] + [(0, 2, 0), (1, 2, 1)]
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", **size} for i in range(10)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "bird"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "iscrowd": k, **box}
            for n, (i, c, k) in enumerate(boxes)
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    return {"dataset_dir": str(tmp_path), "anno_path": "a.json"}


def test_the_switch_of_a_data_set(rare):
    assert COCODataSet(**rare).repeat_factors() is None
    balanced = COCODataSet(**rare, repeat_threshold=0.4)
    np.testing.assert_allclose(balanced.repeat_factors(), [2] + [1] * 9)
    assert "up to 2.00 times, 1 more than once; 11 samples" in "\n".join(balanced.report_lines)
    twice = COCODataSet(**rare, repeat_threshold=0.4, repeat=2, allow_empty=False)
    assert (
        len(twice) == 18
        and twice.repeat_factors()[[0, 9]].tolist() == [twice.repeat_factors()[0]] * 2
    )
    assert twice.repeat_factors()[0] == pytest.approx(np.sqrt(0.4 * 9))  # 1 of the 9 images used
    first = COCODataSet(**rare, repeat_threshold=0.4, sample_num=2)
    np.testing.assert_allclose(first.repeat_factors(), [1, 1])  # a bird in half of the images
    np.testing.assert_allclose(Part(balanced, [4, 0]).repeat_factors(), [1, 2])


def test_other_objects_may_say_factors():
    class Own:
        def __len__(self):
            return 2

        def record(self, index):
            return {"im_file": str(index)}

    assert as_dataset(Own()).repeat_factors() is None
    Own.repeat_factors = lambda self: np.array([1.0, 2.5])
    assert as_dataset(Own()).repeat_factors().tolist() == [1, 2.5]


def test_the_key_is_checked(rare, tmp_path):
    text = f"TrainDataset: {{name: COCODataSet, {', '.join(f'{k}: {v}' for k, v in rare.items())}"
    (tmp_path / "a.yml").write_text(text + ", repeat_threshold: 1.5}")
    with pytest.raises(ConfigError, match="repeat_threshold: found 1.5"):
        create("TrainDataset", load_config(tmp_path / "a.yml"))
