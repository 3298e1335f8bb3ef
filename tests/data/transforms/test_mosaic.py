import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.distort import RandomDistort
from ppdet_lite.data.transforms.expand_flip import RandomExpand, RandomFlip
from ppdet_lite.data.transforms.mosaic import Mosaic, UpstreamMosaic, place_tile, warp_boxes
from ppdet_lite.data.transforms.transform import Context

GRAY = 114
STILL = {"degrees": (0, 0), "translate": (0, 0), "scale": (1, 1), "shear": (0, 0)}
MARK = np.array([250, 5, 130], np.uint8)


def make_sample(height=90, width=120, boxes=((30, 20, 90, 70),), first_class=0, level=60):
    """An image of one gray level with one painted rectangle per box."""
    image = np.full((height, width, 3), level, np.uint8)
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    for x1, y1, x2, y2 in boxes_xyxy.astype(int):
        image[y1:y2, x1:x2] = MARK
    count = len(boxes_xyxy)
    return {
        "im_file": "a.jpg",
        "image": LazyImage(image),
        "gt_bbox": boxes_xyxy,
        "gt_class": first_class + np.arange(count, dtype=np.int32)[:, None],
        "gt_score": np.ones((count, 1), np.float32),
        "is_crowd": np.zeros((count, 1), np.int32),
        "gt_poly": [[] for _ in range(count)],
    }


def run(transform, samples, seed=0):
    """The transform on the first sample, the others being its partners."""
    samples = iter(samples)
    first = next(samples)
    context = Context(np.random.default_rng(seed))
    context.partner = samples.__next__
    return transform(first, context)


def five(**settings):
    return [
        make_sample(90 + 30 * (i % 2), 120 - 20 * i, first_class=10 * i, level=40 * i, **settings)
        for i in range(5)
    ]


@pytest.mark.parametrize("mixup", [True, False])
def test_boxes_inside_the_canvas_and_classes_kept_in_order(mixup):
    transform = Mosaic(input_dim=[96, 128], enable_mixup=mixup)
    areas = []
    for seed in range(40):
        result = run(transform, five(), seed)
        boxes_xyxy = result["gt_bbox"]
        assert boxes_xyxy.dtype == np.float32
        assert (boxes_xyxy >= 0).all()
        assert (boxes_xyxy <= [128, 96, 128, 96]).all()
        assert (boxes_xyxy[:, 2:] >= boxes_xyxy[:, :2]).all()
        classes = [0, 10, 20, 30] + [40] * mixup
        np.testing.assert_array_equal(result["gt_class"][:, 0], classes)
        np.testing.assert_array_equal(result["gt_score"], np.ones((len(classes), 1)))
        assert len(result["is_crowd"]) == len(classes)
        assert "gt_poly" not in result
        areas.append(np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1))
    assert (np.array(areas) > 0).mean() > 0.5


@pytest.mark.parametrize("size", [[96, 128], [128, 96], [64, 64]])
def test_the_result_has_the_size_that_was_asked_for(size):
    result = run(Mosaic(input_dim=size), five())
    assert result["image"].render().shape == (*size, 3)
    assert result["image"].size_hw == tuple(size) == (result["h"], result["w"])
    np.testing.assert_array_equal(result["im_shape"], size)
    np.testing.assert_array_equal(result["scale_factor"], [1, 1])


def test_not_square_results_reach_every_corner():
    """Height and width must not be mixed up anywhere: objects come to lie all over the result."""
    samples = [make_sample(30, 120, [(0, 0, 120, 30)]) for _ in range(4)]
    transform = Mosaic(input_dim=[60, 240], enable_mixup=False, **{**STILL, "scale": (0.5, 1)})
    boxes = np.concatenate([run(transform, samples, seed)["gt_bbox"] for seed in range(30)])
    np.testing.assert_array_equal(boxes.min(axis=0)[:2], [0, 0])
    np.testing.assert_array_equal(boxes.max(axis=0)[2:], [240, 60])


