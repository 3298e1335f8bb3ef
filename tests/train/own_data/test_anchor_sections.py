"""`ppdet data anchors`: where configurations hold anchors, and the YAML that replaces them."""

import numpy as np
import pytest

from ppdet_lite.commands.data.anchors import build_parser, main
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.train.own_data.anchor_sections import anchor_settings, input_of, masks_for


def settings(repo, name):
    return anchor_settings(load_config(repo / "configs" / name))


def test_settings_of_every_kind_of_head(repo):
    found = settings(repo, "ppyolo/ppyolo_mbv3_large_coco.yml")
    assert found.head == "YOLOv3Head" and found.anchors[0].tolist() == [11, 18]
    assert found.masks == [[3, 4, 5], [0, 1, 2]]
    assert found[3:] == (0.25, "Gt2YoloTarget.iou_thresh")
    found = settings(repo, "yolov4/yolov4_cspdarknet53_coco.yml")
    assert found.head == "YOLOv4Head" and found[3:] == (0.213, "YOLOv4Loss.iou_thresh")
    assert settings(repo, "yolov4/yolov4_tiny_coco.yml").threshold is None  # the best one only
    found = settings(repo, "asff/yolov3_asff_coco.yml")
    assert found.head == "GuidedAnchorHead" and found.anchors.shape == (9, 2)
    found = settings(repo, "yolox/roadmap/roadmap_2_decoupled_head_coco.yml")
    assert found.masks == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert masks_for(6, found) == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ConfigError, match="architecture: found YOLOX,"):
        settings(repo, "yolox/yolox_s_300e_coco.yml")


def test_inputs(repo):
    csp = load_config(repo / "configs/yolov4/yolov4_csp_coco.yml")
    assert input_of(csp) == ((640, 640), True)
    assert input_of(csp, (320, 416)) == ((320, 416), True)
    ppyolo = load_config(repo / "configs/ppyolo/ppyolo_r18vd_coco.yml")
    assert input_of(ppyolo) == ((512, 512), False)


def test_masks():
    assert masks_for(6) == [[4, 5], [2, 3], [0, 1]]
    with pytest.raises(ConfigError, match="`count`: found 8, allowed: a multiple of the 3"):
        masks_for(8)


TARGETS = """
architecture: YOLOv3
num_classes: 2
YOLOv3: {{backbone: DarkNet, neck: YOLOv3FPN, yolo_head: YOLOv3Head}}
YOLOv3Head: {{anchors: &anchors [[10, 13], [30, 61], [116, 90]], anchor_masks: &masks [[2], [1], [0]]}}
TrainDataset: {{name: COCODataSet, dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json}}
TrainReader:
  batch_transforms:
    - NormalizeBox: {{}}
    - PadBox: {{num_max_boxes: 50}}
    - BboxXYXY2XYWH: {{}}
    - Gt2YoloTarget: {{anchors: *anchors, anchor_masks: *masks, iou_thresh: 0.6}}
TestReader: {{inputs_def: {{image_shape: [3, 96, 128]}}}}
"""  # fmt: skip  # noqa: E501


def test_the_yaml_replaces_head_and_reader(tiny_coco, tmp_path, capsys):
    (tmp_path / "base.yml").write_text(TARGETS.format(data=tiny_coco))
    options = ["-c", str(tmp_path / "base.yml"), "--generations", "50"]
    main(build_parser().parse_args(options))
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].endswith("train.json: 14 objects at 96 x 128")
    assert "recall at 0.6" in lines[1] and "Gt2YoloTarget.iou_thresh" in lines[1]
    before, after = (float(line.split()[-1]) for line in lines[2:4])
    assert after > before > 0
    (tmp_path / "own.yml").write_text(f"_BASE_: ./base.yml\n{text}")
    cfg = load_config(tmp_path / "own.yml")
    found = anchor_settings(cfg)
    target = create("TrainReader", cfg).batch_transforms[-1]
    np.testing.assert_array_equal(target.anchors, found.anchors)
    assert found.anchors.max() < 60 and found.masks == [[2], [1], [0]] and found.threshold == 0.6
    main(build_parser().parse_args(options))
    assert capsys.readouterr().out.splitlines()[5:] == lines[5:]  # the seed


def test_without_configuration(tiny_coco, capsys):
    json = str(tiny_coco / "annotations" / "train.json")
    options = ["--annotations", json, "--size", "64", "--anchors", "3", "--generations", "10"]
    main(build_parser().parse_args(options))
    text = capsys.readouterr().out
    assert "at 64 x 64" in text and "anchor_masks: [[2], [1], [0]]" in text
    main(build_parser().parse_args([str(tiny_coco), *options[2:]]))
    assert capsys.readouterr().out.splitlines()[5:] == text.splitlines()[5:]


@pytest.mark.parametrize(
    "options, text",
    [
        (["--annotations", "a.json"], "`size`: missing"),
        (["folder", "--annotations", "a.json"], "either FOLDER or `annotations`"),
        ([], "give FOLDER"),
        (["folder", "--size", "0"], "`size`: found 0"),
        (["folder", "--threshold", "1.5"], "`threshold`: found 1.5"),
        (["folder", "--seed", "-1"], "`seed`: found -1"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ConfigError, match=text):
        main(build_parser().parse_args(options))
