import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox, PadBox
from ppdet_lite.data.transforms.crop import RandomCrop
from ppdet_lite.data.transforms.distort import RandomDistort
from ppdet_lite.data.transforms.expand_flip import RandomExpand, RandomFlip
from ppdet_lite.data.transforms.mixup import Mixup
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.resize import BatchRandomResize, Resize
from tests.data.transforms.samples import MARK, context_of, make_sample

FILL = (10, 20, 30)


def freeze(sample):
    """Any write into the sample's arrays raises from here on."""
    for value in sample.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    for polygons in sample.get("gt_poly", []):
        for points in polygons:
            points.flags.writeable = False
    return sample


def chain(seed, sample, partner=None):
    context = context_of(seed)
    context.partner = None if partner is None else lambda: partner
    steps = [
        Mixup(),
        RandomDistort(random_channel=True),
        RandomExpand(fill_value=FILL),
        RandomCrop(),
        RandomFlip(),
        Resize([64, 96], interp=1),
    ]
    for step in steps:
        sample = step(sample, context)
    return sample


@pytest.mark.parametrize("polygons", [False, True])
def test_whole_chain_keeps_boxes_inside_and_inputs_untouched(polygons):
    sample = freeze(make_sample(polygons=polygons))
    partner = freeze(make_sample(70, 160, [(3, 3, 100, 60)], polygons))
    copies = {key: np.copy(sample[key]) for key in ("gt_bbox", "gt_class", "gt_score")}
    for seed in range(60):
        result = chain(seed, sample, partner)
        boxes = result["gt_bbox"]
        assert boxes.dtype == np.float32
        assert len(boxes) >= 1
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] <= (96, 64)).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        for field in ("gt_class", "gt_score", "is_crowd", "difficult"):
            assert len(result[field]) == len(boxes)
        assert result["image"].render().shape == (64, 96, 3)
        np.testing.assert_array_equal(result["im_shape"], [64, 96])
    for key, value in copies.items():
        np.testing.assert_array_equal(sample[key], value)


def test_boxes_follow_the_pixels():
    """After expand, crop, flip and resize the painted area is still the box, within a pixel."""
    for seed in range(40):
        sample = make_sample(boxes=[(30, 20, 90, 70)])
        context = context_of(seed)
        for step in (RandomExpand(2.0, 1.0, FILL), RandomCrop(), RandomFlip(), Resize(200)):
            sample = step(sample, context)
        painted = (sample["image"].render() == MARK).all(axis=2)
        rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
        seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(sample["gt_bbox"][0], seen, atol=4.5)  # blurred borders


def test_same_seed_same_sample_other_seed_other_sample():
    first, second, third = (chain(seed, make_sample()) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["image"].render(), second["image"].render())
    np.testing.assert_array_equal(first["gt_bbox"], second["gt_bbox"])
    assert (first["image"].render() != third["image"].render()).any()


def test_no_boxes_pass_through_everything():
    sample = make_sample(boxes=[], polygons=True)
    for seed in range(10):
        result = chain(seed, sample, sample)
        assert result["gt_bbox"].shape == (0, 4)
        assert result["gt_class"].shape == (0, 1)
        assert result["image"].render().shape == (64, 96, 3)


def test_one_pixel_and_zero_area():
    tiny = make_sample(1, 1, [(0, 0, 1, 1)])
    flat = make_sample(40, 40, [(5, 5, 5, 30), (7, 7, 7, 7)])
    for seed in range(20):
        for sample in (tiny, flat):
            assert chain(seed, sample, tiny)["image"].render().shape == (64, 96, 3)


# Mixup ---------------------------------------------------------------------------------------


def test_mixup_by_hand():
    first, second = make_sample(90, 120), make_sample(100, 80, [(1, 2, 3, 4)], polygons=True)
    del second["difficult"]
    mixed = Mixup().mix(first, second, 0.25)
    assert mixed["image"].size_hw == (100, 120)
    np.testing.assert_array_equal(mixed["gt_bbox"][2], [1, 2, 3, 4])
    np.testing.assert_allclose(mixed["gt_score"][:, 0], [0.25, 0.25, 0.75])
    np.testing.assert_array_equal(mixed["gt_class"][:, 0], [0, 1, 0])
    assert mixed["difficult"].shape == (3, 1)
    assert [len(polygons) for polygons in mixed["gt_poly"]] == [0, 0, 1]
    assert mixed["gt_score"].dtype == np.float32
    assert mixed["gt_class"].dtype == np.int32