def test_the_translation_is_in_units_of_width_and_height():
    still, moved = (
        run(Mosaic(input_dim=[60, 240], enable_mixup=False, **{**STILL, "translate": by}), five())
        for by in ((0, 0), (0.25, 0.25))
    )
    pixels = moved["image"].render()
    np.testing.assert_array_equal(pixels[15:, 60:], still["image"].render()[:45, :180])
    assert (pixels[:15] == GRAY).all()
    assert (pixels[:, :60] == GRAY).all()
    expected = np.minimum(still["gt_bbox"] + [60, 15, 60, 15], [240, 60, 240, 60])
    np.testing.assert_allclose(moved["gt_bbox"], expected)


def test_pixels_vouch_for_boxes():
    """Turned rectangles fill their bounds up to the corners that the turn leaves free."""
    transform = Mosaic(
        input_dim=[200, 260], enable_mixup=False, scale=(0.7, 1.2), translate=(-0.05, 0.05)
    )
    samples = [make_sample(150, 180, [(40, 30, 140, 120)], 7, level=20) for _ in range(4)]
    whole = 0
    for seed in range(20):
        result = run(transform, samples, seed)
        marked = (np.abs(result["image"].render().astype(int) - MARK) < 8).all(axis=2)
        outside = marked.copy()
        for x1, y1, x2, y2 in result["gt_bbox"]:
            left, top = int(np.floor(x1)), int(np.floor(y1))
            right, bottom = int(np.ceil(x2)), int(np.ceil(y2))
            outside[top:bottom, left:right] = False
            if min(x1, y1) > 0 and x2 < 260 and y2 < 200:
                window = marked[top:bottom, left:right]
                assert window.mean() > 0.55
                for edge in (window[:3], window[-3:], window[:, :3], window[:, -3:]):
                    assert edge.any()
                whole += 1
        assert outside.sum() == 0
    assert whole >= 4


def test_tiles_meet_without_gaps_or_fill_between_them():
    """At scale 1 about a drawn center: four squares cover a square of twice their side."""
    samples = [make_sample(50, 50, (), level=10 + 50 * i) for i in range(4)]
    transform = Mosaic(input_dim=[50, 50], enable_mixup=False, **STILL)
    pixels = run(transform, samples, 3)["image"].render()
    rng = np.random.default_rng(3)
    rng.random()  # the draw of prob
    center_y, center_x = (int(rng.uniform(25, 75)) for _ in range(2))
    expected = np.full((100, 100), GRAY)
    for index, (dy, dx) in enumerate([(-50, -50), (-50, 0), (0, -50), (0, 0)]):
        top, left = max(center_y + dy, 0), max(center_x + dx, 0)
        expected[top : center_y + dy + 50, left : center_x + dx + 50] = 10 + 50 * index
    np.testing.assert_array_equal(pixels, np.stack([expected[:50, :50]] * 3, axis=2))


def test_turned_tiles_leave_no_seam():
    samples = [make_sample(80, 80, (), level=200) for _ in range(4)]
    transform = Mosaic(input_dim=[80, 80], enable_mixup=False, scale=(0.9, 1.1), translate=(0, 0))
    for seed in range(10):
        pixels = run(transform, samples, seed)["image"].render()
        assert set(np.unique(pixels)) <= {GRAY, 200}
        rows = (pixels[..., 0] == 200).astype(np.int8)
        assert (np.abs(np.diff(rows, axis=1)).sum(axis=1) <= 2).all()  # one run per row


def test_tile_placement_by_hand():
    """An image 50 x 100 (height x width) fitted into 80 x 80 is 40 x 80 on a canvas 160 x 160."""
    corners = [place_tile(corner, (50, 100), (80, 80), (70, 90)) for corner in range(4)]
    assert [tile.scale for tile in corners] == [0.8] * 4
    assert [(tile.left, tile.top) for tile in corners] == [(-10, 50), (70, 50), (-10, 90), (70, 90)]
    assert [tile.window_xyxy for tile in corners] == [
        (0, 50, 70, 90),
        (70, 50, 150, 90),
        (0, 90, 70, 130),
        (70, 90, 150, 130),
    ]
    boxes_xyxy = np.array([[10, 20, 50, 40]], np.float32)
    np.testing.assert_allclose(corners[1].boxes_on_canvas(boxes_xyxy), [[78, 66, 110, 82]])


