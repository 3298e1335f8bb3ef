"""Compares an exported model, run by Paddle Inference, with the model it was made from."""

import os
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Union

import cv2
import numpy as np
import paddle
from paddle.inference import Config, create_predictor

from ppdet_lite.data.image_ops import Preprocess, decode_image
from ppdet_lite.engine.evaluator import evaluation_mode
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.utils.visualize import list_pictures

SCORE_TOLERANCE = 1e-3
BOX_TOLERANCE_PX = 0.1
BOX_TOLERANCE_SHARE = 5e-4
"""A corner may move by BOX_TOLERANCE_PX plus this share of the longer side of the box."""

_LIMITS = "keep_top_k or the score threshold, where near-ties fall either way"

MAX_PICTURES = 64
"""More pictures would only take longer, and they are all in memory at once."""


class ExportMismatch(Exception):
    """The exported model's detections differ from the trained model's."""


class Comparison(NamedTuple):
    """Two sets of detections of one picture, matched.

    Attributes:
        matched: pairs of the same class whose score and corners agree within the tolerances.
        max_box_px, max_score: largest differences within those pairs.
        lost: rows of the reference without a partner.
        extra: rows of the other set without a partner.
    """

    matched: int
    max_box_px: float
    max_score: float
    lost: np.ndarray
    extra: np.ndarray


def compare_detections(
    reference: np.ndarray,
    other: np.ndarray,
    lowest_score: float = 0.0,
    keep_top_k: Optional[int] = None,
) -> Comparison:
    """Matches detections [M, 6] (class, score, x1, y1, x2, y2), irrespective of their order.

    A row without a partner does not count when its score is so close to the lowest one that can
    be reported that rounding decides about it: `lowest_score`, or the score of the last row when
    all `keep_top_k` places are taken.
    """
    reference, other = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    free = np.ones(len(other), bool)
    lost, box_gaps, score_gaps = [], [0.0], [0.0]
    for row in reference[np.argsort(-reference[:, 1], kind="stable")]:
        score_gap = np.abs(other[:, 1] - row[1])
        box_gap = np.abs(other[:, 2:] - row[2:]).max(axis=1, initial=0)
        side = max(row[4] - row[2], row[5] - row[3], 0)
        close = free & (other[:, 0] == row[0]) & (score_gap <= SCORE_TOLERANCE)
        close &= box_gap <= BOX_TOLERANCE_PX + BOX_TOLERANCE_SHARE * side
        if not close.any():
            lost.append(row)
            continue
        partner = np.flatnonzero(close)[np.argmin((score_gap + box_gap)[close])]
        free[partner] = False
        box_gaps.append(box_gap[partner])
        score_gaps.append(score_gap[partner])
    edge = SCORE_TOLERANCE + max(
        _lowest_reported(reference, lowest_score, keep_top_k),
        _lowest_reported(other, lowest_score, keep_top_k),
    )
    lost, extra = np.array(lost).reshape(-1, 6), other[free]
    return Comparison(
        int((~free).sum()),
        float(max(box_gaps)),
        float(max(score_gaps)),
        lost[lost[:, 1] > edge],
        extra[extra[:, 1] > edge],
    )


def _lowest_reported(rows, lowest_score: float, keep_top_k: Optional[int]) -> float:
    full = keep_top_k is not None and 0 < keep_top_k <= len(rows)
    return float(rows[:, 1].min()) if full else lowest_score


class ExportedModel:
    """An exported folder run by Paddle Inference on the CPU.

    Args:
        folder: holds model.json or model.pdmodel, and model.pdiparams.
        onednn: use the oneDNN kernels, as deployment on a CPU does.
    """

    def __init__(self, folder: Union[str, Path], onednn: bool = False):
        folder = Path(folder)
        graph = folder / "model.json"
        graph = graph if graph.is_file() else folder / "model.pdmodel"
        config = Config(str(graph), str(folder / "model.pdiparams"))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(min(os.cpu_count() or 1, 8))
        if onednn:
            config.enable_mkldnn()
        elif hasattr(config, "disable_mkldnn"):
            config.disable_mkldnn()
        self.predictor = create_predictor(config)

    def __call__(self, inputs: "dict[str, np.ndarray]") -> "tuple[np.ndarray, np.ndarray]":
        """Arrays by input name -> bbox [M, 6], bbox_num [N]."""
        for name in self.predictor.get_input_names():
            handle = self.predictor.get_input_handle(name)
            handle.reshape(inputs[name].shape)
            handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
        self.predictor.run()
        names = self.predictor.get_output_names()
        bbox, bbox_num = (self.predictor.get_output_handle(n).copy_to_cpu() for n in names)
        return bbox, bbox_num


