"""Darknet's mosaic, row by row and by its distributions, and its random sizes."""

import json
from collections import Counter

import numpy as np
import pytest

from ppdet_lite.core.workspace import create
from ppdet_lite.data.transforms.darknet.jitter_crop import Crop, JitterCrop, crop_boxes
from ppdet_lite.data.transforms.darknet.random_size import DarknetRandomSize
from ppdet_lite.data.transforms.darknet.tiles import border_shift, pushed_outside, tile_boxes
from tests.golden import yolov4_set as reference

pytestmark = pytest.mark.usefixtures("golden_yolov4")


@pytest.fixture(scope="module")
def rows():
    return reference.arrays("mosaic/mosaic.npz")


@pytest.fixture(scope="module")
def settings(rows):
    found = json.loads(rows["settings"].item())
    return {**found, "net_hw": (found["height"], found["width"])}


def sources(rows, settings, row):
    """Per tile its crop, (height, width) of the image, and cut and shift of the set."""
    cut_xy = tuple(map(int, rows["cut"][row]))
    for tile, (width, height) in enumerate(settings["images_wh"]):
        values = rows["crop"][row, tile]
        crop = Crop(*map(int, values[:4]), bool(values[6]))
        assert crop.xywh((height, width))[2:] == tuple(values[4:6])
        yield crop, (height, width), cut_xy, tuple(map(int, rows["shift"][row, tile]))


def test_borders_that_a_tile_leaves_out(rows, settings):
    for row in range(len(rows["cut"])):
        for crop, size_hw, cut_xy, expected in sources(rows, settings, row):
            assert border_shift(crop, size_hw, cut_xy, settings["net_hw"]) == expected


@pytest.mark.parametrize("bound", [False, True])
def test_boxes_row_by_row(rows, settings, bound):
    net_hw, equal = settings["net_hw"], 0
    for row in range(len(rows["cut"])):
        found = {}
        for tile, (crop, size_hw, cut_xy, _) in enumerate(sources(rows, settings, row)):
            boxes_xyxy = np.array(settings["boxes"][tile]) * (size_hw[::-1] * 2)
            source = crop_boxes(boxes_xyxy, size_hw, crop, net_hw)
            shift = border_shift(crop, size_hw, cut_xy, net_hw)
            placed = tile_boxes(source.boxes_xyxy, tile, shift, cut_xy, net_hw, bound)
            numbers = 10 * tile + source.kept[placed.kept]
            found.update(zip(numbers.tolist(), placed.boxes_xyxy))
        expected = rows[f"nan_box_bound{int(bound)}"][
            row, : rows[f"aug_n_box_bound{int(bound)}"][row]
        ]
        equal += set(found) == set(expected[:, 4].astype(int))
        for x, y, w, h, number in expected:
            if int(number) in found:
                corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                difference = found[int(number)] - corners * (net_hw[::-1] * 2)
                assert np.abs(difference).max() < 1.001
    # The rest are boxes at the very edge of one pixel, where float32 decides.
    assert equal >= 0.985 * len(rows["cut"])


def test_draws_of_crops(rows, settings):
    """Shares of borders that were pushed away or mirrored, and the spread of the others."""
    transform = JitterCrop(settings["net_hw"][0], settings["jitter"], settings["resize"])
    rng = np.random.default_rng(3)
    for tile, (width, height) in enumerate(settings["images_wh"]):
        drawn = []
        for _ in range(4000):
            crop = transform.draw_crop((height, width), rng)
            drawn.append(pushed_outside(crop, tile) if rng.random() < 0.5 else crop)
        drawn, expected = np.array(drawn, float), rows["crop"][:, tile][:, [0, 1, 2, 3, 6]]
        error = expected.std(axis=0) / len(expected) ** 0.5
        assert (np.abs(drawn.mean(axis=0) - expected.mean(axis=0)) < 5 * error + 1e-6).all()
        np.testing.assert_allclose(drawn.std(axis=0), expected.std(axis=0), rtol=0.1)
        zeros = [(values[:, :4] == 0).mean(axis=0) for values in (drawn, expected)]
        np.testing.assert_allclose(*zeros, atol=0.08)


def test_random_sizes():
    about = json.loads((reference.FOLDER / "ops" / "schedule.json").read_text())
    transform, rng, count = DarknetRandomSize(608), np.random.default_rng(5), 20000
    drawn = Counter(transform.draw_size(rng) for _ in range(count))
    expected = about["random_net_size_608"]
    assert set(drawn) == {(int(side), int(side)) for side in expected}
    for side, share in expected.items():  # five standard deviations of their 4000 draws
        spread = 5 * (share * (1 - share) * (1 / 4000 + 1 / count)) ** 0.5
        assert drawn[int(side), int(side)] / count == pytest.approx(share, abs=spread)
    assert transform.largest_hw == (about["max_size_608"],) * 2
    assert set(transform.output_sizes(None).all_hw) == set(drawn)


def test_learning_rate():
    about = json.loads((reference.FOLDER / "ops" / "schedule.json").read_text())
    curve = create("LearningRate", reference.config("yolov4"))
    for iteration, expected in about["lr_at_iteration"].items():
        assert curve.at(int(iteration), 1832, 273) == pytest.approx(expected, rel=1e-6, abs=1e-20)
