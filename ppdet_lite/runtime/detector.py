"""One detector over all engines: images in, boxes out."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.runtime.contract import FINAL_STAGES, ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, Engine, stack_samples
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions
from ppdet_lite.runtime.process import EngineProcess

__all__ = ["Detector", "open_engine"]


def detections_by_image(bbox: np.ndarray, bbox_num: np.ndarray) -> list[np.ndarray]:
    """Detections [M, 6] of each image, from the outputs of one of FINAL_STAGES: bbox [D, 6], or
    [N, keep_top_k, 6] with places that are not taken, and counts [N]."""
    if bbox.ndim == 3:
        return [rows[:count] for rows, count in zip(bbox, bbox_num)]
    return np.split(bbox.reshape(-1, 6), np.cumsum(bbox_num)[:-1])


class Detector:
    """An exported detector on one device. It is safe to share between threads: calls of `predict`
    and `run` take turns at the engine.

    Args:
        model_dir: folder written by ppdet export.
        device, run_mode, options: see `EngineOptions`.
        batch_size: the largest number of images at once; TensorRT builds its engine for it unless
            `tensorrt` names another.
        own_process: run Paddle in a process of its own, so that other threads of this one work
            while it computes. Call `close` at the end.
        input_size: height and width of the network input, for an export that leaves them open.

    Attributes:
        class_names, category_ids: by class index; the categories of the training data, or None.
        threshold, thresholds: `draw_threshold` of infer_cfg.yml, and the best one of each class, or
            None.

    Raises:
        DataError, ConfigError: a file that is missing or cannot be used, by name.
        UserError: a device, run mode or package that is not available.
    """

    def __init__(
        self,
        model_dir: Union[str, Path],
        device: str = "CPU",
        run_mode: str = "paddle",
        *,
        batch_size: int = 1,
        own_process: bool = False,
        input_size: Optional[Sequence[int]] = None,
        **options: Any,
    ):
        chosen = EngineOptions(device=device, run_mode=run_mode, **options)
        if chosen.tensorrt.batch_size is None:
            chosen = replace(chosen, tensorrt=replace(chosen.tensorrt, batch_size=batch_size))
        self.files = ModelFolder(model_dir, chosen.reads, input_size, precision=chosen.precision)
        config = self.files.config
        if config.stage not in FINAL_STAGES:
            raise ConfigError(
                f"`model_dir` {self.files.path}: exported up to the stage {config.stage}, so it "
                "gives no detections; export it up to the stage nms"
            )
        self.class_names, self.category_ids = config.class_names, config.category_ids
        self.threshold, self.thresholds = config.draw_threshold, config.thresholds
        self.engine: Engine
        if own_process and chosen.engine == "paddle":
            count = config.batch or max(batch_size, chosen.tensorrt.batch_size or 1)
            self.engine = EngineProcess(self.files, chosen, count)
        else:
            self.engine = open_engine(self.files, chosen)

    def close(self) -> None:
        """Ends the engine's own process, if there is one."""
        self.engine.close()

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB images of any size, run as one batch.

        Returns:
            For each image float32 [M, 6]: class, score, x1, y1, x2, y2 in its pixels, the highest
            score first.
        """
        return self.run([self.preprocess(image) for image in images])

    def preprocess(self, image: np.ndarray) -> Arrays:
        """uint8 [H, W, 3] RGB -> the network's inputs for it, without the batch axis."""
        return self.files.preprocess(image)

    def run(self, samples: list[Arrays]) -> list[np.ndarray]:
        """The network on preprocessed images; see `predict` for the result."""
        if not samples:
            return []
        batch = self.fixed_batch or len(samples)
        if len(samples) > batch:
            is_exported = self.files.config.batch is not None
            reason = "was exported for" if is_exported else "has a TensorRT engine for"
            raise UserError(
                f"{self.files.path}: {len(samples)} images at once, but this model {reason} "
                f"{batch}; use `batch_size` {batch}"
            )
        filled_up = samples + samples[-1:] * (batch - len(samples))
        bbox, bbox_num = self.engine.run(stack_samples(filled_up))[:2]
        found = detections_by_image(bbox, bbox_num)[: len(samples)]
        return [rows[np.argsort(-rows[:, 1], kind="stable")] for rows in found]

    @property
    def fixed_batch(self) -> Optional[int]:
        """The only number of images the network takes at once; fewer are filled up."""
        return self.files.config.batch or self.engine.fixed_batch
