"""Hidden and exchanged parts: which pixels, how many, and what becomes of the boxes."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.erasing.cut_mix import CutMix, beside_rect
from ppdet_lite.data.transforms.erasing.grid_mask import GridMask
from ppdet_lite.data.transforms.erasing.hide_and_seek import HideAndSeek
from ppdet_lite.data.transforms.erasing.random_erasing import RandomErasing
from ppdet_lite.data.transforms.transform import Context
from tests.data.transforms.samples import context_of


def plain(height=120, width=160, boxes=(), level=200):
    count = len(boxes)
    return {
        "image": LazyImage(np.full((height, width, 3), level, np.uint8)),
        "gt_bbox": np.array(boxes, np.float32).reshape(-1, 4),
        "gt_class": np.arange(count, dtype=np.int32)[:, None],
        "gt_score": np.ones((count, 1), np.float32),
    }


def hidden(sample, size_hw=None, level=200):
    image = sample["image"] if size_hw is None else sample["image"].resize(*size_hw, 1)
    return (image.render() != level).any(axis=2)


def test_grid_mask_hides_one_square_per_unit():
    transform = GridMask(prob=1.0, unit=(0.25, 0.25), ratio=0.6)
    for seed in range(5):
        mask = hidden(transform(plain(), context_of(seed)))
        assert mask.mean() == pytest.approx(0.4**2, rel=0.3)
        columns = mask[mask.any(axis=1)][0]
        # the unit is 30 px (a quarter of 120), its square 12 px
        np.testing.assert_array_equal(columns[30:], columns[:-30])
        assert columns[:30].sum() == 12


def test_grid_mask_grows_with_the_epochs():
    transform = GridMask(prob=1.0, growing_epochs=10)
    shares = []
    for epoch in (0, 5, 20):
        draws = [
            transform(plain(), Context(np.random.default_rng(seed), epoch))["image"].painters
            for seed in range(60)
        ]
        shares.append(np.mean([bool(painters) for painters in draws]))
    assert shares[0] == 0
    assert 0.3 < shares[1] < 0.7
    assert shares[2] == 1


@pytest.mark.parametrize("size_hw", [None, (240, 320)])
def test_hide_and_seek_hides_half_of_the_patches_at_any_size(size_hw):
    transform = HideAndSeek(prob=1.0, patches=[4])
    shares = []
    for seed in range(20):
        mask = hidden(transform(plain(), context_of(seed)), size_hw)
        height, width = mask.shape
        cells = mask.reshape(4, height // 4, 4, width // 4).transpose(0, 2, 1, 3).reshape(16, -1)
        assert (cells.all(axis=1) | ~cells.any(axis=1)).all()
        shares.append(mask.mean())
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("where", ["image", "objects", "both"])
def test_random_erasing_covers_a_share_of_what_it_is_for(where):
    box = (40, 30, 120, 90)
    transform = RandomErasing(prob=1.0, area=(0.1, 0.2), where=where, fill_value=0)
    outside = 0
    for seed in range(20):
        mask = hidden(transform(plain(boxes=[box]), context_of(seed)))
        inside = mask[30:90, 40:120]
        if where == "objects":
            assert mask.sum() == inside.sum()
            assert 0.07 < inside.mean() < 0.23
        if where == "image":
            assert 0.08 < mask.mean() < 0.22
        outside += mask.sum() - inside.sum()
    assert (outside > 0) == (where != "objects")


def test_noise_is_a_function_of_the_sample():
    transform = RandomErasing(prob=1.0, where="image")
    first, again, other = (
        transform(plain(), context_of(seed))["image"].render() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.unique(first[(first != 200).any(axis=2)]).size > 50


def cut_mix(boxes, partner_boxes, seed=0, **settings):
    first, second = plain(boxes=boxes), plain(boxes=partner_boxes, level=50)
    second["gt_class"] = second["gt_class"] + 10
    context = Context(np.random.default_rng(seed))
    context.partner = lambda: second
    return CutMix(prob=1.0, **settings)(first, context)


def test_cut_mix_weighs_boxes_by_their_visible_share():
    boxes = [(0, 0, 160, 120), (5, 5, 15, 15)]
    for seed in range(20):
        result = cut_mix(boxes, [(0, 0, 160, 120)], seed, min_visible=0.0)
        mask = hidden(result)
        rows, columns = np.nonzero(mask)
        pasted = mask.mean()
        assert 0.08 < pasted < 0.65
        labels = result["gt_class"].ravel().tolist()
        own, new = labels.index(0), labels.index(10)
        assert result["gt_score"][own, 0] == pytest.approx(1 - pasted, abs=1e-5)
        assert result["gt_score"][new, 0] == pytest.approx(pasted, abs=1e-5)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(result["gt_bbox"][new], expected)
        if 1 in labels:
            small = result["gt_score"][labels.index(1), 0]
            assert small == pytest.approx(1 - mask[5:15, 5:15].mean(), abs=1e-5)


def test_cut_mix_cuts_boxes_to_a_strip_and_drops_what_is_covered():
    # the whole width at one height: all rectangles of full width
    for seed in range(10):
        boxes = [(20, 0, 60, 120)]
        result = cut_mix(boxes, [], seed, side=(1.0, 1.0))
        assert len(result["gt_bbox"]) == 0  # everything is covered
    boxes = np.array([[20, 0, 60, 100], [20, 60, 60, 120], [100, 0, 150, 100]])
    visible, shares = beside_rect(boxes, np.array([0, 50, 90, 120]))
    np.testing.assert_allclose(visible[[0, 2]], [[20, 0, 60, 50], boxes[2]])
    np.testing.assert_allclose(shares, [0.5, 0, 1])


def test_cut_mix_is_off_without_a_partner_and_refuses_other_sizes():
    sample = plain()
    assert CutMix(prob=1.0)(sample, context_of(0)) is sample
    context = context_of(0)
    context.partner = lambda: plain(60, 60)
    with pytest.raises(ConfigError, match="CutMix.*60"):
        CutMix(prob=1.0)(sample, context)
    with pytest.raises(ConfigError, match="side.*1.5"):
        CutMix(side=(0.3, 1.5))


def test_later_geometry_sees_what_was_painted():
    sample = GridMask(prob=1.0)(plain(), context_of(0))
    mask = hidden(sample)
    np.testing.assert_array_equal(hidden({"image": sample["image"].flip()}), mask[:, ::-1])
    cropped = {"image": sample["image"].crop(10, 20, 50, 40)}
    np.testing.assert_array_equal(hidden(cropped), mask[20:60, 10:60])
    darker = sample["image"].contrast(0.5).render()
    assert len(np.unique(darker)) == 2
