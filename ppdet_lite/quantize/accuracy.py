"""AP of an exported network on labeled images, run by an engine."""

from typing import Optional, Sequence

import numpy as np

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.evaluate.checks import readable_part
from ppdet_lite.evaluate.classes import check_classes_of_weights
from ppdet_lite.evaluate.evaluator import build_metric
from ppdet_lite.quantize.quantizer import Network
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.runtime.detector import detections_by_image
from ppdet_lite.runtime.engines.engine import stack_samples
from ppdet_lite.utils.logger import progress_bar


class LabeledImages:
    """`EvalDataset` and the metric of a configuration.

    Raises:
        DataError: no images, too many that cannot be read, or other classes than the weights'.
    """

    def __init__(self, cfg: Config, weights: str):
        reader = create("EvalReader", cfg)
        dataset = reader.dataset
        check_classes_of_weights(cfg, weights, dataset)
        share = reader.max_bad_fraction
        self.dataset = readable_part(dataset, share, cfg.settings.check_images)
        if not len(self.dataset):
            raise DataError(f"{dataset.name}: no images to evaluate")
        self.metric = build_metric(cfg, self.dataset, classwise=False)

    def __len__(self) -> int:
        return len(self.dataset)

    def has_objects(self, index: int) -> bool:
        """True if an image has an object that counts."""
        return bool((self.dataset.record(index).get("is_crowd", np.zeros(0)) == 0).any())

    def evaluate(
        self, run: Network, config: InferConfig, indices: Optional[Sequence[int]] = None
    ) -> dict[str, float]:
        """The metric of a network that gives detections.

        Args:
            config: infer_cfg.yml, with preprocessing and batch size.
            indices: of the images; None for all.

        Raises:
            UserError: the network gives numbers that are none.
        """
        preprocess, copies = config.make_preprocess(), config.batch or 1
        self.metric.reset()
        chosen = range(len(self)) if indices is None else indices
        with progress_bar(total=len(chosen), desc="evaluating", unit="image") as bar:
            for index in chosen:
                record = self.dataset.record(index)
                sample = preprocess(decode_image(str(record["im_file"])))
                bbox, bbox_num = run(stack_samples([sample] * copies))[:2]
                rows = detections_by_image(bbox, bbox_num)[0]
                if not np.isfinite(rows).all():
                    file = record["im_file"]
                    raise UserError(f"{file}: the network gives boxes with NaN or infinite numbers")
                self.metric.update(record["im_id"], rows, np.array([len(rows)]))
                bar.update(1)
        return self.metric.results()
