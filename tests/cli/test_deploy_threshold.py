"""`--threshold auto` of the deployment: for each class the score with the best F1."""

import json
import shutil

import pytest
import yaml

from ppdet_lite.cli.deploy import main
from ppdet_lite.core.errors import ConfigError


def test_each_class_has_its_own_threshold(exported, tiny_coco, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    settings = yaml.safe_load((model / "infer_cfg.yml").read_text(encoding="utf-8"))
    image = str(tiny_coco / "images" / "val_0.jpg")
    options = ["--model_dir", str(model), "--image_file", image, "--output_dir", str(tmp_path)]
    with pytest.raises(ConfigError, match="`threshold`: found auto, but .* has no thresholds"):
        main([*options, "--threshold", "auto"])
    settings["thresholds"] = [1.0, 0.0]
    (model / "infer_cfg.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    main([*options, "--threshold", "auto"])
    written = json.loads((tmp_path / "val_0.json").read_text())
    assert written["threshold"] == [1.0, 0.0]
    assert {found["class_name"] for found in written["detections"]} == {"circle"}
    with pytest.raises(ConfigError, match="`threshold`: found 2.0, allowed: 0 to 1"):
        main([*options, "--threshold", "2"])