def built_in_picture(height: int = 480, width: int = 640) -> np.ndarray:
    """uint8 [H, W, 3]: coloured shapes of many sizes on a shaded, slightly noisy ground."""
    rng = np.random.default_rng(7)
    ys, xs = np.mgrid[0:height, 0:width]
    ground = np.stack([90 + 80 * xs / width, 70 + 90 * ys / height, 160 - 60 * xs / width], 2)
    image = np.clip(ground + rng.normal(0, 6, ground.shape), 0, 255).astype(np.uint8)
    for index in range(14):
        side = int(12 * 1.28**index) // 2 * 2
        center = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        color = tuple(int(v) for v in rng.integers(0, 256, 3))
        half = max(side // 2, 4)
        if index % 2:
            cv2.circle(image, center, half, color, cv2.FILLED)
        else:
            corner = (center[0] + half, center[1] + half // 2)
            cv2.rectangle(image, (center[0] - half, center[1] - half), corner, color, cv2.FILLED)
    return image


def load_pictures(pictures: Sequence[Union[str, Path]] = ()) -> "dict[str, np.ndarray]":
    """uint8 RGB pictures by name, from files and folders; the built-in one and its mirror image
    when none are named.

    Raises:
        ImageError, DataError: a picture or folder that cannot be used.
    """
    if not pictures:
        image = built_in_picture()
        return {"built-in picture": image, "its mirror image": image[:, ::-1].copy()}
    paths = []
    for picture in map(Path, pictures):
        paths += list_pictures(picture) if picture.is_dir() else [picture]
    if len(paths) > MAX_PICTURES:
        get_logger().info("comparing on the first %d of %d pictures", MAX_PICTURES, len(paths))
    return {str(path): decode_image(path) for path in paths[:MAX_PICTURES]}


def verify_export(
    model, folder: Union[str, Path], infer_cfg: dict, images: "dict[str, np.ndarray]"
) -> None:
    """Runs both models on pictures, singly and as a batch, and compares their detections.

    The exported model runs with Paddle's own kernels and with oneDNN. A oneDNN that cannot run it
    is reported but no failure: deployment then does without it.

    Args:
        images: uint8 RGB by name, as `load_pictures` returns them.

    Raises:
        ExportMismatch: detections differ beyond the tolerances.
    """
    preprocess = Preprocess(infer_cfg["Preprocess"])
    samples = {name: preprocess(image) for name, image in images.items()}
    expected = {name: _trained_rows(model, sample) for name, sample in samples.items()}
    total = sum(len(rows) for rows in expected.values())
    for onednn in (False, True):
        kernels = "oneDNN" if onednn else "plain"
        try:
            exported = ExportedModel(folder, onednn)
            found = {name: exported(_batch([sample]))[0] for name, sample in samples.items()}
            batched = _rows_of_batch(exported, list(samples.values())[:2])
        except (RuntimeError, ValueError, NotImplementedError) as error:
            if not onednn:
                raise
            reason = " ".join(str(error).split())[-200:]
            get_logger().warning("oneDNN cannot run this export on this machine: %s", reason)
            continue
        comparisons = _compare_all(expected, found, infer_cfg)
        names = list(expected)
        comparisons += _compare_all(
            dict(zip(names, (expected[name] for name in names[:2]))),
            dict(zip(names, batched)),
            infer_cfg,
            note=" in a batch",
        )
        matched = sum(c.matched for c in comparisons[: len(samples)])
        rest = f" (the others lie at the limit of {_LIMITS})" if matched < total else ""
        get_logger().info(
            "export verified (%s kernels): %d pictures, %d of %d boxes matched%s, largest "
            "difference %.2g px, %.2g score",
            kernels,
            len(samples),
            matched,
            total,
            rest,
            max(c.max_box_px for c in comparisons),
            max(c.max_score for c in comparisons),
        )
    if total == 0:
        get_logger().warning(
            "the model finds nothing on the pictures compared, so equality of boxes was not shown; "
            "--verify PICTURE ... takes pictures of your own"
        )


def _batch(samples) -> "dict[str, np.ndarray]":
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def _trained_rows(model, sample) -> np.ndarray:
    inputs = {key: paddle.to_tensor(value[None]) for key, value in sample.items()}
    with evaluation_mode(model):
        return model(inputs)["bbox"].numpy()


def _rows_of_batch(exported: ExportedModel, samples) -> "list[np.ndarray]":
    bbox, bbox_num = exported(_batch(samples))
    return np.split(bbox, np.cumsum(bbox_num)[:-1])


def _compare_all(expected, found, infer_cfg: dict, note: str = "") -> "list[Comparison]":
    """A comparison per picture; ExportMismatch naming the first picture that differs."""
    nms = infer_cfg["NMS"]
    thresholds = (nms.get("score_threshold"), nms.get("post_threshold"))
    lowest = max(value or 0.0 for value in (*thresholds, infer_cfg["Decode"]["conf_thresh"]))
    results = []
    for name, rows in expected.items():
        result = compare_detections(rows, found[name], lowest, nms.get("keep_top_k"))
        if len(result.lost) or len(result.extra):
            example = (result.lost if len(result.lost) else result.extra)[0]
            raise ExportMismatch(
                f"the exported model differs from the trained one on {name}{note}: of {len(rows)} "
                f"boxes {result.matched} agree within {SCORE_TOLERANCE} score and "
                f"{BOX_TOLERANCE_PX} px, {len(result.lost)} are missing and {len(result.extra)} "
                f"are new, for instance class {int(example[0])} score {example[1]:.4f} at "
                f"{[round(float(v), 1) for v in example[2:]]}. Nothing was written."
            )
        results.append(result)
    return results
