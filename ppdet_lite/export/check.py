"""Runs an exported model as deployment does and compares it with the model it was made from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Sequence, Union

import cv2
import numpy as np
import paddle
from paddle import nn

from ppdet_lite.core.errors import UserError
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.export.compare import AGREE, Agreement, Arrays, raw_agree, together
from ppdet_lite.export.formats.format import Runner, RunnerWithRaw, Trial
from ppdet_lite.export.graph import DetectorUpTo
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.runtime.contract import FINAL_STAGES, InferConfig
from ppdet_lite.runtime.detector import detections_by_image
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.input_size import STRIDE
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.logger import get_logger

MAX_IMAGES = 64
"""More images would only take longer, and they are all in memory at once."""


class ExportMismatch(UserError):
    """The exported model's outputs differ from the trained model's."""

    exit_code = 1


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
    """uint8 RGB images by name, from files and folders; without any the built-in one and its mirror
    image."""
    if not images:
        image = built_in_image()
        return {"built-in image": image, "its mirror image": image[:, ::-1].copy()}
    named = map(Path, images)
    paths = sum((list_images(path) if path.is_dir() else [path] for path in named), [])
    if len(paths) > MAX_IMAGES:
        get_logger().info("comparing on the first %d of %d images", MAX_IMAGES, len(paths))
    return {str(path): decode_image(path) for path in paths[:MAX_IMAGES]}


@dataclass
class Sample:
    """An image as inputs of the network, without the batch axis, and what the trained model makes
    of it; `name` is for messages."""

    name: str
    inputs: dict[str, np.ndarray]
    model: nn.Layer
    stage: str

    @cached_property
    def expected(self) -> Any:
        """The outputs that an export should give; see `outputs_by_image`."""
        return trained_outputs(self.model, self.inputs, self.stage)

    def candidates(self) -> Any:
        """Boxes [K, 4] and scores [C, K] before NMS; they are large and seldom needed."""
        return trained_outputs(self.model, self.inputs, "decoded")


def trained_outputs(model: nn.Layer, inputs: dict[str, np.ndarray], stage: str) -> Any:
    """The outputs that an export of that stage should give for one preprocessed image."""
    tensors = {key: paddle.to_tensor(value[None]) for key, value in inputs.items()}
    with evaluation_mode(model):
        outputs = [output.numpy() for output in DetectorUpTo(model, stage)(tensors)]
    return outputs_by_image(stage, outputs)[0]


def outputs_by_image(stage: str, outputs: Sequence[np.ndarray]) -> list[Any]:
    """Per image its detections [M, 6]; before NMS its outputs, without the batch axis."""
    if stage in FINAL_STAGES:
        return detections_by_image(*outputs)
    return [list(parts) for parts in zip(*outputs)]


def check_outputs(model: nn.Layer, config: InferConfig, images: dict[str, np.ndarray]) -> None:
    """Raises a UserError for NaN or infinite values in the model's raw outputs: NMS leaves them
    out, so that a broken network would look like one that finds nothing."""
    preprocess = config.make_preprocess()
    for name, image in images.items():
        for i, output in enumerate(trained_outputs(model, preprocess(image), "raw")):
            if bad := 1 - np.isfinite(output).mean():
                raise UserError(
                    f"{100 * bad:.3g} % of raw output {i} of the trained model on {name} are NaN "
                    "or infinite; the training that wrote these weights had diverged, use an "
                    "earlier checkpoint"
                )


def verify_export(
    model: nn.Layer, trials: Sequence[Trial], config: InferConfig, images: dict[str, np.ndarray]
) -> None:
    """Runs the trained model and its export in all engines, and compares their outputs.

    Raises:
        ExportMismatch: outputs differ beyond the tolerances.
        UserError: an engine that the export was made for cannot run it, or is not installed.
    """
    batches = make_batches(model, config, images)
    results = []
    for trial in trials:
        try:
            runner = trial.open()
            agreements = sum((_compare(runner, trial, batch, config) for batch in batches), [])
        except EngineError as error:
            problem = f"{error.graph.name}: {error.problem}"
            if not trial.may_fail:
                raise UserError(f"{problem}. Nothing was written.") from error
            get_logger().warning("on this machine %s", problem)
            continue
        results.append(result := together(agreements))
        get_logger().info("export verified (%s): %d images, %s", trial.name, len(images), result)
    if not results:
        get_logger().warning("no engine has run the export, so it was not compared")
    elif min(result.share for result in results) <= 0.5:
        found = "nothing" if results[-1].total == 0 else "hardly a box that stands out"
        get_logger().warning(
            "the model finds %s on the images compared, so equality of boxes was not shown; use "
            "images of your own (`verify`)",
            found,
        )


def make_batches(
    model: nn.Layer, config: InferConfig, images: dict[str, np.ndarray]
) -> list[list[Sample]]:
    """The images that run together: each alone, the first two (of one image it and its mirror
    image), and the first in another size, as far as batch and input size are free; else batches of
    the size that was fixed."""
    preprocess, count = config.make_preprocess(), config.batch or 1

    def sample(name: str, image: np.ndarray, preprocess: Preprocess = preprocess) -> Sample:
        return Sample(name, preprocess(image), model, config.stage)

    samples = [sample(name, image) for name, image in images.items()]
    name, image = next(iter(images.items()))
    batches = [samples[i : i + count] for i in range(0, len(samples), count)]
    if config.batch is None:
        twin = sample(f"the mirror image of {name}", np.ascontiguousarray(image[:, ::-1]))
        batches.append([*samples, twin][:2])
    if config.takes_any_size:
        height, width = samples[0].inputs["image"].shape[1:]
        other = config.with_input_size(height + STRIDE, max(width - STRIDE, STRIDE))
        batches.append([sample(f"{name} in another size", image, other.make_preprocess())])
    return [batch + batch[-1:] * (count - len(batch)) for batch in batches]


def _compare(
    runner: Runner, trial: Trial, batch: Sequence[Sample], config: InferConfig
) -> list[Agreement]:
    """An agreement per image; ExportMismatch naming the first image that differs."""
    inputs = {key: np.stack([s.inputs[key] for s in batch]) for key in batch[0].inputs}
    outputs = runner.run(inputs)
    if isinstance(runner, RunnerWithRaw) and runner.raw_count:
        raw, outputs = outputs[-runner.raw_count :], outputs[: -runner.raw_count]
        _check_behind_raw(raw, outputs, trial, batch, config)
    found = outputs_by_image(config.stage, outputs)
    if len(found) != len(batch):
        raise ExportMismatch(
            f"the exported model ({trial.name}) gives outputs of {len(found)} images for "
            f"{len(batch)}. Nothing was written."
        )
    agree, agreements = AGREE[config.stage], []
    for sample, of_image in zip(batch, found):
        agreements.append(
            agree(sample.expected, of_image, config, sample.candidates, trial.tolerances)
        )
        _refuse(agreements[-1], f"({trial.name}) differs from the trained one", sample, batch)
    return agreements


def _check_behind_raw(
    raw: Arrays, outputs: Arrays, trial: Trial, batch: Sequence[Sample], config: InferConfig
) -> None:
    """ExportMismatch if raw outputs differ from the trained model's by more than the tolerances of
    the trial, or if what was made of them differs by more than those of float32: a wrong decoding
    may move boxes by no more than the rounding before it."""
    model = batch[0].model
    expected = [trained_outputs(sample.model, sample.inputs, "raw") for sample in batch]
    for i, sample in enumerate(batch):
        agreement = raw_agree(expected[i], [level[i] for level in raw], tolerances=trial.tolerances)
        _refuse(agreement, f"({trial.name}): its raw output differs", sample, batch)
    inputs = {key: np.stack([s.inputs[key] for s in batch]) for key in batch[0].inputs}
    decoded, detections = outputs_behind_raw(model, raw, inputs)
    is_final, found = config.stage in FINAL_STAGES, outputs_by_image(config.stage, outputs)
    for i, sample in enumerate(batch):
        candidates = [array[i] for array in decoded]
        made = detections[i] if is_final else candidates
        agreement = AGREE[config.stage](made, found[i], config, lambda c=candidates: c)
        text = f"({trial.name}) makes something else of its raw outputs than the trained one"
        _refuse(agreement, text, sample, batch)


def outputs_behind_raw(
    model: nn.Layer, raw: Arrays, inputs: dict[str, np.ndarray]
) -> tuple[Arrays, list[np.ndarray]]:
    """Boxes and scores, and the detections per image, that a model makes of raw outputs."""
    levels = [paddle.to_tensor(level) for level in raw]
    shapes = [paddle.to_tensor(inputs[key]) for key in ("im_shape", "scale_factor")]
    with evaluation_mode(model), paddle.no_grad():
        decoded = [array.numpy() for array in model.decode(levels, *shapes)]
        bbox, bbox_num = model.post_process(levels, model.head.levels, *shapes)
    return decoded, detections_by_image(bbox.numpy(), bbox_num.numpy())


def _refuse(agreement: Agreement, text: str, sample: Sample, batch: Sequence[Sample]) -> None:
    if agreement.complaint is not None:
        where = sample.name + (" in a batch" if len(batch) > 1 else "")
        raise ExportMismatch(
            f"the exported model {text} on {where}: {agreement.complaint}. Nothing was written."
        )
