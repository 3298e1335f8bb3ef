"""The version of ONNX that is written."""

OPSET = 19
"""The first with DeformConv."""

IR_VERSION = 9
"""Goes with the opset."""
