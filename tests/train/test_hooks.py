"""What a run says while it goes: lines, the warning about slow data, VisualDL; the loss scale."""

import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, TrainingError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.transforms.normalize import ToBGR
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.train.hooks.base import StepRecord
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.train.hooks.curves.visualdl import VisualDLHook
from ppdet_lite.train.hooks.finite_check import FiniteCheckHook
from ppdet_lite.train.hooks.progress_log import LogHook
from ppdet_lite.train.hooks.saving import EvalHook
from ppdet_lite.utils.logger import get_logger

LINE = re.compile(
    r"Epoch: \[(\d+)\] \[ ?(\d+)/(\d+)\] learning_rate: \d[\d.e-]* loss_a: [\d.]+ loss_b: [\d.]+ "
    r"loss: [\d.]+ eta: (\d+):(\d\d):(\d\d) batch_cost: \d+\.\d{4} data_cost: \d+\.\d{4} "
    r"ips: [\d.]+ images/s max_mem: [1-9]\d* MB"
)


@pytest.fixture
def lines():
    """The messages that the package logs."""
    collected = []

    class Collector(logging.Handler):
        def emit(self, record):
            if not record.getMessage().startswith("Seed"):
                collected.append(record.getMessage())

    handler = Collector()
    get_logger().addHandler(handler)
    yield collected
    get_logger().removeHandler(handler)


def log(log_iter, workers=0, cached=False):
    return LogHook(log_iter, workers, cached)


def test_lines_in_paddledetections_shape(toys, lines):
    toys.trainer([log(4)], epochs=2, reader=toys.reader(10)).run()
    found = [LINE.fullmatch(line).groups() for line in lines]
    positions = [(int(epoch), int(step), int(total)) for epoch, step, total, *_ in found]
    first = [(0, step, 10) for step in (1, 4, 8, 10)]
    assert positions == first + [(1, step, 10) for step in (4, 8, 10)]
    assert found[-1][3:] == ("0", "00", "00")


def steps_of(hook, data_costs, losses=None, epochs=1):
    """Tells `hook` of epochs with such steps, which take next to no time but `data_costs`."""
    count = len(data_costs)
    for epoch in range(epochs):
        state = SimpleNamespace(epoch=epoch, step_in_epoch=0, ranks=SINGLE_PROCESS)
        run = SimpleNamespace(state=state, epochs=epochs, steps_per_epoch=count)
        hook.before_epoch(run)
        for index, data_cost in enumerate(data_costs):
            state.step_in_epoch += 1
            loss = 0.0 if losses is None else losses[index]
            hook.after_step(run, StepRecord([{"loss": loss}], [], 2, 0.1, data_cost))
        hook.after_epoch(run)


def test_losses_are_medians_of_the_window(lines):
    steps_of(log(5), [0.0] * 5, losses=[0.0, 1.0, 4.0, 9.0, 16.0])
    assert "loss: 0.000000" in lines[0] and "loss: 4.000000" in lines[1]


@pytest.mark.parametrize("length", [{"data_costs": [0.02] * 40}, {"data_costs": [0.02] * 6}])
def test_slow_data_is_said_once_with_what_to_change(lines, length):
    steps_of(log(10), **length, epochs=6)
    (warning,) = [line for line in lines if "Waiting for data" in line]
    for key in ("raise worker_num (now 0, ", "TrainReader.cache", "TrainReader.batch_size"):
        assert key in warning


def test_advice_leaves_out_what_is_done_already(lines):
    steps_of(log(10, 10**6, cached=True), [0.02] * 30)
    (warning,) = [line for line in lines if "Waiting for data" in line]
    assert "; worker_num is 1000000 on " in warning and " cores already; where" in warning


@pytest.mark.parametrize(
    "workers, advice",
    [
        (3, "raise worker_num (now 3, this machine has 16 cores for 4 processes); "),
        (4, "worker_num is 4 on 16 cores for 4 processes already; "),
    ],
)
def test_processes_share_the_cores(lines, monkeypatch, workers, advice):
    monkeypatch.setattr("ppdet_lite.train.hooks.progress_log.core_count", lambda: 16)
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "4")
    steps_of(log(10, workers), [0.02] * 30)
    (warning,) = [line for line in lines if "Waiting for data" in line]
    assert advice in warning


def test_a_slow_start_of_the_epoch_is_no_reason_to_warn(lines):
    steps_of(log(10), [0.5, 0.5] + [0.0] * 38)
    assert not [line for line in lines if "Waiting for data" in line]


def test_a_falling_loss_scale_is_an_error_single_overflows_are_not(toys):
    class Scaler:
        """Scales nothing, skips every step, as after an overflow."""

        scale_value = 2.0**-11

        def scale(self, loss):
            return loss

        def step(self, optimizer):
            pass

        def update(self):
            pass

        def state_dict(self):
            return {"scale": np.float32([self.scale_value])}

    trainer = toys.trainer([FiniteCheckHook()], epochs=1)
    trainer.state.precision.scaler = Scaler()
    with pytest.raises(TrainingError, match="overflow float16 in step after step"):
        trainer.run()
    trainer = toys.trainer([FiniteCheckHook()], epochs=1)
    trainer.state.precision.scaler = Scaler()
    trainer.state.precision.scaler.scale_value = 512.0
    trainer.state.model.head.weight.register_hook(lambda grad: grad * float("inf"))
    trainer.run()
    assert trainer.state.iteration == 6


