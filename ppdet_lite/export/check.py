"""Runs an exported model as deployment does and compares it with the model it was made from."""

from functools import partial
from pathlib import Path
from typing import Callable, NamedTuple, Sequence, Union

import cv2
import numpy as np
import paddle

from ppdet_lite.core.errors import UserError
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.export.compare import AGREE, compare_detections, summary
from ppdet_lite.export.graph import DetectorUpTo
from ppdet_lite.export.options import with_input_size
from ppdet_lite.export.runners import EngineError, trials
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.logger import get_logger

__all__ = [
    "ExportMismatch",
    "built_in_image",
    "compare_detections",
    "load_images",
    "verify_export",
]

MAX_IMAGES = 64
"""More images would only take longer, and they are all in memory at once."""


class ExportMismatch(Exception):
    """The exported model's outputs differ from the trained model's."""


def built_in_image(height: int = 480, width: int = 640) -> np.ndarray:
    """uint8 [H, W, 3]: colored shapes of many sizes on a shaded, slightly noisy ground."""
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


def load_images(images: Sequence[Union[str, Path]] = ()) -> dict[str, np.ndarray]:
    """uint8 RGB images by name, from files and folders; the built-in one and its mirror image
    when none are named.

    Raises:
        ImageError, DataError: an image or folder that cannot be used.
    """
    if not images:
        image = built_in_image()
        return {"built-in image": image, "its mirror image": image[:, ::-1].copy()}
    paths = []
    for path in map(Path, images):
        paths += list_images(path) if path.is_dir() else [path]
    if len(paths) > MAX_IMAGES:
        get_logger().info("comparing on the first %d of %d images", MAX_IMAGES, len(paths))
    return {str(path): decode_image(path) for path in paths[:MAX_IMAGES]}


def check_outputs(model, infer_cfg: dict, images: dict[str, np.ndarray]) -> None:
    """Makes sure that the model to be exported gives numbers, on the first image.

    NMS leaves out what is none, so that a broken network would look like one that finds nothing.

    Raises:
        UserError: NaN or infinite values in its raw outputs.
    """
    name, image = next(iter(images.items()))
    sample = Preprocess(infer_cfg["Preprocess"])(image)
    for i, output in enumerate(trained_outputs(model, sample, "raw")):
        bad = 1 - np.isfinite(output).mean()
        if bad:
            raise UserError(
                f"{100 * bad:.3g} % of raw output {i} of the trained model on {name} are NaN or "
                "infinite; the training that wrote these weights had diverged, use an earlier "
                "checkpoint"
            )


class Case(NamedTuple):
    """Preprocessed images that run together, and what the trained model makes of each.

    Attributes:
        names: one per image, for messages.
        batch: inputs by name; may repeat the last image to fill a fixed batch.
        expected: per image the outputs of the stage, see `outputs_by_image`.
        candidates: per image a function that gives the trained model's boxes [K, 4] and scores
            [C, K] before NMS; they are large and seldom needed.
    """

    names: list[str]
    batch: dict[str, np.ndarray]
    expected: list
    candidates: list[Callable]


def verify_export(
    model, folder: Union[str, Path], infer_cfg: dict, images: dict[str, np.ndarray]
) -> None:
    """Runs both models on images, singly and as a batch, and compares their outputs.

    The export runs in every engine it was made for: in Paddle Inference with Paddle's own kernels
    and with oneDNN, an .onnx in ONNX Runtime and, if it is installed, OpenVINO. A oneDNN or
    OpenVINO that cannot run it is reported but no failure. Where the input size is free, one
    image runs in another size as well.

    Args:
        images: uint8 RGB by name, as `load_images` returns them.

    Raises:
        ExportMismatch: outputs differ beyond the tolerances.
        UserError: an engine that it was made for cannot run it, or is not installed.
    """
    cases = make_cases(model, infer_cfg, images)
    total, shares = 0, [1]
    for trial in trials(folder):
        try:
            runner = trial.make()
            agreements = _compare_cases(runner, cases, infer_cfg)
        except EngineError as error:
            if not trial.may_fail:
                raise UserError(f"{error}. Nothing was written.") from error
            get_logger().warning("on this machine %s", error)
            continue
        matched, total = (sum(numbers) for numbers in zip(*(a[1:3] for a in agreements)))
        shares.append(matched / total if total else 0)
        get_logger().info(
            "export verified (%s): %d images, %s", runner.name, len(images), summary(agreements)
        )
    if min(shares) <= 0.5:
        found = "nothing" if total == 0 else "hardly a box that stands out"
        get_logger().warning(
            "the model finds %s on the images compared, so equality of boxes was not shown; "
            "--verify IMAGE ... takes images of your own",
            found,
        )


