"""Figures of ASFF's fusion weights: colors of numbers, layout, files, errors."""

import json

import cv2
import numpy as np
import paddle
import pytest

from ppdet_lite.commands import asff_weights as command
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.evaluate.fusion_weights import draw_fusion_weights, fusion_figure, mean_weights
from ppdet_lite.utils.heat_map import CAPTION_HEIGHT, HEAT_SHARE, heat_colors, heat_over
from ppdet_lite.weights.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def trained(repo, tmp_path_factory):
    """Function from overrides to a narrow configuration with saved weights, at 64 x 96."""
    folder = tmp_path_factory.mktemp("fusion")

    def make(*overrides, name="yolov3_mobilenet_v2_asff_coco"):
        size = ["TestReader.inputs_def.image_shape=[3, 64, 96]"]
        size += ["TestReader.sample_transforms.Resize.target_size=[64, 96]"]
        small = ["num_classes=2", "width_mult=0.125", "use_gpu=false", *size, *overrides]
        cfg = load_config(
            repo / "configs" / "asff" / f"{name}.yml", [*small, f"weights={folder / name}"]
        )
        paddle.seed(1)
        state = {key: v.numpy() for key, v in create("YOLOv3", cfg).state_dict().items()}
        save_checkpoint(str(folder), name, state, {"class_names": ["square", "circle"]})
        return cfg

    return make


def test_numbers_become_colors_of_their_cells():
    image = np.full((40, 60, 3), 100, np.uint8)
    found = heat_over(image, np.array([[0.0, 1.0]]))
    blue, red = heat_colors(np.array([[0.0, 1.0]]))[0].astype(float)
    assert blue[2] > 100 and blue[0] == 0 and red[0] > 100 and red[2] == 0
    for part, color in ((found[:, :30], blue), (found[:, 30:], red)):
        expected = HEAT_SHARE * color + (1 - HEAT_SHARE) * 100
        np.testing.assert_allclose(part.reshape(-1, 3), np.tile(expected, (1200, 1)), atol=1)
    assert (image == 100).all()


def test_a_row_for_each_level_and_a_column_for_each_source():
    image = np.zeros((200, 420, 3), np.uint8)
    maps = [np.full((2, side, side), 0.5) for side in (2, 4)]
    sheet = fusion_figure(image, image, maps, [32, 16])
    assert sheet.shape == (3 * (200 + CAPTION_HEIGHT + 6) + 6, 2 * 426 + 6, 3)
    half = (HEAT_SHARE * heat_colors(np.array([[0.5]]))[0, 0]).round()
    for row, column in ((1, 0), (1, 1), (2, 0), (2, 1)):
        pixel = sheet[row * 232 + 150, column * 426 + 200]
        np.testing.assert_allclose(pixel, half, atol=1)
    assert mean_weights(maps, [32, 16])["stride_16"] == {
        "from_stride_32": 0.5,
        "from_stride_16": 0.5,
    }


def test_files_of_a_folder_of_images(trained, tmp_path, tiny_coco):
    (tmp_path / "photos" / "trip").mkdir(parents=True)
    photo = tmp_path / "photos" / "trip" / "a.jpg"
    photo.write_bytes((tiny_coco / "images" / "val_0.jpg").read_bytes())
    config = trained()
    options = ["-c", str(config.path), "--infer_dir", str(tmp_path / "photos")]
    options += ["--output_dir", str(tmp_path / "out")]
    args = command.build_parser().parse_args(options)
    assert args.threshold == 0.5 and args.infer_img is None
    written = draw_fusion_weights(
        config, infer_dir=args.infer_dir, output_dir=args.output_dir, draw_threshold=0.05
    )
    assert written == [tmp_path / "out" / "trip" / "a_fusion.jpg"]
    sheet = cv2.imread(str(written[0]))
    assert sheet.shape[1] == 3 * 426 + 6 and sheet.std() > 20
    numbers = json.loads(written[0].with_suffix(".json").read_text())
    assert list(numbers) == ["stride_32", "stride_16", "stride_8"]
    for weights in numbers.values():
        assert sum(weights.values()) == pytest.approx(1, abs=1e-3)


def test_other_necks_have_no_such_weights(trained, tmp_path, tiny_coco):
    cfg = trained(name="yolov3_mobilenet_v2_baseline_coco")
    image = tiny_coco / "images" / "val_0.jpg"
    with pytest.raises(ConfigError, match=r"YOLOv3\.neck: found PPYOLOFPN.*ASFF"):
        draw_fusion_weights(cfg, infer_img=[image], output_dir=tmp_path)
