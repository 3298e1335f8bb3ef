"""Names, shapes and training attributes of all parameters against the reference."""

import json

import numpy as np
import pytest

CONFIGS = ("ppyolov2_r50vd_dcn_365e_coco", "ppyolo_r50vd_dcn_1x_coco", "ppyolo_r18vd_coco")


@pytest.mark.parametrize("name", CONFIGS)
def test_names_shapes_and_counts(name, golden_model, golden_description):
    description = golden_description(name)
    model, _ = golden_model(name)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == description["shapes"]
    trainable = [p for p in model.parameters() if not p.stop_gradient]
    assert len(trainable) == description["n_trainable_tensors"]
    assert sum(int(np.prod(p.shape)) for p in trainable) == description["n_trainable_elements"]


def test_decay_and_rate_of_every_parameter(golden, golden_model):
    reference = json.loads((golden / "optimizer" / f"{CONFIGS[0]}.json").read_text())
    model, _ = golden_model(CONFIGS[0])
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.stop_gradient:  # running statistics
            continue
        own = parameter.regularizer
        decay = reference["global_l2"] if own is None else own._coeff
        found[name] = [decay, parameter.optimize_attr["learning_rate"]]
    assert found == reference["params"]