def test_mixup_without_partner_is_off():
    sample = make_sample()
    assert Mixup()(sample, context_of(0)) is sample


def test_mixup_with_a_negative_image():
    mixed = Mixup().mix(make_sample(boxes=[]), make_sample(), 0.4)
    np.testing.assert_allclose(mixed["gt_score"][:, 0], [0.6, 0.6])


def test_mixup_refuses_bad_parameters():
    with pytest.raises(ConfigError, match="alpha: found 0, allowed: a number above 0"):
        Mixup(alpha=0, beta=1.5)


# RandomDistort -------------------------------------------------------------------------------


def test_distort_off_and_fixed_order():
    sample = make_sample()
    assert RandomDistort(prob=0.0)(sample, context_of(0))["image"].changes == ()
    never = RandomDistort((0, 0, 0), (1, 1, 0), (1, 1, 0), (1, 1, 0))
    assert never(sample, context_of(0))["image"].changes == ()
    always = dict.fromkeys(("saturation", "contrast", "brightness"), (0.5, 1.5, 1.0))
    ordered = RandomDistort(hue=(-18, 18, 1), random_apply=False, **always)
    names = set()
    for seed in range(20):
        changes = ordered(sample, context_of(seed))["image"].changes
        names.add(tuple(type(change).__name__ for change in changes))
    assert names == {
        ("LevelMap", "Contrast", "Saturation", "HueShift"),
        ("LevelMap", "Saturation", "HueShift", "Contrast"),
    }
    two = RandomDistort(hue=(-18, 18, 1), count=2, **always)
    assert len(two(sample, context_of(0))["image"].changes) == 2


def test_distort_refuses_bad_ranges():
    with pytest.raises(ConfigError, match=r"hue: found \[1, 2\], allowed: \[lower, upper, prob\]"):
        RandomDistort(hue=[1, 2])


# RandomExpand, RandomFlip --------------------------------------------------------------------


def test_expand_always_and_never():
    sample = make_sample()
    assert RandomExpand(prob=0.0)(sample, context_of(0)) is sample
    grown = RandomExpand(ratio=3.0, prob=1.0, fill_value=FILL)(sample, context_of(1))
    height, width = grown["image"].size_hw
    assert 90 <= height <= 270
    assert abs(height / 90 - width / 120) < 0.02
    shift = grown["gt_bbox"] - sample["gt_bbox"]
    np.testing.assert_array_equal(shift[:, :2], shift[:, 2:])
    pixels = grown["image"].render()
    x, y = shift[0, :2].astype(int)
    np.testing.assert_array_equal(pixels[y : y + 90, x : x + 120], sample["image"].render())
    outside = np.ones((height, width), bool)
    outside[y : y + 90, x : x + 120] = False
    np.testing.assert_array_equal(np.unique(pixels[outside], axis=0), [FILL])


def test_expand_refuses_bad_parameters():
    with pytest.raises(ConfigError, match="ratio: found 1.0, allowed: a number above 1.01"):
        RandomExpand(ratio=1.0)
    with pytest.raises(ConfigError, match=r"fill_value: found \[1, 2\]"):
        RandomExpand(fill_value=[1, 2])


def test_flip_twice_is_identity():
    sample = make_sample(polygons=True)
    once = RandomFlip(prob=1.0)(sample, context_of(0))
    np.testing.assert_array_equal(once["gt_bbox"], [[70, 20, 110, 60], [10, 5, 60, 80]])
    np.testing.assert_array_equal(once["image"].render(), sample["image"].render()[:, ::-1])
    twice = RandomFlip(prob=1.0)(once, context_of(0))
    np.testing.assert_array_equal(twice["gt_bbox"], sample["gt_bbox"])
    np.testing.assert_array_equal(twice["image"].render(), sample["image"].render())
    np.testing.assert_array_equal(twice["gt_poly"][1][0], sample["gt_poly"][1][0])


def test_flip_takes_arrays_too():
    array = make_sample()["image"].render()
    flipped = RandomFlip(prob=1.0)({"image": array})
    np.testing.assert_array_equal(flipped["image"].render(), array[:, ::-1])


