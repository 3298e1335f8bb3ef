"""SimOTA by hand, against a loop over the objects, and without objects."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth, pad_ground_truth, rows_at
from ppdet_lite.modeling.assigners.sim_ota import SimOTAAssigner

FAR = [900.0, 900.0, 910.0, 910.0]


def grid(side=4, stride=8):
    """Centers [A, 2] and strides [A] of a square map."""
    rows, columns = np.mgrid[:side, :side]
    centers = (np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * stride
    return centers.astype(np.float32), np.full(side * side, stride, np.float32)


def truth(boxes, labels):
    boxes, labels = np.float32(boxes).reshape(-1, 4), np.int32(labels).reshape(-1, 1)
    return pad_ground_truth([paddle.to_tensor(boxes)], [paddle.to_tensor(labels)])


def assign(scores, boxes, objects, assigner=None, cells=None):
    centers, strides = grid() if cells is None else cells
    assigner = SimOTAAssigner() if assigner is None else assigner
    arrays = (np.float32(scores), np.float32(boxes), centers, strides)
    return assigner(*map(paddle.to_tensor, arrays), objects).numpy()


def predictions(places, classes=2, cells=16):
    """Scores of one half [1, C, A] and boxes [1, A, 4] far away but for `places`: cell -> box."""
    boxes = np.tile(np.float32(FAR), (1, cells, 1))
    for cell, box in places.items():
        boxes[0, cell] = box
    return np.full((1, classes, cells), 0.5, np.float32), boxes


# Cell 5 has its center at (12, 12), cell 6 at (20, 12), cell 9 at (12, 20), cell 10 at (20, 20).


def test_as_many_cells_as_the_overlaps_sum_up_to():
    box = [6.0, 6.0, 22.0, 22.0]  # holds the centers of 5, 6, 9 and 10
    three_quarters = [6.0, 6.0, 18.0, 22.0]
    half = [6.0, 6.0, 14.0, 22.0]
    scores, boxes = predictions({5: box, 6: half, 9: three_quarters, 10: half})
    found = assign(scores, boxes, truth([box], [0]))
    # 1 + 0.75 + 0.5 + 0.5 = 2.75: the two cheapest
    assert np.flatnonzero(found[0] >= 0).tolist() == [5, 9]
    boxes[0, 6] = three_quarters  # 3: three
    found = assign(scores, boxes, truth([box], [0]))
    assert np.flatnonzero(found[0] >= 0).tolist() == [5, 6, 9]


def test_an_object_that_nothing_overlaps_still_takes_a_cell():
    scores, boxes = predictions({})
    scores[0, 1, 10] = 0.9  # the only difference
    found = assign(scores, boxes, truth([[6.0, 6.0, 22.0, 22.0]], [1]))
    assert np.flatnonzero(found[0] >= 0).tolist() == [10]


def test_cells_inside_the_object_come_before_better_ones_outside():
    box = [8.5, 8.5, 15.5, 15.5]  # holds the center of cell 5 only
    scores, boxes = predictions({9: box})
    found = assign(scores, boxes, truth([box], [0]))
    assert np.flatnonzero(found[0] >= 0).tolist() == [5]


def test_an_object_between_the_centers_takes_the_best_cell_near_it():
    box = [13.0, 13.0, 19.0, 19.0]
    scores, boxes = predictions({10: box})
    found = assign(scores, boxes, truth([box], [0]))
    assert np.flatnonzero(found[0] >= 0).tolist() == [10]


def test_cells_outside_differ_in_steps_of_eight_as_in_the_reference():
    """The recorded assignments have it so: see `OUTSIDE`."""
    box = [13.0, 13.0, 19.0, 19.0]
    scores, boxes = predictions({10: box, 5: [13.0, 13.0, 19.0, 16.0]})  # 3 ln 2 apart
    found = assign(scores, boxes, truth([box], [0]))
    assert np.flatnonzero(found[0] >= 0).tolist() == [5]


def test_a_center_on_the_border_is_outside():
    box = [12.0, 4.0, 28.0, 20.0]  # through the centers of 5 and 9, round that of 6 (and 7 on top)
    scores, boxes = predictions({5: box, 9: box})
    found = assign(scores, boxes, truth([box], [0]))
    assert (found[0] >= 0).sum() == 2
    assert found[0, 6] == 0


def test_a_cell_goes_to_the_cheaper_object_by_class():
    box = [6.0, 6.0, 16.0, 16.0]  # one center inside
    scores, boxes = predictions({5: box})
    scores[0, :, 5] = 0.2, 0.8
    found = assign(scores, boxes, truth([box, box], [0, 1]))
    assert found[0, 5] == 1
    found = assign(scores, boxes, truth([box, box], [1, 0]))
    assert found[0, 5] == 0


def test_the_square_is_measured_in_cells_of_the_level():
    center = [15.9, 15.9, 16.1, 16.1]
    cells = (np.float32([[14.0, 16.0], [26.0, 16.0]]), np.float32([4.0, 4.0]))
    scores, boxes = predictions({}, cells=2)
    found = assign(scores, boxes, truth([center], [0]), cells=cells)
    assert found.tolist() == [[0, -1]]  # the square reaches to 26, its border left out
    wider = SimOTAAssigner(center_radius=2.6)
    boxes[0, 1] = center
    found = assign(scores, boxes, truth([center], [0]), wider, cells)
    assert found.tolist() == [[-1, 0]]


def test_nothing_for_objects_outside_and_images_without_objects():
    scores, boxes = predictions({})
    assert (assign(scores, boxes, truth([], [])) == -1).all()
    assert (assign(scores, boxes, truth([[500.0, 500.0, 520.0, 520.0]], [0])) == -1).all()


def test_fewer_cells_than_candidates():
    scores, boxes = predictions({0: [1.0, 1.0, 7.0, 7.0]}, cells=1)
    cells = (np.float32([[4.0, 4.0]]), np.float32([8.0]))
    assert assign(scores, boxes, truth([[1.0, 1.0, 7.0, 7.0]], [1]), cells=cells).tolist() == [[0]]


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_scores_of_zero_and_one_cost_a_finite_amount(certain):
    scores, boxes = predictions({5: [6.0, 6.0, 16.0, 16.0]})
    scores[:] = certain
    found = assign(scores, boxes, truth([[6.0, 6.0, 16.0, 16.0]], [0]))
    assert found[0, 5] == 0


def loop_over_objects(scores, boxes, centers, strides, gt_boxes, gt_labels):
    """The rule of the paper, object by object, in float64; [A] indices."""
    count, cells = len(gt_boxes), len(centers)
    if not count:
        return np.full(cells, -1)
    x, y = centers.T.astype(np.float64)
    cost, overlap = np.zeros((count, cells)), np.zeros((count, cells))
    near, both = np.zeros((count, cells), bool), np.zeros((count, cells), bool)
    for i, (x1, y1, x2, y2) in enumerate(gt_boxes.astype(np.float64)):
        inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
        reach = 2.5 * strides
        square = (abs(x - (x1 + x2) / 2) < reach) & (abs(y - (y1 + y2) / 2) < reach)
        near[i], both[i] = inside | square, inside & square
        for a, (u1, v1, u2, v2) in enumerate(boxes.astype(np.float64)):
            common = max(0, min(x2, u2) - max(x1, u1)) * max(0, min(y2, v2) - max(y1, v1))
            overlap[i, a] = common / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common)
            p = scores[:, a].astype(np.float64)
            label = np.arange(len(p)) == gt_labels[i]
            entropy = -np.log(np.where(label, p, 1 - p)).sum()
            cost[i, a] = entropy - 3 * np.log(overlap[i, a] + 1e-7)
    cost[~both] += 1e6
    takes = np.zeros((count, cells), bool)
    open_cells = np.flatnonzero(near.any(axis=0))
    for i in range(count):
        best = np.sort(overlap[i, open_cells])[::-1][:10]
        order = open_cells[np.argsort(cost[i, open_cells])]
        takes[i, order[: max(1, int(best.sum()))]] = True
    owner = np.full(cells, -1)
    for a in range(cells):
        if takes[:, a].sum() == 1:
            owner[a] = takes[:, a].argmax()
        elif takes[:, a].sum() > 1:
            owner[a] = cost[:, a].argmin()
    return owner


def test_a_batch_equals_a_loop_over_images_and_objects():
    rng = np.random.default_rng(0)
    coarse, fine = grid(4, 16), grid(8, 8)
    cells = tuple(np.concatenate(pair) for pair in zip(fine, coarse))
    count, classes, images = len(cells[1]), 3, 6
    scores = rng.uniform(0.02, 0.98, (images, classes, count)).astype(np.float32)
    center = cells[0][None] + rng.normal(0, 4, (images, count, 2))
    half = rng.uniform(4, 20, (images, count, 2))
    boxes = np.concatenate([center - half, center + half], axis=2).astype(np.float32)
    gt_boxes, gt_labels = [], []
    for objects in (0, 1, 3, 7, 2, 5):
        middle, extent = rng.uniform(12, 52, (objects, 2)), rng.uniform(10, 22, (objects, 2))
        gt_boxes.append(np.float32(np.concatenate([middle - extent, middle + extent], axis=1)))
        gt_labels.append(rng.integers(0, classes, (objects, 1)).astype(np.int32))
    objects = pad_ground_truth(
        [paddle.to_tensor(b) for b in gt_boxes], [paddle.to_tensor(c) for c in gt_labels]
    )
    found = assign(scores, boxes, objects, cells=cells)
    for i in range(images):
        expected = loop_over_objects(scores[i], boxes[i], *cells, gt_boxes[i], gt_labels[i].ravel())
        np.testing.assert_array_equal(found[i], expected, err_msg=f"image {i}")
    assert [(found[i] >= 0).any() for i in range(images)] == [False] + [True] * 5


def test_empty_places_between_objects_do_not_count():
    scores, boxes = predictions({5: [6.0, 6.0, 16.0, 16.0]})
    objects = GroundTruth(
        paddle.to_tensor([[[0.0] * 4, [6.0, 6.0, 16.0, 16.0], [20.0, 6.0, 20.0, 30.0]]]),
        paddle.to_tensor([[0, 1, 0]]),
        paddle.to_tensor([[False, True, False]]),
    )
    assert set(assign(scores, boxes, objects).ravel().tolist()) == {-1, 1}


def test_ground_truth_as_list_as_stack_and_zero_padded_is_the_same():
    boxes = np.float32([[[1, 2, 5, 6], [3, 3, 9, 8]], [[0, 0, 4, 4], [0, 0, 0, 0]]])
    labels = np.int32([[[4], [2]], [[7], [0]]])
    stacked = pad_ground_truth(paddle.to_tensor(boxes), paddle.to_tensor(labels))
    listed = pad_ground_truth(
        [paddle.to_tensor(boxes[0]), paddle.to_tensor(boxes[1, :1])],
        [paddle.to_tensor(labels[0, :, 0]), paddle.to_tensor(labels[1, :1, 0])],
    )
    for one, other in zip(stacked, listed):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert listed.valid.numpy().tolist() == [[True, True], [True, False]]
    assert listed.labels.numpy().tolist() == [[4, 2], [7, 0]]


@pytest.mark.parametrize("stacked", [True, False])
def test_no_object_in_the_whole_batch_leaves_one_empty_place(stacked):
    boxes, labels = paddle.zeros([2, 0, 4]), paddle.zeros([2, 0, 1], dtype="int32")
    if not stacked:
        boxes, labels = [boxes[0], boxes[1]], [labels[0], labels[1]]
    objects = pad_ground_truth(boxes, labels)
    assert objects.boxes_xyxy_px.shape == [2, 1, 4]
    assert not objects.valid.any()


def test_rows_at_takes_each_images_own_rows():
    table = paddle.arange(12).reshape([2, 3, 2])
    found = rows_at(table, paddle.to_tensor([[2, 0], [1, 1]]))
    assert found.numpy().tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"use_vfl": True}, "use_vfl: found True, allowed: false"),
        ({"candidate_topk": 0}, "candidate_topk: found 0, allowed: 1 or more"),
        ({"center_radius": 0}, "center_radius: found 0, allowed: a number above 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create("SimOTAAssigner", Config({"SimOTAAssigner": arguments}))
