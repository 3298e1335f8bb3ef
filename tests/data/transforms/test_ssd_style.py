"""ASFF's augmentation: colors by hand, boxes that follow the pixels, sizes that last."""

import cv2
import numpy as np
import pytest

from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.ssd.affine import RandomAffine
from ppdet_lite.data.transforms.ssd.aspect_expand import AspectExpand
from ppdet_lite.data.transforms.ssd.periodic_resize import PeriodicRandomResize
from ppdet_lite.data.transforms.ssd.photometric import PhotometricDistort
from ppdet_lite.data.transforms.ssd.small_boxes import DropSmallBoxes
from ppdet_lite.data.transforms.transform import Context

NEVER = (0, 0, 0)


def sample_of(image, *boxes):
    return {
        "image": LazyImage(image),
        "gt_bbox": np.float32(boxes).reshape(-1, 4),
        "gt_class": np.arange(len(boxes), dtype=np.int32)[:, None],
    }


def context(seed=0, **more):
    return Context(np.random.default_rng(seed), **more)


def test_colors_by_hand():
    image = np.full((4, 4, 3), (100, 40, 200), np.uint8)

    def result(**changed):
        settings = dict.fromkeys(("brightness", "contrast", "hue", "saturation"), NEVER)
        step = PhotometricDistort(**{**settings, **changed})
        return step(sample_of(image), context())["image"].render()[0, 0].tolist()

    assert result() == [100, 40, 200]
    assert result(brightness=(-32, -32, 1)) == [68, 8, 168]
    assert result(brightness=(70, 70, 1), contrast=(0.5, 0.5, 1)) == [85, 55, 127]
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[0, 0].astype(int)
    moved = np.uint8([[[(hsv[0] + 18) % 180, hsv[1] // 2, hsv[2]]]])
    expected = cv2.cvtColor(moved, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    assert result(hue=(18, 18, 1), saturation=(0.5, 0.5, 1)) == expected


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_the_warped_pixels(seed):
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:80, 60:110] = 255
    step = RandomAffine(prob=1, fill_value=0)
    found = step(sample_of(image, (60, 40, 110, 80)), context(seed))
    rows, columns = np.nonzero(found["image"].render()[..., 0] > 127)
    bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found["image"].size_hw == (120, 160)
    np.testing.assert_allclose(found["gt_bbox"][0], bounds, atol=2.0)


def test_a_warp_of_nothing_keeps_pixels_and_boxes():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    still = {"degrees": (0, 0), "translate": 0.0, "scale": (1, 1), "shear": (0, 0)}
    found = RandomAffine(prob=1, **still)(sample_of(image, (3, 4, 20, 22)), context())
    np.testing.assert_array_equal(found["image"].render(), image)
    np.testing.assert_allclose(found["gt_bbox"], [[3, 4, 20, 22]], atol=1e-5)


def test_canvases_of_other_shapes():
    image = np.full((40, 60, 3), 200, np.uint8)
    shapes = []
    for seed in range(40):
        step = AspectExpand(prob=1, fill_value=0)
        found = step(sample_of(image, (10, 10, 30, 30)), context(seed))
        pixels = found["image"].render()
        left, top = (found["gt_bbox"][0, :2] - 10).astype(int)
        assert (pixels[top : top + 40, left : left + 60] == 200).all()
        assert (pixels == 200).all(axis=2).sum() == 40 * 60
        shapes.append(pixels.shape[0] / 40 / (pixels.shape[1] / 60))
    assert min(shapes) < 0.7 and max(shapes) > 1.4 and min(shapes) > 0.45 and max(shapes) < 2.2


def test_small_objects_are_left_out():
    found = DropSmallBoxes(6)(
        sample_of(np.zeros((50, 50, 3), np.uint8), (0, 0, 6, 40), (0, 0, 7, 7), (5, 5, 5, 5)),
        context(),
    )
    assert found["gt_class"].tolist() == [[1]]


def test_sizes_last_for_ten_iterations_and_the_last_epochs_have_the_largest():
    step = PeriodicRandomResize([32, 64, 96], every=10, fixed_epochs=2, epoch=6)
    samples = [sample_of(np.zeros((50, 50, 3), np.uint8))]

    def side(epoch, batch):
        now = context(batch)
        now.epoch, now.seed, now.batch, now.batches = epoch, 3, batch, 30
        return step(samples, now)[0]["image"].size_hw[0]

    sides = [side(epoch, batch) for epoch in range(4) for batch in range(30)]
    assert all(len(set(sides[i : i + 10])) == 1 for i in range(0, 120, 10))
    assert set(sides) == {32, 64, 96}
    assert {side(epoch, batch) for epoch in (4, 5) for batch in range(30)} == {96}
