"""Detections of a trained model on images, behind ppdet infer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Sequence, Union

import numpy as np
import paddle
from paddle import nn

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.device.select import prepare_device
from ppdet_lite.evaluate.checks import check_input_sizes
from ppdet_lite.evaluate.classes import ModelClasses, classes_of_model
from ppdet_lite.evaluate.thresholds import thresholds_for_use
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.evaluate.views.settings import ViewSettings
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.utils.detect_files import ALL_RESULTS, ResultOptions, detect_and_save
from ppdet_lite.utils.detection_rows import Threshold
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.image_ids import match_image_ids
from ppdet_lite.utils.logger import get_logger

PathLike = Union[str, Path]


@dataclass
class Predictor:
    """A trained model with the preprocessing of its `TestReader`."""

    model: nn.Layer
    preprocess: Preprocess
    classes: ModelClasses

    @classmethod
    def from_config(cls, cfg: Config) -> "Predictor":
        """Model with `cfg.weights`, preprocessing and classes as the configuration says."""
        model, weights = load_trained_model(cfg)
        reader = create("TestReader", cfg)
        check_input_sizes(reader, model)
        return cls(model, Preprocess(reader.preprocess_config()), classes_of_model(cfg, weights))

    def __call__(self, image_rgb: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> detections float32 [M, 6]: class, score, x1, y1, x2, y2 in pixels."""
        sample = self.preprocess(image_rgb)
        sample["im_id"] = np.zeros(1, np.int64)
        with evaluation_mode(self.model):
            outputs = self.model({key: paddle.to_tensor(v[None]) for key, v in sample.items()})
        return outputs["bbox"].numpy()


def collect_images(
    infer_img: Sequence[PathLike] = (),
    infer_dir: Optional[PathLike] = None,
    output_dir: Optional[PathLike] = None,
) -> list[Path]:
    """The images to work on: those given, or all of a folder but the results in `output_dir`.

    Raises:
        ConfigError: neither or both of `infer_img` and `infer_dir` are given.
        DataError: an image or folder that is not there, or a folder without images.
    """
    if bool(infer_img) == bool(infer_dir):
        raise ConfigError("give either `infer_img` or `infer_dir`")
    if infer_dir:
        return list_images(infer_dir, skip=output_dir, option="infer_dir")
    images = [Path(path) for path in infer_img]
    for image in (path for path in images if not path.is_file()):
        hint = "is a folder: use `infer_dir`" if image.is_dir() else "no such image"
        raise DataError(f"{image}: {hint}")
    return images


def run_inference(
    cfg: Config,
    *,
    infer_img: Sequence[PathLike] = (),
    infer_dir: Optional[PathLike] = None,
    output_dir: PathLike = "output",
    draw_threshold: Union[float, str] = 0.5,
    save_results: bool = False,
    options: ResultOptions = ALL_RESULTS,
    views: Optional[ViewSettings] = None,
) -> dict[str, np.ndarray]:
    """Detects on images and writes, for each, the image with its boxes and a JSON beside it.

    Args:
        infer_img: images.
        infer_dir: or a folder, walked with its sub-folders, which the results keep.
        draw_threshold: lowest score that is drawn and written; "auto" takes that of each class with
            the best F1, as stored with the weights.
        save_results: also write all detections of the run into one COCO results file `bbox.json`,
            with the image ids of EvalDataset for images that are in it.
        options: classes that are left out, the look of the images, crops.
        views: detect in tiles or on copies of every image.

    Returns:
        Detections [M, 6] (all scores) by image path.

    Raises:
        ImageError: images that cannot be read, named, after all others have been done.
    """
    paths = collect_images(infer_img, infer_dir, output_dir)
    prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
    threshold: Threshold
    if isinstance(draw_threshold, str):
        threshold = thresholds_for_use(cfg)
    else:
        threshold = draw_threshold
    predictor = Predictor.from_config(cfg)
    detect: Callable[[np.ndarray], np.ndarray] = predictor
    if views is not None:
        detect = views.predictor(cfg, predictor.model, "TestReader")
    return detect_and_save(
        lambda images: [detect(image) for image in images],
        decode_image,
        paths,
        root=Path(infer_dir) if infer_dir else None,
        output_dir=output_dir,
        class_names=predictor.classes.names,
        threshold=threshold,
        save_results=save_results,
        category_ids=predictor.classes.category_ids,
        image_ids=ids_of_data(cfg, paths) if save_results else None,
        options=options,
    )


def ids_of_data(cfg: Config, paths: Sequence[Path]) -> Optional[list[int]]:
    """The ids that the evaluation data gives to images; None where it cannot be read here, as on a
    machine without it, or has none of them."""
    try:
        images = create("EvalDataset", cfg).to_coco()["images"] if cfg.get("EvalDataset") else []
    except UserError as error:
        get_logger().info(
            "bbox.json: image_id counts from 0, EvalDataset cannot be read: %s", error
        )
        return None
    pairs = [(int(image["id"]), str(image["file_name"])) for image in images]
    return match_image_ids(paths, pairs, "EvalDataset")
