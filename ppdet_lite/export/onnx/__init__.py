"""ONNX graphs: the converted network, decoding and NMS as standard operators."""
