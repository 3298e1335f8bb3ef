"""ppdet_lite: PP-YOLOv2 and its family on PaddlePaddle, from one YAML file to a deployed model.

from ppdet_lite import Detector, train

run = train("ppyolov2_r50vd_dcn_365e_coco", data="photos", epochs=40)
for result in Detector(run.weights).predict("street.jpg"):
    print(result.names, result.scores, result.boxes_xyxy)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppdet_lite.api.detector import Detector as Detector
    from ppdet_lite.api.training import train as train

__version__ = "0.2.0"
__all__ = ["Detector", "__version__", "train"]

_HOMES = {"Detector": "ppdet_lite.api.detector", "train": "ppdet_lite.api.training"}


def __getattr__(name: str) -> Any:
    """Imports what is asked for; the package alone loads nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ppdet_lite' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list:
    return sorted({*globals(), *_HOMES})
