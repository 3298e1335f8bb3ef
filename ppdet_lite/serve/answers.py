"""The answers of the server: their JSON, and images with drawn boxes."""

import re
from typing import Optional, Sequence

import cv2
import numpy as np
from pydantic import BaseModel, Field

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.serve.refused import Refused
from ppdet_lite.serve.service import Detected
from ppdet_lite.serve.settings import ServeSettings
from ppdet_lite.utils.detection_rows import detection_records
from ppdet_lite.utils.drawing import class_color, draw_detections, text_color

JSON = "application/json"
DRAWN = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
"""Media types of drawn images, and the endings by which OpenCV knows them."""

JPEG_QUALITY = 92


class Detection(BaseModel):
    """An object that was found."""

    class_id: int = Field(description="index of the class", examples=[0])
    class_name: str = Field(description="its name", examples=["person"])
    score: float = Field(description="0 to 1", examples=[0.871263])
    box: list[float] = Field(
        description="x1, y1, x2, y2 in pixels of the upright image",
        examples=[[52.31, 28.402, 201.55, 310.98]],
    )


class ImageAnswer(BaseModel):
    """An image and what was found on it, the highest score first."""

    name: str = Field(description="file name, or `body`", examples=["street.jpg"])
    width: int = Field(description="of the upright image", examples=[640])
    height: int = Field(description="of the upright image", examples=[480])
    detections: list[Detection]


class Times(BaseModel):
    """Milliseconds; of the slowest image where there are several."""

    decode: float = Field(description="decoding and resizing", examples=[6.1])
    queue: float = Field(description="waiting for the network", examples=[3.4])
    network: float = Field(description="the run of the network, with NMS", examples=[41.7])
    total: float = Field(description="from the first byte to the answer", examples=[52.0])


class Answer(BaseModel):
    """Detections of all images of a request, in their order."""

    model: str = Field(description="name of the model", examples=["ppyolov2_r50vd_dcn_365e_coco"])
    images: list[ImageAnswer]
    batch: int = Field(description="images in the largest run of the network", examples=[8])
    times_ms: Times


class Problem(BaseModel):
    """The reason for which a request was not answered."""

    error: str = Field(examples=["notes.jpg: not an image; images may be JPEG, PNG, ..."])
    status: int = Field(description="the HTTP status", examples=[422])


class ClassInfo(BaseModel):
    """A class, and the colors in which it is drawn."""

    name: str
    color: str = Field(examples=["#f20d1a"])
    text_color: str = Field(examples=["#ffffff"])


class ModelInfo(BaseModel):
    """The model of the server, and the limits of a request."""

    name: str
    classes: list[ClassInfo]
    threshold: float = Field(description="default of the lowest score")
    input_size: Optional[list[int]] = Field(description="height, width; null where it is open")
    engine: str
    device: str
    max_batch: int
    max_bytes: int
    max_pixels: int
    max_images: int


def model_name(detector: Detector) -> str:
    """The name of the export, or of its folder."""
    return detector.files.config.model_name or detector.files.path.resolve().name


def describe_model(detector: Detector, settings: ServeSettings) -> ModelInfo:
    """The model as users see it."""
    colors = [class_color(index) for index in range(len(detector.class_names))]
    classes = [
        ClassInfo(name=name, color=_hex(color), text_color=_hex(text_color(color)))
        for name, color in zip(detector.class_names, colors)
    ]
    size = detector.files.preprocess.output_hw
    return ModelInfo(
        name=model_name(detector),
        classes=classes,
        threshold=detector.threshold,
        input_size=None if size is None else list(size),
        engine=detector.engine.kernels,
        device=detector.engine.device,
        max_batch=detector.fixed_batch or settings.max_batch,
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
        max_images=settings.max_images,
    )


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def describe(
    detector: Detector, found: Sequence[Detected], threshold: float, seconds: float
) -> Answer:
    """The answer for the images of a request; `seconds` are those of the whole request."""
    images = [
        ImageAnswer(
            name=one.name,
            width=one.size_hw[1],
            height=one.size_hw[0],
            detections=[
                Detection(**record)
                for record in detection_records(one.rows, detector.class_names, threshold)
            ],
        )
        for one in found
    ]
    times = Times(
        **{
            stage: round(1000 * max(getattr(one, f"{stage}_s") for one in found), 3)
            for stage in ("decode", "queue", "network")
        },
        total=round(1000 * seconds, 3),
    )
    batch = max(one.batch for one in found)
    return Answer(model=model_name(detector), images=images, batch=batch, times_ms=times)


def drawn(
    detector: Detector, content: bytes, rows: np.ndarray, threshold: float, media_type: str
) -> bytes:
    """An image file with boxes and labels, from the file that was sent and its detections [M, 6].

    Raises:
        ImageError: the format cannot hold the image.
    """
    # Decoded again, rather than kept in memory while it waited for the network.
    image = draw_detections(decode_image(content), rows, detector.class_names, threshold)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if media_type == "image/jpeg" else []
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    try:
        done, data = cv2.imencode(DRAWN[media_type], bgr, options)
    except cv2.error as error:  # WebP has at most 16383 pixels a side
        raise ImageError(" ".join(str(error).split())[:200]) from error
    if not done:
        raise ImageError(f"an image of {image.shape[1]}x{image.shape[0]}")
    return bytes(data)


def wanted_type(accept: str) -> str:
    """The media type of the answer: JSON, or one of DRAWN.

    Args:
        accept: the header `Accept`: media types with their q (RFC 9110, section 12.5.1). JSON is
            preferred among equals, and for what browsers send with an address.

    Raises:
        Refused: 406 where none of them can be given.
    """
    ranges = [_media_range(part) for part in (accept or "*/*").split(",")]

    def quality(media_type: str) -> float:
        group = media_type.partition("/")[0]
        for pattern in (media_type, f"{group}/*", "*/*"):
            if values := [q for name, q in ranges if name == pattern]:
                return max(values)
        return 0.0

    best = max((JSON, *DRAWN), key=quality)  # the first among equals
    if quality(best) <= 0:
        allowed = ", ".join((JSON, *DRAWN))
        raise Refused(406, f"Accept: found {accept[:80]}, allowed: {allowed}")
    return best


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if match := re.fullmatch(r"q\s*=\s*([01](?:\.\d{0,3})?)", parameter):
            return name, float(match[1])
    return name, 1.0
