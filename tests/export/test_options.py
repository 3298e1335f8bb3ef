"""What an export is asked to be: allowed values, and what the configuration says."""

import pytest

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.options import ExportOptions, input_size


@pytest.mark.parametrize(
    ("section", "stage"),
    [
        ("{post_process: true, nms: true, benchmark: false, fuse_conv_bn: true}", "nms"),
        ("{nms: false}", "decoded"),
        ("{post_process: false}", "raw"),
        ("{benchmark: true}", "raw"),
    ],
)
def test_settings_of_paddledetection_are_heard(small_config, section, stage):
    cfg = load_config(small_config, [f"export={section}"])
    assert ExportOptions().for_config(cfg).stage == stage
    assert ExportOptions(stage="decoded").for_config(cfg).stage == "decoded"


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (None, (96, 128)),
        (64, (64, 64)),
        ([64], (64, 64)),
        ((64, 96), (64, 96)),
        ("dynamic", None),
        (["dynamic"], None),
    ],
)
def test_input_sizes(small_config, wanted, size):
    options = ExportOptions(input_size=wanted).for_config(load_config(small_config))
    assert options.input_hw == size


@pytest.mark.parametrize(
    ("wanted", "key", "found"),
    [
        ({"stage": "boxes"}, "stage", "boxes"),
        ({"target": "gpu"}, "target", "gpu"),
        ({"target": "cpu", "input_size": "dynamic"}, "target", "cpu .*`input_size`"),
        ({"batch": 0}, "batch", "0"),
        ({"batch": "many"}, "batch", "many"),
        ({"input_size": [100, 96]}, "input_size", "100 96"),
        ({"input_size": [96, 96, 96]}, "input_size", "96 96 96"),
        ({"input_size": ["dynamic", 96]}, "input_size", "dynamic 96"),
    ],
)
def test_values_that_are_not_allowed(wanted, key, found):
    with pytest.raises(UserError, match=f"^`{key}`:? .*{found}"):
        ExportOptions(**wanted)


def test_the_input_size_of_the_configuration(small_config):
    cfg = load_config(small_config, ["TestReader.inputs_def.image_shape=[3,64,160]"])
    assert input_size(cfg) == (64, 160)


@pytest.mark.parametrize("shape", ["null", "[3,100,128]", "[1,96,96]", "[3,-1,-1]", "96"])
def test_unusable_input_sizes_of_the_configuration(small_config, shape):
    cfg = load_config(small_config, [f"TestReader.inputs_def.image_shape={shape}"])
    with pytest.raises(ConfigError, match=r"^TestReader.inputs_def.image_shape: found .*allowed"):
        ExportOptions().for_config(cfg)
