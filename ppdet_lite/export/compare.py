"""Comparing what an exported model gives with what the trained one gives."""

import math
from typing import Any, Callable, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.runtime.contract import InferConfig

Arrays = Sequence[np.ndarray]


class Tolerances(NamedTuple):
    """Differences from the trained model that an export may have.

    Attributes:
        score: of scores.
        box_px, box_share: of the corners of a box: pixels, plus this share of its longer side.
        raw_share: of raw outputs, as a share of the largest of their map.
        raw_norm: of whole maps of raw outputs, by Euclidean norm.
        unmatched_share: of boxes that differ by more, as a share of all, rounded up.
    """

    score: float
    box_px: float
    box_share: float
    raw_share: float
    raw_norm: float = math.inf
    unmatched_share: float = 0.0


FLOAT32 = Tolerances(score=1e-3, box_px=0.1, box_share=5e-4, raw_share=1e-3)
FLOAT16 = Tolerances(
    score=0.03, box_px=1.0, box_share=0.02, raw_share=0.15, raw_norm=0.03, unmatched_share=0.1
)
"""Of float16 networks. Each number is rounded by up to 2^-11 of it, and the errors grow from layer
to layer: of trained networks YOLOX-nano, with many thin layers, differed most among those measured
on photos (docs/reproduction.md), by 0.065 of the largest raw output, 0.015 by norm, and 8 % of the
boxes of an image by more than 0.02 score or 1 px and 2 %, without any loss of AP."""


class Agreement(NamedTuple):
    """The result of comparing outputs with those of the trained model."""

    things: str  # for instance "boxes"
    matched: int
    total: int  # given by the trained model
    gaps: dict[str, float]  # largest difference by unit, among those that agree
    complaint: Optional[str] = None  # None when the outputs are equal within the tolerances
    beyond: int = 0  # differ by more than the tolerances, but are so few that they may

    @property
    def share(self) -> float:
        """Share of those that agree; 0 if there was nothing to compare."""
        return self.matched / self.total if self.total else 0.0

    def __str__(self) -> str:
        """For instance: 12 of 13 boxes matched (...), largest difference 2e-05 px, 1e-07 score."""
        counts = f"{self.matched} of {self.total} {self.things} matched"
        beyond = f"{self.beyond} beyond the tolerances" if self.beyond else ""
        if self.matched + self.beyond < self.total:
            beyond += ", " if beyond else ""
            counts += f" ({beyond}the others lie at the limit of keep_top_k or the score "
            counts += "threshold, where near-ties fall either way)"
        elif beyond:
            counts += f" ({beyond})"
        gaps = ", ".join(f"{gap:.2g} {unit}" for unit, gap in self.gaps.items())
        return f"{counts}, largest difference {gaps}"


def together(agreements: Sequence[Agreement]) -> Agreement:
    """One for all images, of which none has a complaint."""
    gaps = {unit: max(a.gaps[unit] for a in agreements) for unit in agreements[0].gaps}
    matched, total = sum(a.matched for a in agreements), sum(a.total for a in agreements)
    beyond = sum(a.beyond for a in agreements)
    return Agreement(agreements[0].things, matched, total, gaps, beyond=beyond)


class Comparison(NamedTuple):
    """Two sets of detections of one image, matched."""

    matched: int  # pairs of the same class whose score and corners agree within the tolerances
    max_box_px: float  # largest differences within those pairs
    max_score: float
    lost: np.ndarray  # rows of the reference without a partner
    extra: np.ndarray  # rows of the other set without a partner
    at_limit: np.ndarray  # rows of the other set without a partner that do not count


