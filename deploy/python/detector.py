"""The `Detector` of an exported model, for programs of your own; see ppdet_lite/runtime.

import sys

sys.path.insert(0, "deploy/python")
from detector import Detector

detector = Detector("output_inference/ppyolov2_r50vd_dcn_365e_coco")
rows = detector.predict([image])[0]  # image: uint8 [H, W, 3], RGB
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppdet_lite.runtime.detector import Detector  # noqa: E402

__all__ = ["Detector"]