def test_visualdl_gets_scalars_images_and_metrics(toys, tmp_path):
    visualdl = pytest.importorskip("visualdl")

    class Evaluator:
        primary = ("bbox/AP", 0.25)

        def run(self, model):
            return {"bbox/AP": 0.25}

        def best_thresholds(self):
            return [0.5, 0.4]

    curves = VisualDLHook(str(tmp_path), 3, BatchFormat())
    toys.trainer([EvalHook(Evaluator(), 1), curves], epochs=1).run()
    (log,) = tmp_path.iterdir()
    reader = visualdl.LogReader(file_path=str(log))
    losses = reader.get_data("scalar", "train/loss")
    assert [entry.id for entry in losses] == [1, 3, 6]
    assert [entry.value for entry in reader.get_data("scalar", "eval/bbox/AP")] == [0.25]
    assert set(reader.get_tags()["image"]) == {"train/0", "train/1"}


def test_visualdl_stops_when_the_disk_is_full(toys, tmp_path, monkeypatch, lines):
    visualdl = pytest.importorskip("visualdl")
    free = iter([10**9, 10**9, 0])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=next(free, 10**9)))
    toys.trainer([VisualDLHook(str(tmp_path), 2, BatchFormat())], epochs=1).run()
    (log,) = tmp_path.iterdir()
    losses = visualdl.LogReader(file_path=str(log)).get_data("scalar", "train/loss")
    assert [entry.id for entry in losses] == [1, 2]
    assert [line for line in lines if "no room left" in line] == [
        f"VisualDL: {tmp_path} has no room left; its curves end here"
    ]


def test_visualdl_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "visualdl", None)
    with pytest.raises(ConfigError, match="pip install visualdl"):
        VisualDLHook(str(tmp_path), 20, BatchFormat())


def test_visualdl_in_a_folder_that_cannot_be(tmp_path):
    pytest.importorskip("visualdl")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="`vdl_log_dir` .*file: File exists"):
        VisualDLHook(str(tmp_path / "file"), 20, BatchFormat())


@pytest.mark.parametrize(
    "config, as_ppyolo",
    [("ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml", True), ("yolox/yolox_s_300e_coco.yml", False)],
)
def test_the_form_of_the_boxes_follows_the_readers_list(repo, config, as_ppyolo):
    reader = create("TrainReader", load_config(repo / "configs" / config))
    found = BatchFormat.after([*reader.sample_transforms, *reader.batch_transforms])
    assert (found.centers, found.fractions) == (as_ppyolo, as_ppyolo)
    np.testing.assert_array_equal(found.normalizer.pixel_map()[1] < 0, [as_ppyolo] * 3)


def test_images_show_the_photo_and_its_boxes():
    photo = np.full((8, 10, 3), (200, 100, 50), np.uint8)
    settings = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "is_scale": True}
    image = (photo / 255.0 - settings["mean"]) / settings["std"]
    batch = {
        "image": image.transpose(2, 0, 1)[None].astype(np.float32).repeat(2, 0),
        "gt_bbox": np.zeros((2, 3, 4), np.float32),
    }
    batch["gt_bbox"][1, 0] = [0.5, 0.5, 0.4, 0.5]
    as_read = BatchFormat(Normalizer(**settings))
    plain, boxed = as_read.draw(batch, 4)
    np.testing.assert_array_equal(plain, photo)
    changed = (boxed != photo).any(2)
    assert changed[2, 3] and changed[6, 7] and not changed[0].any() and not changed[:, 0].any()
    assert not changed[4, 5]
    assert len(BatchFormat(Normalizer(norm_type="none")).draw(batch, 1)) == 1
    pixels = photo[None].repeat(2, 0)  # what a run on a GPU reads
    raw_plain, raw_boxed = as_read.draw({**batch, "image": pixels}, 4)
    np.testing.assert_array_equal([raw_plain, raw_boxed], [plain, boxed])
    corners = [np.zeros((0, 4), np.float32), np.array([[3, 2, 7, 6]], np.float32)]  # as in YOLOX
    in_pixels = BatchFormat(centers=False, fractions=False)
    drawn = in_pixels.draw({"image": pixels, "gt_bbox": corners}, 4)
    np.testing.assert_array_equal(drawn, [plain, boxed])
    np.testing.assert_array_equal(BatchFormat().draw({"image": pixels}, 1), [photo])
    turned = BatchFormat.after([ToBGR()]).draw({"image": pixels[..., ::-1]}, 1)
    np.testing.assert_array_equal(turned, [photo])
    np.testing.assert_array_equal(pixels[1], photo)