def compare_detections(
    reference: np.ndarray,
    other: np.ndarray,
    lowest_score: float = 0.0,
    keep_top_k: int = -1,
    tolerances: Tolerances = FLOAT32,
) -> Comparison:
    """Matches detections [M, 6] (class, score, x1, y1, x2, y2), irrespective of their order.

    A row without a partner does not count when the other set may have cut it off, by rounding:
    its score is within the tolerance of the lowest one that the other set could report. That is
    `lowest_score`, or the score of the last row when all `keep_top_k` places are taken. Scores of
    equal networks differ by no more than the tolerance, and so do these two limits; where they do
    not, every row counts.
    """
    reference, other = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    free = np.ones(len(other), bool)
    without_partner, box_gaps, score_gaps = [], [0.0], [0.0]
    for row in reference[np.argsort(-reference[:, 1], kind="stable")]:
        score_gap = np.abs(other[:, 1] - row[1])
        box_gap = np.abs(other[:, 2:] - row[2:]).max(axis=1, initial=0)
        close = free & (other[:, 0] == row[0]) & (score_gap <= tolerances.score)
        close &= box_gap <= box_tolerance(row[None, 2:], tolerances)
        if not close.any():
            without_partner.append(row)
            continue
        partner = np.flatnonzero(close)[np.argmin((score_gap + box_gap)[close])]
        free[partner] = False
        box_gaps.append(float(box_gap[partner]))
        score_gaps.append(float(score_gap[partner]))
    lost, extra = np.array(without_partner).reshape(-1, 6), other[free]
    limit, other_limit = (
        max(rows[:, 1].min(), lowest_score) if 0 < keep_top_k <= len(rows) else lowest_score
        for rows in (reference, other)
    )
    at_limit = np.zeros(len(extra), bool)
    if abs(limit - other_limit) <= tolerances.score:
        # Not "above the limit": a score that is no number counts.
        lost = lost[~(lost[:, 1] <= other_limit + tolerances.score)]
        at_limit = extra[:, 1] <= limit + tolerances.score
    gaps = max(box_gaps), max(score_gaps)
    return Comparison(int((~free).sum()), *gaps, lost, extra[~at_limit], extra[at_limit])


def box_tolerance(boxes_xyxy_px: np.ndarray, tolerances: Tolerances = FLOAT32) -> np.ndarray:
    """Pixels by which each corner of boxes [M, 4] may move: [M]."""
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    return tolerances.box_px + tolerances.box_share * sides.max(axis=1, initial=0)


def invented(
    rows: np.ndarray, boxes: np.ndarray, scores: np.ndarray, tolerances: Tolerances = FLOAT32
) -> np.ndarray:
    """Those of the detections [M, 6] that no NMS could make of candidates with boxes [K, 4] and
    scores [C, K]: it leaves boxes as they are and never raises a score."""
    room = box_tolerance(boxes, tolerances)
    wrong = np.ones(len(rows), bool)
    for i, (class_index, score, *corners) in enumerate(rows):
        if class_index in range(len(scores)):
            close = np.abs(boxes - corners).max(axis=1, initial=0) <= room
            wrong[i] = not (close & (scores[int(class_index)] >= score - tolerances.score)).any()
    return rows[wrong]


def detections_agree(
    expected: np.ndarray,
    found: np.ndarray,
    config: InferConfig,
    candidates: Any = None,
    tolerances: Tolerances = FLOAT32,
) -> Agreement:
    """Detections [M, 6] of one image; the limits of scores are those of infer_cfg.yml.

    Rows of the export that do not count because they lie at the limit must be among `candidates()`,
    the boxes and scores from which the trained model makes its detections. Of a model of which
    nothing stands out those can be all rows.
    """
    thresholds = [config.nms.get(key) for key in ("score_threshold", "post_threshold")]
    lowest = max(value or 0.0 for value in [*thresholds, config.decode["conf_thresh"]])
    if (most := config.nms.get("candidates")) and candidates is not None:
        lowest = max(lowest, _best_left_out(candidates()[1], most))
    keep_top_k = config.nms.get("keep_top_k", -1)
    result = compare_detections(expected, found, lowest, keep_top_k, tolerances)
    complaint, wrong = f"of {len(expected)} boxes {result.matched} agree", result.lost[:0]
    unmatched = max(len(result.lost), len(result.extra))
    if unmatched > math.ceil(tolerances.unmatched_share * len(expected)):
        wrong = np.concatenate([result.lost, result.extra])
        complaint += (
            f" within {tolerances.score} score and {tolerances.box_px} px, {len(result.lost)} are "
            f"missing and {len(result.extra)} are new"
        )
    elif len(result.at_limit) and candidates is not None:
        boxes, scores = candidates()
        wrong = invented(result.at_limit, boxes, scores, tolerances)
        complaint += f", and {len(wrong)} of the others are none that the trained model could give"
    if len(wrong):
        number, score, *corners = wrong[0].tolist()
        corners = [round(value, 1) for value in corners]
        complaint += f", for instance class {int(number)} score {score:.4f} at {corners}"
    gaps = {"px": result.max_box_px, "score": result.max_score}
    problem = complaint if len(wrong) else None
    return Agreement("boxes", result.matched, len(expected), gaps, problem, len(result.lost))


