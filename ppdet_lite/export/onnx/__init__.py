"""ONNX graphs: the converted network, decoding and NMS as standard operators."""

OPSET = 19  # the first version of ONNX with DeformConv
IR_VERSION = 9  # goes with the opset
