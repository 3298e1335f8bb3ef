"""The evaluation of a trained model, behind ppdet eval."""

import os
from functools import partial
from typing import Optional

from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import create
from ppdet_lite.device.ranks import init_ranks
from ppdet_lite.device.select import prepare_device
from ppdet_lite.evaluate.checks import check_input_sizes, readable_part, tell_detection_limit
from ppdet_lite.evaluate.classes import check_classes_of_weights
from ppdet_lite.evaluate.evaluator import RESULTS_FILE, Evaluator
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.evaluate.views.evaluator import ViewEvaluator
from ppdet_lite.evaluate.views.settings import ViewSettings


def run_evaluation(
    cfg: Config,
    *,
    classwise: Optional[bool] = None,
    json_eval: bool = False,
    output_eval: Optional[str] = None,
    views: Optional[ViewSettings] = None,
) -> dict[str, float]:
    """Evaluates `cfg.weights` on `EvalDataset` and returns the metric's numbers.

    Args:
        classwise: a table with one line per class; None takes `cfg.classwise`.
        json_eval: compute the metric of an existing `bbox.json` in `output_eval` without running
            the network.
        output_eval: folder of `bbox.json`; None takes `cfg.output_eval`, else the output folder of
            the configuration.
        views: detect in tiles or on copies of every image, one image after the other.

    Raises:
        CheckpointError: no weights, or weights that do not belong to the model.
        ConfigError: the model cannot take the sizes that the reader makes.
        DataError: no images, other classes, an image that cannot be read, or an unusable
            `bbox.json`.
    """
    folder = os.path.expanduser(output_eval or cfg.settings.output_eval or cfg.output_folder)
    if json_eval:
        evaluator = Evaluator(cfg, classwise=classwise, output_eval=folder)
        return evaluator.results_of_json(os.path.join(folder, RESULTS_FILE))
    prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
    init_ranks()
    model, weights = load_trained_model(cfg)
    reader = create("EvalReader", cfg)
    check_classes_of_weights(cfg, weights, reader.dataset)
    dataset = readable_part(reader.dataset, reader.max_bad_fraction, cfg.settings.check_images)
    options: dict = {"classwise": classwise, "output_eval": folder}
    options.update(dataset=dataset, reader=reader)
    evaluator = Evaluator(cfg, **options)
    if views is not None:
        make = partial(views.predictor, cfg, reader="EvalReader")
        evaluator = ViewEvaluator(cfg, make, **options)
    check_input_sizes(evaluator.reader, model)
    tell_detection_limit(dataset, model)
    return evaluator.run(model)