def _best_left_out(scores: np.ndarray, most: int) -> float:
    """The highest of the scores [C, K] behind the best `most`: what a graph that takes no more
    candidates gives below it may differ."""
    if scores.size <= most:
        return 0.0
    return float(np.partition(scores, -most - 1, axis=None)[-most - 1])


def decoded_agree(
    expected: Arrays,
    found: Arrays,
    config: InferConfig,
    _: Any = None,
    tolerances: Tolerances = FLOAT32,
) -> Agreement:
    """Boxes [M, 4] and scores [C, M] of one image. A candidate below the decoder's threshold is all
    zeros; at the threshold either side may drop it."""
    arrays = (np.asarray(array, np.float64) for array in (*expected, *found))
    boxes, scores, other_boxes, other_scores = arrays
    if boxes.shape != other_boxes.shape or scores.shape != other_scores.shape:
        shapes = f"{boxes.shape} and {scores.shape}, not {other_boxes.shape}, {other_scores.shape}"
        return Agreement("boxes", 0, len(boxes), {}, f"boxes and scores should be {shapes}")
    edge = config.decode["conf_thresh"] + tolerances.score
    dropped = ~boxes.any(axis=1) ^ ~other_boxes.any(axis=1)
    at_edge = dropped & (scores.max(axis=0) <= edge) & (other_scores.max(axis=0) <= edge)
    box_gap = np.abs(boxes - other_boxes).max(axis=1)
    score_gap = np.abs(scores - other_scores).max(axis=0)
    close = ~dropped & (score_gap <= tolerances.score)
    close &= box_gap <= box_tolerance(boxes, tolerances)
    wrong = np.flatnonzero(~(close | at_edge))
    gaps = {"px": box_gap[close].max(initial=0), "score": score_gap[close].max(initial=0)}
    complaint = None
    if len(wrong) > math.ceil(tolerances.unmatched_share * len(boxes)):
        i = wrong[0]
        complaint = (
            f"{len(wrong)} of {len(boxes)} candidates differ, for instance number {i} by "
            f"{box_gap[i]:.3g} px and {score_gap[i]:.3g} score"
        )
    return Agreement("candidates", int(close.sum()), len(boxes), gaps, complaint, len(wrong))


def raw_agree(
    expected: Arrays,
    found: Arrays,
    _config: Any = None,
    _candidates: Any = None,
    tolerances: Tolerances = FLOAT32,
) -> Agreement:
    """Raw outputs of one image, level by level."""
    limits = {"of the largest value": tolerances.raw_share, "of the norm": tolerances.raw_norm}
    limits = {unit: limit for unit, limit in limits.items() if math.isfinite(limit)}
    complaint, largest = None, dict.fromkeys(limits, 0.0)
    if len(expected) != len(found):
        complaint = f"{len(found)} outputs, not {len(expected)}"
    for i, (level, other) in enumerate(zip(expected, found)):
        if level.shape != other.shape:
            complaint = f"output {i} is {other.shape}, not {level.shape}"
            break
        for unit, limit in limits.items():
            order = None if unit == "of the norm" else np.inf
            sizes = [float(np.linalg.norm(x.ravel(), order)) for x in (level - other, level)]
            gap = sizes[0] / max(sizes[1], 1e-6)
            if not gap <= limit:  # no number fails as well
                complaint = complaint or f"output {i} differs by {gap:.3g} {unit}, allowed: {limit}"
            largest[unit] = max(largest[unit], gap)
    good = 0 if complaint else len(expected)
    return Agreement("outputs", good, len(expected), largest, complaint)


AGREE: dict[str, Callable] = {
    "nms": detections_agree,
    "nms_fixed": detections_agree,
    "decoded": decoded_agree,
    "raw": raw_agree,
}
"""By stage: (expected, found, config, candidates, tolerances) of one image -> `Agreement`."""
