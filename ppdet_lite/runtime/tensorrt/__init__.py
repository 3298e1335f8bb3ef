"""TensorRT inside Paddle Inference: settings, cache, versions."""
