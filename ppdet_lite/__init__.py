"""ppdet_lite: PP-YOLOv2 and its family on PaddlePaddle, from one YAML file to a deployed model."""

__version__ = "0.2.0"