def test_warped_boxes_by_hand():
    quarter_turn = np.array([[0.0, -1.0, 100.0], [1.0, 0.0, 5.0]])
    np.testing.assert_array_equal(
        warp_boxes(np.array([[10.0, 20.0, 40.0, 30.0]]), quarter_turn), [[70, 15, 80, 45]]
    )
    assert warp_boxes(np.zeros((0, 4)), quarter_turn).shape == (0, 4)


def test_mixup_is_half_and_half():
    """At scale 1 the fifth image fills the result, so every pixel is the mean of two levels."""
    samples = [make_sample(64, 64, [(8, 8, 40, 40)], 3, level=100) for _ in range(4)]
    samples.append(make_sample(64, 64, [(10, 20, 30, 60)], 9, level=51))
    transform = Mosaic(input_dim=[64, 64], mixup_scale=(1, 1), **STILL)
    mirrored = set()
    for seed in range(12):
        result = run(transform, samples, seed)
        pixels = result["image"].render()
        own = {100, GRAY, *MARK.tolist()}
        added = {51, *MARK.tolist()}
        assert set(np.unique(pixels)) <= {(a + b) // 2 for a in own for b in added}
        assert result["gt_class"][-1, 0] == 9
        box = tuple(result["gt_bbox"][-1].tolist())
        assert box in {(10, 20, 30, 60), (34, 20, 54, 60)}
        mirrored.add(box)
        x1, y1, x2, y2 = (int(edge) for edge in box)
        assert (pixels[y1:y2, x1:x2, 0] >= (100 + int(MARK[0])) // 2).all()
    assert len(mirrored) == 2


def test_small_and_large_fifth_images():
    """A smaller sheet leaves black around it, of a larger one a window is taken; the box follows
    the pixels.
    """
    samples = [make_sample(64, 64, [(0, 0, 64, 64)], level=0) for _ in range(4)]
    samples.append(make_sample(32, 64, [(16, 8, 48, 24)], 9, level=200))
    for scale in (0.5, 1.5):
        transform = Mosaic(input_dim=[64, 64], mixup_scale=(scale, scale), **STILL)
        for seed in range(8):
            result = run(transform, samples, seed)
            x1, y1, x2, y2 = result["gt_bbox"][-1]
            assert (x2 - x1) <= 32 * scale
            assert (y2 - y1) <= 16 * scale
            if scale < 1:
                assert (x2 - x1, y2 - y1) == (16, 8)
                assert y1 == 4
                assert x1 == 8
            window = result["image"].render()[int(y1) : int(y2), int(x1) : int(x2)]
            if window.shape[0] > 4 and window.shape[1] > 4:
                middle = window[2:-2, 2:-2, 2].astype(int)  # blue of MARK is 130
                assert set(np.unique(middle)) <= {(130 + other) // 2 for other in (0, GRAY, 130)}


def test_inputs_are_not_changed():
    samples = five()
    sources = [sample["image"].layers[0].source.array for sample in samples]
    for sample, source in zip(samples, sources):
        source.flags.writeable = False
        for value in sample.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
    copies = [source.copy() for source in sources]
    keys = [list(sample) for sample in samples]
    for seed in range(5):
        run(Mosaic(input_dim=[64, 96]), samples, seed)
    for source, copy in zip(sources, copies):
        np.testing.assert_array_equal(source, copy)
    assert [list(sample) for sample in samples] == keys


def test_same_draws_same_result():
    first, second = (run(Mosaic(input_dim=[64, 64]), five(), 11) for _ in range(2))
    np.testing.assert_array_equal(first["image"].render(), second["image"].render())
    np.testing.assert_array_equal(first["gt_bbox"], second["gt_bbox"])
    other = run(Mosaic(input_dim=[64, 64]), five(), 12)
    assert not np.array_equal(first["gt_bbox"], other["gt_bbox"])


def test_images_without_objects():
    """A mosaic without objects is not mixed; four partners are enough then."""
    for seed in range(5):
        result = run(Mosaic(input_dim=[64, 64]), five(boxes=())[:4], seed)
        assert result["gt_bbox"].shape == (0, 4)
        assert result["gt_class"].shape == (0, 1)
        assert result["image"].size_hw == (64, 64)
    some = [*five(boxes=())[:3], make_sample(first_class=5), make_sample(boxes=())]
    assert run(Mosaic(input_dim=[64, 64]), some)["gt_class"].tolist() == [[5]]


def test_samples_without_ground_truth_and_tiny_images():
    images = [{"image": np.full((1 + i, 3 - i % 3, 3), 9, np.uint8)} for i in range(5)]
    result = run(Mosaic(input_dim=[32, 32]), images)
    assert result["image"].render().shape == (32, 32, 3)
    assert len(result["gt_bbox"]) == 0


def test_changed_images_are_taken_as_they_are_seen():
    """What was decided about an image before (here a crop, mirrored) is what the mosaic shows."""
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, 40:] = 200
    sample = make_sample(boxes=())
    sample["image"] = LazyImage(halves).crop(30, 0, 40, 40).flip()
    transform = Mosaic(input_dim=[40, 40], enable_mixup=False, **STILL)
    seen = run(transform, [sample] * 4, 1)["image"].render()
    plain = {**sample, "image": LazyImage(sample["image"].render())}
    np.testing.assert_array_equal(seen, run(transform, [plain] * 4, 1)["image"].render())


def test_off_without_partners_and_with_prob_0():
    sample = make_sample()
    assert Mosaic()(sample, Context(np.random.default_rng(0))) is sample
    assert run(Mosaic(prob=0.0), [sample]) is sample


def test_probability():
    transform = Mosaic(prob=0.3, input_dim=[32, 32], enable_mixup=False)
    sample = make_sample()
    made = [run(transform, [sample] * 4, seed) is not sample for seed in range(400)]
    assert 0.23 < np.mean(made) < 0.37


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"^input_dim: found \[0, 3\], allowed: a positive"):
        Mosaic(input_dim=[0, 3])
    with pytest.raises(ConfigError, match=r"^scale: found \[0, 2\], allowed: .* above 0"):
        Mosaic(scale=[0, 2])
    with pytest.raises(ConfigError, match=r"^degrees: found \[10, -10\], allowed: \[lower, upper"):
        Mosaic(degrees=[10, -10])
    with pytest.raises(ConfigError, match=r"^mixup_scale: found \[1\], allowed"):
        Mosaic(mixup_scale=[1])
    with pytest.raises(ConfigError, match=r"^mixup_prob: found -0.1, allowed: 0 to 1$"):
        Mosaic(mixup_prob=-0.1)


@pytest.mark.parametrize("transform", [Mosaic, RandomDistort, RandomExpand, RandomFlip])
def test_bad_probabilities(transform):
    for value in (-0.5, 1.5):
        with pytest.raises(ConfigError, match=rf"^prob: found {value}, allowed: 0 to 1$"):
            transform(prob=value)


def test_the_authors_draw_each_axis_apart():
    """Of the map x, y -> out: with no rotation and scale 1 its off-diagonals are the two shears."""
    settings = {**STILL, "shear": (-2, 2), "translate": (-0.1, 0.1), "input_dim": [64, 64]}
    one, apart = (
        np.array([kind(**settings)._draw_matrix(np.random.default_rng(s)) for s in range(300)])
        for kind in (Mosaic, UpstreamMosaic)
    )
    for first, second in ((np.s_[:, 0, 1], np.s_[:, 1, 0]), (np.s_[:, 0, 2], np.s_[:, 1, 2])):
        assert np.corrcoef(one[first], one[second])[0, 1] == pytest.approx(1)
        assert abs(np.corrcoef(apart[first], apart[second])[0, 1]) < 0.2
        np.testing.assert_allclose(apart[first].std(), one[first].std(), rtol=0.15)
