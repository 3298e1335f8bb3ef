"""Greedy NMS per class as darknet has it, in numpy: the definition that other forms follow."""

from typing import Callable

import numpy as np

from ppdet_lite.ops.boxes_np import iou_matrix

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Boxes [N, 4] and [M, 4] to [N, M]; above the threshold the worse box goes."""


def diou_measure(beta: float) -> Measure:
    """IoU - (squared distance of the centers / squared diagonal of the hull)^beta.

    beta 1 is the published measure (arXiv:1911.08287); darknet's greedynms has 0.6.
    """

    def measure(boxes_a_xyxy: np.ndarray, boxes_b_xyxy: np.ndarray) -> np.ndarray:
        a, b = boxes_a_xyxy[:, None], boxes_b_xyxy[None]
        hull = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
        diagonal = (hull**2).sum(axis=2)
        centers = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
        share = (centers**2).sum(axis=2) / np.where(diagonal > 0, diagonal, 1)
        found: np.ndarray = iou_matrix(boxes_a_xyxy, boxes_b_xyxy) - share**beta
        return found

    return measure


def greedy_nms(
    boxes_xyxy: np.ndarray, scores: np.ndarray, threshold: float, measure: Measure = iou_matrix
) -> np.ndarray:
    """True for the scores that stay: boxes [N, 4] and scores [N, C] to [N, C].

    By class, the best score first; scores of 0 are no candidates.
    """
    kept = np.zeros(scores.shape, bool)
    for label, column in enumerate(scores.T):
        order = np.argsort(-column, kind="stable")
        order = order[column[order] > 0]
        while len(order):
            kept[order[0], label] = True
            near = measure(boxes_xyxy[order[:1]], boxes_xyxy[order])[0] > threshold
            near[0] = True
            order = order[~near]
    return kept
