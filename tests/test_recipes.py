"""The recipes of docs/architecture.md, to the letter: their code trains, exports and deploys."""

import hashlib
import re

import pytest
import yaml

from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.image_ops import decode_image
from ppdet_lite.evaluate.predictor import Predictor
from ppdet_lite.export.compare import compare_detections
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.train.run import run_training


@pytest.fixture
def config(repo, small_config, tiny_coco, tmp_path):
    """`small_config` with the neck, the transform and the format of the page."""
    page = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python my_parts\.py\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "my_parts.py").write_text("\n\n".join(blocks))
    values = yaml.safe_load(small_config.read_text())
    rest = [{"NormalizeImage": {"is_scale": True}}, {"Permute": {}}]
    steps = [{"Decode": {}}, {"SquareResize": {"side": 96}}, *rest]
    targets = [{"NormalizeBox": {}}, {"PadBox": {"num_max_boxes": 8}}, {"BboxXYXY2XYWH": {}}]
    values.update(
        custom_modules=["my_parts.py"],
        save_dir=str(tmp_path / "output"),
        weights=str(tmp_path / "output" / "recipe" / "model_final"),
        seed=0,
        LearningRate={"base_lr": 1e-5},  # so that it still finds objects everywhere
        PlainNeck={"channels": 16},
        YOLOv3={**values["YOLOv3"], "neck": "PlainNeck"},
        TrainDataset={
            "name": "COCODataSet",
            "dataset_dir": str(tiny_coco),
            "image_dir": "images",
            "anno_path": "annotations/train.json",
        },
        TrainReader={
            "sample_transforms": steps[:2],
            "batch_transforms": [*targets, *rest, {"Gt2YoloTarget": {}}],
            "batch_size": 4,
        },
        TestReader={"sample_transforms": steps, "inputs_def": {"image_shape": [3, 96, 96]}},
        EvalReader={"sample_transforms": steps},
    )
    path = tmp_path / "recipe.yml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_parts_of_a_users_file_are_trained_exported_and_deployed(config, tiny_coco, tmp_path):
    cfg = load_config(config)
    state = run_training(cfg)
    assert type(state.model.neck).__name__ == "PlainNeck" and state.iteration == 2
    folder = export_model(cfg, tmp_path, ExportOptions(formats=["paddle-signed"]))
    digest = hashlib.sha256((folder / "model.pdiparams").read_bytes()).hexdigest()
    assert (folder / "model.sha256").read_text() == digest
    image = decode_image(tiny_coco / "images" / "val_0.jpg")
    expected = Predictor.from_config(cfg)(image)
    assert len(expected) > 10
    result = compare_detections(expected, Detector(folder).predict([image])[0], 0.01, 100)
    assert len(result.lost) == len(result.extra) == 0