# Resize, boxes, pixels -----------------------------------------------------------------------


def test_resize_scales_and_cuts_boxes():
    sample = make_sample(90, 120, [(-5, 10, 150, 60)], polygons=True)
    sample["scale_factor"] = np.array([0.5, 0.5], np.float32)
    resized = Resize([45, 240], interp=2)(sample)
    np.testing.assert_allclose(resized["gt_bbox"], [[0, 5, 240, 30]])
    np.testing.assert_array_equal(resized["im_shape"], [45, 240])
    np.testing.assert_array_equal(resized["scale_factor"], [0.25, 1.0])
    np.testing.assert_allclose(resized["gt_poly"][0][0][0], [-10, 5])


def test_resize_refuses_bad_sizes():
    for bad in (0, [3], [4, -4], [2.5, 3]):
        with pytest.raises(ConfigError, match="allowed: a positive integer or"):
            Resize(bad)
    with pytest.raises(ConfigError, match="interp: found 9, allowed: 0 nearest"):
        Resize(32, interp=9)


def test_batch_random_resize_draws_one_size_and_interpolation_per_batch():
    transform = BatchRandomResize([32, 64, [96, 32]], random_interp=True)
    seen = set()
    for seed in range(60):
        results = transform([make_sample(), make_sample(50, 50, [])], context_of(seed))
        drawn = {(r["image"].size_hw, r["image"].interp) for r in results}
        assert len(drawn) == 1
        seen |= drawn
    assert len(seen) == 15  # every size with every interpolation


def test_batch_random_resize_with_one_size():
    fixed = BatchRandomResize([32, 64], random_size=False, interp=3)
    (result,) = fixed([make_sample()], context_of(0))
    assert result["image"].size_hw == (32, 64)
    assert result["image"].interp == 3
    with pytest.raises(ConfigError, match="keep_ratio: found True, allowed: false"):
        BatchRandomResize([32], keep_ratio=True)
    with pytest.raises(ConfigError, match="allowed: a list of sizes"):
        BatchRandomResize(32)


def test_box_formats():
    sample = make_sample(100, 200, [(20, 10, 60, 50)])
    normalized = NormalizeBox()(sample)
    np.testing.assert_allclose(normalized["gt_bbox"], [[0.1, 0.1, 0.3, 0.5]])
    centerd = BboxXYXY2XYWH()(normalized)
    np.testing.assert_allclose(centerd["gt_bbox"], [[0.2, 0.3, 0.2, 0.4]], rtol=1e-6)


def test_pad_box_pads_and_counts_what_it_leaves_out():
    context = context_of(0)
    padded = PadBox(5)(make_sample(polygons=True), context)
    assert padded["gt_bbox"].shape == (5, 4)
    assert padded["gt_class"].shape == (5, 1)
    assert padded["gt_class"].dtype == np.int32
    assert not padded["gt_bbox"][2:].any()
    assert not context.notes
    assert PadBox(1)(make_sample(), context)["gt_bbox"].shape == (1, 4)
    assert dict(context.notes) == {"objects beyond PadBox.num_max_boxes 1 are left out": 1}
    assert PadBox(4)(make_sample(boxes=[]))["gt_bbox"].shape == (4, 4)


def test_normalize_and_permute_by_hand():
    sample = {"image": LazyImage(np.full((2, 3, 3), 51, np.uint8))}
    normalized = NormalizeImage(mean=[0.1, 0.2, 0.3], std=[1, 1, 2])(sample)
    assert normalized["image"].shape == (2, 3, 3)
    np.testing.assert_allclose(normalized["image"][0, 0], [0.1, 0.0, -0.05], atol=1e-6)
    assert Permute()(normalized)["image"].shape == (3, 2, 3)


# Decode --------------------------------------------------------------------------------------


def test_transforms_say_that_decode_is_missing():
    with pytest.raises(ConfigError, match="Decode must come first"):
        RandomFlip(prob=1.0)({"im_file": "a.jpg", "image": None, "gt_bbox": np.zeros((0, 4))})
    with pytest.raises(ConfigError, match="Decode must come first"):
        RandomFlip(prob=1.0)({"im_file": "a.jpg", "gt_bbox": np.zeros((0, 4))})
