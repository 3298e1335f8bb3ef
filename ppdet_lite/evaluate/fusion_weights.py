"""The fusion weights of ASFF (arXiv:1911.09516) over images, as in the paper's figure."""

import json
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import cv2
import numpy as np
import paddle

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.device.select import prepare_device
from ppdet_lite.evaluate.predictor import Predictor, collect_images
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.utils.drawing import draw_detections
from ppdet_lite.utils.heat_map import Panel, figure, heat_over, panel_image, scale_panel
from ppdet_lite.utils.logger import get_logger

PathLike = Union[str, Path]


def draw_fusion_weights(
    cfg: Config,
    *,
    infer_img: Sequence[PathLike] = (),
    infer_dir: Optional[PathLike] = None,
    output_dir: PathLike = "output",
    draw_threshold: float = 0.5,
) -> list[Path]:
    """Writes for each image NAME a figure NAME_fusion.jpg: the image with its detections, and below
    it, for every level, the weight of each level in every cell; and NAME_fusion.json with the mean
    weights. Returns the figures.

    Args:
        infer_img: images.
        infer_dir: or a folder, walked with its sub-folders, which the results keep.
        draw_threshold: lowest score of the detections that are drawn.

    Raises:
        ConfigError: the network has no such weights.
    """
    paths = collect_images(infer_img, infer_dir, output_dir)
    prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
    predictor = Predictor.from_config(cfg)
    neck = predictor.model.neck
    if not hasattr(neck, "fusion_weights"):
        raise ConfigError(
            f"{cfg.origin(cfg.architecture, 'neck')}: {cfg.architecture}.neck: found "
            f"{type(neck).__name__}, which predicts no fusion weights, allowed: ASFF"
        )
    strides, written = [shape.stride for shape in neck.out_shape], []
    for path in paths:
        image = decode_image(path)
        maps = fusion_maps(predictor, image)
        inside = path.relative_to(infer_dir) if infer_dir else Path(path.name)
        stem = Path(output_dir) / inside.parent / f"{path.stem}_fusion"
        stem.parent.mkdir(parents=True, exist_ok=True)
        shown = draw_detections(image, predictor(image), predictor.classes.names, draw_threshold)
        sheet = cv2.cvtColor(fusion_figure(image, shown, maps, strides), cv2.COLOR_RGB2BGR)
        target = stem.with_name(f"{stem.name}.jpg")
        target.write_bytes(cv2.imencode(".jpg", sheet)[1].tobytes())
        numbers = json.dumps(mean_weights(maps, strides), indent=1)
        stem.with_name(f"{stem.name}.json").write_text(numbers + "\n", encoding="utf-8")
        get_logger().info("%s", target)
        written.append(target)
    return written


def fusion_maps(predictor: Predictor, image_rgb: np.ndarray) -> list[np.ndarray]:
    """Of every level the weights [levels, h, w] on an image uint8 [H, W, 3], without the part of
    the network input that the preprocessing fills up."""
    sample = predictor.preprocess(image_rgb)
    pixels = sample["image"][None]
    with evaluation_mode(predictor.model), paddle.no_grad():
        features = predictor.model.backbone(paddle.to_tensor(pixels))
        levels = [weights.numpy()[0] for weights in predictor.model.neck.fusion_weights(features)]
    shares = np.asarray(sample["im_shape"]).reshape(-1) / pixels.shape[-2:]
    cut = []
    for weights in levels:
        rows, columns = np.maximum(np.rint(shares * weights.shape[1:]), 1).astype(int)
        cut.append(weights[:, :rows, :columns])
    return cut


def mean_weights(maps: Sequence[np.ndarray], strides: Sequence[int]) -> dict[str, Any]:
    """The mean weight of each level in each level, by strides."""
    return {
        f"stride_{stride}": {
            f"from_stride_{source}": round(float(weight.mean()), 4)
            for source, weight in zip(strides, weights)
        }
        for stride, weights in zip(strides, maps)
    }


def fusion_figure(
    image_rgb: np.ndarray,
    detections_rgb: np.ndarray,
    maps: Sequence[np.ndarray],
    strides: Sequence[int],
) -> np.ndarray:
    """The figure, uint8 [H, W, 3] RGB.

    Args:
        image_rgb, detections_rgb: the image without and with its detections.
        maps: see `fusion_maps`.
        strides: of the levels.
    """
    image, shown = panel_image(image_rgb), panel_image(detections_rgb)
    size_hw = (image.shape[0], image.shape[1])
    rows = [[Panel(shown, "detections"), scale_panel(size_hw, "weight of a level in a cell")]]
    for stride, weights in zip(strides, maps):
        rows.append(
            [
                Panel(
                    heat_over(image, weight),
                    f"stride {stride}: from stride {source}, mean {weight.mean():.2f}",
                )
                for source, weight in zip(strides, weights)
            ]
        )
    return figure(rows)