def make_cases(model, infer_cfg: dict, images: dict[str, np.ndarray]) -> list[Case]:
    """What is run: each image, the first two together (of one image it and its mirror image),
    and the first in another size, as far as batch and input size are free; else batches of the size
    that was fixed.
    """
    stage, fixed = infer_cfg["stage"], infer_cfg["batch_size"]
    preprocess = Preprocess(infer_cfg["Preprocess"])
    names, samples = list(images), [preprocess(image) for image in images.values()]
    count = max(fixed, 1)
    groups = [(names[i : i + count], samples[i : i + count]) for i in range(0, len(samples), count)]
    if fixed < 1:
        pair, of_pair = samples[:2], names[:2]
        if len(samples) == 1:
            pair.append(preprocess(np.ascontiguousarray(images[names[0]][:, ::-1])))
            of_pair.append(f"the mirror image of {names[0]}")
        groups.append(([f"{name} in a batch" for name in of_pair], pair))
    if infer_cfg["image_shape"][1] < 1:
        height, width = samples[0]["image"].shape[1:]
        other = with_input_size(infer_cfg["Preprocess"], height + 32, max(width - 32, 32))
        sample = Preprocess(other)(images[names[0]])
        groups.append(([f"{names[0]} in another size"], [sample] * count))
    known = {}  # the trained model looks at each sample once, and alone
    for _, group in groups:
        for sample in group:
            if id(sample) not in known:
                known[id(sample)] = trained_outputs(model, sample, stage)
    cases = []
    for group_names, group in groups:
        full = group + group[-1:] * (count - len(group))
        batch = {key: np.stack([sample[key] for sample in full]) for key in group[0]}
        expected = [known[id(sample)] for sample in group]
        candidates = [partial(trained_outputs, model, sample, "decoded") for sample in group]
        cases.append(Case(group_names, batch, expected, candidates))
    return cases


def trained_outputs(model, sample: dict[str, np.ndarray], stage: str):
    """What an export of that stage should return for one preprocessed image; see
    `outputs_by_image`.
    """
    inputs = {key: paddle.to_tensor(value[None]) for key, value in sample.items()}
    with evaluation_mode(model):
        outputs = [output.numpy() for output in DetectorUpTo(model, stage)(inputs)]
    return outputs_by_image(stage, outputs)[0]


def outputs_by_image(stage: str, outputs: list[np.ndarray]) -> list:
    """Per image its detections [M, 6]; before NMS its outputs, without the batch axis."""
    if stage == "nms":
        bbox, bbox_num = outputs
        return np.split(bbox, np.cumsum(bbox_num)[:-1])
    return [list(parts) for parts in zip(*outputs)]


def _compare_cases(runner, cases: list[Case], infer_cfg: dict) -> list:
    """An agreement per image; ExportMismatch naming the first image that differs."""
    stage, agreements = infer_cfg["stage"], []
    for case in cases:
        found = outputs_by_image(stage, runner(case.batch))
        for name, expected, candidates, outputs in zip(
            case.names, case.expected, case.candidates, found
        ):
            further = {"candidates": candidates} if stage == "nms" else {}
            agreement = AGREE[stage](expected, outputs, infer_cfg, **further)
            if agreement.complaint is not None:
                raise ExportMismatch(
                    f"the exported model ({runner.name}) differs from the trained one on {name}: "
                    f"{agreement.complaint}. Nothing was written."
                )
            agreements.append(agreement)
    return agreements
