"""One detector over all engines: images in, boxes out."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, Engine, stack_samples
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions
from ppdet_lite.runtime.process import EngineProcess

__all__ = ["Detector", "open_engine"]


class Detector:
    """An exported detector on one device. Threads may share it: their batches take turns.

    Args:
        model_dir: folder written by tools/export_model.py.
        device: "CPU", "GPU" or "XPU".
        run_mode: "paddle", or for TensorRT "trt_fp32", "trt_fp16", "trt_int8".
        batch_size: the largest number of images at once, as far as it is known; TensorRT builds
            its engine for it unless `tensorrt` names another.
        own_process: run Paddle in a process of its own, so that other threads of this one work
            while it computes. Call `close` at the end.
        input_size: height and width of the network input, for an export that leaves them open.
        options: further ones of `EngineOptions`: engine, cpu_threads, enable_mkldnn, tensorrt ...

    Attributes:
        class_names: by class index.
        category_ids: by class index, the category of the training data; None where none is known.
        threshold: lowest score to draw, as infer_cfg.yml says.

    Raises:
        DataError, ConfigError: files that are missing or cannot be used, each named.
        UserError: a device, run mode or package that is not there.
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
            tensorrt = replace(chosen.tensorrt, batch_size=batch_size)
            chosen = replace(chosen, tensorrt=tensorrt)
        self.files = ModelFolder(model_dir, chosen.engine, input_size)
        stage = self.files.config.stage
        if stage != "nms":
            raise ConfigError(
                f"`model_dir` {self.files.path}: exported up to the stage {stage}, so it gives no "
                "detections; export it up to the stage nms"
            )
        config = self.files.config
        self.class_names, self.category_ids = config.class_names, config.category_ids
        self.threshold = config.draw_threshold
        self.engine: Engine
        if own_process and chosen.engine == "paddle":
            count = config.batch or max(batch_size, chosen.tensorrt.batch_size or 1)
            self.engine = EngineProcess(self.files, chosen, count)
        else:
            self.engine = open_engine(self.files, chosen)

    def close(self) -> None:
        """Ends the engine's own process; without one there is nothing to do."""
        self.engine.close()

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB images of any size, run as one batch.

        Returns:
            For each image float32 [M, 6]: class, score, x1, y1, x2, y2 in its pixels, the highest
            score first (the network's own order is by class where its NMS is the greedy one).
        """
        return self.run([self.preprocess(image) for image in images])

    def preprocess(self, image: np.ndarray) -> Arrays:
        """uint8 [H, W, 3] RGB -> the network's inputs for it, without the batch axis."""
        return self.files.preprocess(image)

    def run(self, samples: list[Arrays]) -> list[np.ndarray]:
        """The network on preprocessed images; see `predict` for the result."""
        if not samples:
            return []
        bbox, bbox_num = self.engine.run(stack_samples(self._filled_up(samples)))[:2]
        found = np.split(bbox.reshape(-1, 6), np.cumsum(bbox_num)[:-1])[: len(samples)]
        return [rows[np.argsort(-rows[:, 1], kind="stable")] for rows in found]

    @property
    def fixed_batch(self) -> Optional[int]:
        """The only number of images the network takes at once; fewer are filled up."""
        return self.files.config.batch or self.engine.fixed_batch

    def _filled_up(self, samples: list[Arrays]) -> list[Arrays]:
        """A network for one batch size gets the last image again where some are missing."""
        batch = self.fixed_batch
        if batch is None or len(samples) == batch:
            return samples
        if len(samples) > batch:
            is_exported = self.files.config.batch is not None
            reason = "was exported for" if is_exported else "has a TensorRT engine for"
            raise UserError(
                f"{self.files.path}: {len(samples)} images at once, but this model {reason} "
                f"{batch}; use `batch_size` {batch}"
            )
        return samples + samples[-1:] * (batch - len(samples))
