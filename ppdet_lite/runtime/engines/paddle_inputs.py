"""Copies arrays into a predictor of Paddle Inference."""

import numpy as np


def bind_inputs(predictor, inputs: dict[str, np.ndarray]) -> None:
    """Arrays by input name, of any shape that the graph takes, to the predictor's device."""
    for name in predictor.get_input_names():
        handle = predictor.get_input_handle(name)
        handle.reshape(inputs[name].shape)
        handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
