"""Crops with borders, mosaics and mixup of darknet: pixels vouch for boxes, at every size."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.pasted_crop import PastedCrop
from ppdet_lite.data.transforms.darknet.hsv import DarknetHSV
from ppdet_lite.data.transforms.darknet.jitter_crop import Crop, JitterCrop, crop_boxes
from ppdet_lite.data.transforms.darknet.mixup import DarknetMixup
from ppdet_lite.data.transforms.darknet.mosaic import DarknetMosaic
from ppdet_lite.data.transforms.darknet.random_size import DarknetRandomSize
from ppdet_lite.data.transforms.darknet.tiles import Shift, tile_boxes
from ppdet_lite.data.transforms.transform import Context
from tests.data.transforms.samples import MARK, make_sample

BOX = ((30, 20, 90, 70),)


def context(seed=0, partners=(), **position):
    found = Context(np.random.default_rng(seed), seed=seed, **position)
    found.partner = iter(partners).__next__ if partners else None
    return found


def marked(image, boxes_xyxy):
    """Share of the pixels well inside the boxes that have their color."""
    found = []
    for x1, y1, x2, y2 in np.rint(boxes_xyxy).astype(int):
        part = image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].astype(int)
        found.append((np.abs(part - MARK.astype(int)).max(axis=2) < 12).mean() if part.size else 1)
    return found


@pytest.mark.parametrize("letterbox", [False, True])
def test_crops_move_boxes_as_pixels(letterbox):
    transform = JitterCrop([96, 128], letterbox=letterbox)
    count = 0
    for seed in range(30):
        result = transform(make_sample(boxes=BOX), context(seed))
        image = result["image"].render()
        assert image.shape == (96, 128, 3)
        assert all(share > 0.97 for share in marked(image, result["gt_bbox"])), seed
        # and at another size, drawn at once
        large = result["image"].resize(200, 200, 1).render()
        boxes_xyxy = result["gt_bbox"] * np.array([200 / 128, 200 / 96] * 2)
        assert all(share > 0.97 for share in marked(large, boxes_xyxy)), seed
        count += len(result["gt_bbox"])
    assert count > 20


def test_a_border_has_the_mean_color_of_the_image():
    sample = make_sample(boxes=BOX)
    mean = sample["image"].render().mean(axis=(0, 1))
    painter = PastedCrop(sample["image"], (-60, -45, 240, 180))
    image = LazyImage.canvas((90, 120)).paint(painter).render()
    assert np.abs(image[2, 2] - mean).max() <= 1
    assert np.abs(image[-3, -3] - mean).max() <= 1
    np.testing.assert_array_equal(image[45, 60], MARK)


def test_a_whole_image_is_drawn_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for flip in (False, True):
        painter = PastedCrop(LazyImage(pixels), (0, 0, 60, 40), flip)
        image = LazyImage.canvas((40, 60)).paint(painter).render()
        np.testing.assert_array_equal(image, pixels[:, ::-1] if flip else pixels)


def test_boxes_of_a_crop_by_hand():
    # 10 off the left, 10 added at the right, half of the height off the top
    crop = Crop(10, -10, 50, 0)
    boxes = np.array([[20, 60, 40, 80], [0, 60, 12, 80], [0, 0, 100, 40], [90, 90, 300, 95]], float)
    found = crop_boxes(boxes, (100, 100), crop, (200, 200))
    # the third lies above the crop; the last one's center is inside of what is left of it
    np.testing.assert_array_equal(found.kept, [0, 1, 3])
    expected = [[20, 40, 60, 120], [0, 40, 4, 120], [160, 160, 200, 180]]
    np.testing.assert_allclose(found.boxes_xyxy, expected, atol=1e-4)
    mirrored = crop_boxes(boxes, (100, 100), crop._replace(flip=True), (200, 200))
    np.testing.assert_allclose(mirrored.boxes_xyxy[0], [140, 40, 180, 120], atol=1e-4)


@pytest.mark.parametrize("bound", [False, True])
def test_mosaics_show_what_their_boxes_say(bound):
    transform = DarknetMosaic([96, 128], prob=1.0, mosaic_bound=bound)
    seen, classes = 0, set()
    for seed in range(40):
        samples = [make_sample(90 + 30 * (i % 2), 120 - 10 * i, boxes=BOX) for i in range(4)]
        for number, sample in enumerate(samples):
            sample["gt_class"] = sample["gt_class"] + 10 * number
        result = transform(samples[0], context(seed, samples[1:]))
        boxes_xyxy = result["gt_bbox"]
        assert (boxes_xyxy >= 0).all()
        assert (boxes_xyxy <= [128, 96, 128, 96]).all()
        classes |= set(result["gt_class"].ravel().tolist())
        assert {len(result[key]) for key in ("gt_bbox", "gt_class", "gt_score")} == {
            len(boxes_xyxy)
        }
        image = result["image"].render()
        if bound:
            assert all(share > 0.9 for share in marked(image, boxes_xyxy)), seed
        seen += len(boxes_xyxy)
    assert seen > 80
    assert classes == {0, 10, 20, 30}


def test_boxes_of_a_tile_by_hand():
    # Tile 0 shows the bottom right of its source: 60 of 100 columns, 50 of 100 rows, less a border
    # of 10 at the right.
    shift, cut_xy, net_hw = Shift(0, 10, 0, 0), (60, 50), (100, 100)
    boxes = np.array([[50, 70, 70, 90], [10, 60, 60, 80], [70, 60, 99, 80], [0, 0, 20, 40]], float)
    free = tile_boxes(boxes, 0, shift, cut_xy, net_hw)
    np.testing.assert_array_equal(free.kept, [0, 1, 2])
    expected = [[20, 20, 40, 40], [0, 10, 30, 30], [40, 10, 69, 30]]
    np.testing.assert_array_equal(free.boxes_xyxy, expected)
    bound = tile_boxes(boxes, 0, shift, cut_xy, net_hw, bound=True)
    np.testing.assert_array_equal(bound.boxes_xyxy, [*expected[:2], [40, 10, 60, 30]])


def test_all_images_of_an_iteration_are_mosaics_or_none_is():
    transform = DarknetMosaic(64, prob=0.5, accumulate_steps=4)
    kinds = []
    for batch in range(120):
        many = set()
        for sample_seed in range(3):
            samples = [make_sample(boxes=()) for _ in range(4)]
            partners = iter(samples[1:])
            place = Context(np.random.default_rng(sample_seed), seed=9, batch=batch, batches=120)
            place.partner = partners.__next__
            transform(samples[0], place)
            many.add(len(list(partners)))  # partners that are left
        assert len(many) == 1
        kinds.append(many.pop() == 0)
    groups = np.array(kinds).reshape(30, 4)
    assert (groups == groups[:, :1]).all()
    assert 8 <= groups[:, 0].sum() <= 22
    no_partner = transform(make_sample(), context(1))  # mosaics are over
    assert no_partner["image"].size_hw == (64, 64)


def test_mixup_averages_and_keeps_all_objects():
    first, second = (JitterCrop(64, jitter=0)(make_sample(boxes=BOX), context(s)) for s in (0, 1))
    second["image"] = LazyImage(np.full((64, 64, 3), 200, np.uint8))
    mixed = DarknetMixup(prob=1.0)(first, context(0, [second]))
    expected = (first["image"].render().astype(float) + 200) / 2
    assert np.abs(mixed["image"].render() - expected).max() <= 1
    assert len(mixed["gt_bbox"]) == 2
    np.testing.assert_array_equal(mixed["gt_score"], np.ones((2, 1)))
    assert DarknetMixup(prob=1.0)(first, context(0)) is first


def test_hues_go_round_their_circle():
    red = np.full((4, 4, 3), (255, 20, 0), np.uint8)  # hue 2 of 180: a shift down passes 0
    blues = 0
    for seed in range(40):
        image = LazyImage(red)
        result = DarknetHSV(0.1, 1, 1)({"image": image}, context(seed))["image"].render()[0, 0]
        blues += result[2] > result[1] + 8
        assert result[0] == 255
    assert 10 < blues < 30


def test_sizes_stay_for_ten_iterations_and_are_the_largest_at_both_ends():
    transform = DarknetRandomSize(64, epoch=2, accumulate_steps=2, largest_at_end=20)
    # 2 epochs of 101 batches: 50 iterations each
    sizes = [
        transform.size_at(context(3, epoch=epoch, batch=batch, batches=101))
        for epoch in range(2)
        for batch in range(100)
    ]
    by_iteration = sizes[::2]
    assert sizes[1::2] == by_iteration
    groups = [set(by_iteration[i : i + 10]) for i in range(0, 100, 10)]
    assert all(len(group) == 1 for group in groups)
    assert groups[0] == groups[-1] == groups[-2] == {transform.largest_hw} == {(128, 128)}
    assert len(set.union(*groups)) > 1


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: JitterCrop(64, jitter=0.5), "jitter.*0.5"),
        (lambda: DarknetHSV(saturation=0.5), "saturation.*0.5"),
        (lambda: DarknetMosaic(64, min_offset=0.7), "min_offset.*0.7"),
        (lambda: DarknetRandomSize(64, factor=0.9), "factor.*0.9"),
    ],
)
def test_settings_that_cannot_work_are_named(make, found):
    with pytest.raises(ConfigError, match=found):
        make()


def test_dynamic_minibatch_fills_the_memory_of_the_largest_size():
    transform = DarknetRandomSize(608, dynamic_minibatch=True)
    plain, seen = DarknetRandomSize(608), set()
    for batch in range(0, 4000, 10):
        place = context(2, batch=batch, batches=4000)
        (height, width), count = transform.size_at(place), transform.images_at(place, 8)
        assert plain.images_at(place, 8) == 8
        whole = int(8 * 896 * 896 / (height * width))
        assert count == (int(0.8 * whole) if int(0.8 * whole) > 8 else whole)
        assert count * height * width <= 8 * 896 * 896
        seen.add((height, count))
    assert {(896, 8), (864, 8), (608, 13), (480, 21)} <= seen
