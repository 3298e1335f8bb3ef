"""The benchmark's numbers are complete and agree with each other; how large they are is not
tested.
"""

import json
import os
import sys

import pytest

from ppdet_lite.benchmark.process_memory import Memory, memory_of
from ppdet_lite.benchmark.reader.reader_benchmark import benchmark_readers, epoch_parts
from ppdet_lite.benchmark.reader.reader_report import report
from ppdet_lite.benchmark.reader.reader_steps import StepClock
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import load_config, register
from tests.tools.in_process import run_tool

TRAIN = """
TrainDataset:
  name: COCODataSet
  dataset_dir: {data}
  image_dir: images
  anno_path: annotations/train.json
TrainReader:
  sample_transforms:
    - Decode: {{}}
    - Mixup: {{}}
    - RandomDistort: {{}}
    - RandomExpand: {{}}
    - RandomCrop: {{}}
    - RandomFlip: {{}}
  batch_transforms:
    - BatchRandomResize: {{target_size: [64, 96], random_interp: true}}
    - NormalizeBox: {{}}
    - PadBox: {{num_max_boxes: 6}}
    - BboxXYXY2XYWH: {{}}
    - NormalizeImage: {{}}
    - Permute: {{}}
    - Gt2YoloTarget: {{}}
  batch_size: 2
  shuffle: true
  drop_last: true
  mixup_epoch: 1000
"""


@pytest.fixture
def make_config(small_config, tiny_coco, tmp_path):
    def make(*overrides):
        path = tmp_path / "reader.yml"
        path.write_text(small_config.read_text() + TRAIN.format(data=tiny_coco))
        return load_config(path, overrides=list(overrides))

    return make


def test_numbers_are_complete_and_agree(make_config):
    result = benchmark_readers(make_config(), workers=[2, 0], batches=5, repeat=2)
    train, evaluation = result["readers"]["train"], result["readers"]["eval"]
    assert (train["images_per_sample"], evaluation["images_per_sample"]) == (2, 1)
    assert (train["batch_size"], evaluation["batch_size"]) == (2, 3)
    for reader in (train, evaluation):
        assert reader["rendered_by"] == []
        assert [run["workers"] for run in reader["runs"]] == [0, 2]
        for run in reader["runs"]:
            assert len(run["rounds"]) == 2
            assert min(entry["samples"] for entry in run["rounds"]) > 5
            assert run["ms_per_sample"] == pytest.approx(1000 / run["samples_per_s"])
            ratios = sorted(entry["wall_s"] / entry["decode_wall_s"] for entry in run["rounds"])
            assert ratios[0] <= run["ratio"] <= ratios[1]
        assert reader["runs"][0]["speedup"] == 1
        total = sum(step["share"] for step in reader["steps"])
        assert total == pytest.approx(1)
    assert sum(run["wall_s"] for run in train["runs"][0]["rounds"]) < result["wall_s"]
    assert result["cpu_s"] > 0


def test_steps_go_by_the_names_of_the_list(make_config):
    result = benchmark_readers(make_config(), ["train"], workers=[0], batches=2, repeat=1)
    steps = {step["step"]: step for step in result["readers"]["train"]["steps"]}
    names = list(steps)
    assert names[:6] == [
        *("Decode", "Mixup", "RandomDistort", "RandomExpand", "RandomCrop", "RandomFlip")
    ]
    assert names[-1] == "everything else"
    assert steps["Decode"]["calls_per_sample"] == 2  # the partner's too
    assert steps["Mixup"]["calls_per_sample"] == steps["render"]["calls_per_sample"] == 1
    assert steps["Gt2YoloTarget"]["calls_per_sample"] == 0.5  # once per batch
    assert {"decode (pixels)", "stack (ground truth)"} <= set(names)


def test_pixels_normalized_on_the_device_or_by_the_reader(make_config):
    places = ["host", "device"]
    result = benchmark_readers(make_config(), ["eval"], [1, 0], 2, repeat=1, normalize=places)
    reader = result["readers"]["eval"]
    found = [(run["normalize"], run["workers"], run["speedup"] == 1) for run in reader["runs"]]
    expected = [("host", 0, True), ("host", 1, False), ("device", 0, True), ("device", 1, False)]
    assert found == expected
    assert "normalize and layout" in [step["step"] for step in reader["steps"]]  # of the first
    on_device = benchmark_readers(make_config(), ["eval"], [0], 2, repeat=1)["readers"]["eval"]
    assert "normalize and layout" not in [step["step"] for step in on_device["steps"]]


def test_entries_that_break_the_fusion_are_named(make_config, tmp_path):
    (tmp_path / "own_transform_for_benchmark.py").write_text(
        "from ppdet_lite.core.workspace import register\n"
        "@register\n"
        "class InvertForBenchmark:\n"
        "    def __init__(self):\n        pass\n"
        "    def __call__(self, sample, context=None):\n"
        "        return {**sample, 'image': 255 - sample['image']}\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        cfg = make_config(
            "custom_modules=[own_transform_for_benchmark]",
            "EvalReader.sample_transforms="
            "[{Decode: {}}, {InvertForBenchmark: {}}, {Resize: {target_size: 32}}, {Permute: {}}]",
        )
        result = benchmark_readers(cfg, ["eval"], workers=[0], batches=1, repeat=1)
    finally:
        sys.path.remove(str(tmp_path))
    assert result["readers"]["eval"]["rendered_by"] == ["InvertForBenchmark"]
    assert "because of: InvertForBenchmark" in report(result)


@pytest.mark.parametrize("kind", ["encoded", "decoded"])
def test_a_cache_is_filled_before_it_is_measured(make_config, kind):
    cfg = make_config(f"TrainReader.cache.kind={kind}")
    result = benchmark_readers(cfg, ["train"], workers=[0, 1], batches=3, repeat=1)
    train = result["readers"]["train"]
    assert train["images_per_sample"] == 2  # what is needed, kept or not
    assert train["cache"]["kind"] == kind and 0 < train["cache"]["images"] <= 12
    assert f"cache {kind}, filled before: {train['cache']['images']} images" in report(result)
    steps = {step["step"] for step in train["steps"]}
    assert ("decode (pixels)" in steps) == (kind == "encoded")


def test_one_image(make_config):
    cfg = make_config("TrainDataset.sample_num=1", "EvalDataset.sample_num=1")
    result = benchmark_readers(cfg, workers=[0, 1], batches=3, repeat=1)
    for name in ("train", "eval"):
        assert result["readers"][name]["batch_size"] == 1
        assert result["readers"][name]["runs"][0]["rounds"][0]["samples"] == 3


def test_no_images(make_config, tiny_coco, tmp_path):
    content = json.loads((tiny_coco / "annotations/val.json").read_text())
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({**content, "images": [], "annotations": []}))
    cfg = make_config(f"EvalDataset.anno_path={empty}")
    with pytest.raises(DataError, match=r"empty\.json.*images"):
        benchmark_readers(cfg, ["eval"], workers=[0], batches=1, repeat=1)


def test_a_data_set_of_ones_own_without_images(make_config):
    @register
    class NothingForBenchmark:
        name = "nothing"

        def __len__(self):
            return 0

        def record(self, index):
            raise IndexError(index)

    cfg = make_config()
    cfg["EvalDataset"] = {"name": "NothingForBenchmark"}
    with pytest.raises(DataError, match="EvalReader.*nothing"):
        benchmark_readers(cfg, ["eval"], workers=[0], batches=1, repeat=1)


def test_the_tool_prints_the_tables(make_config, tiny_coco, capsys, tmp_path):
    make_config()
    run_tool(
        *("benchmark_reader", "-c", tmp_path / "reader.yml", "--readers", "train"),
        *("--workers", 0, "--batches", 1, "--repeat", 1, "--json", tmp_path / "out.json"),
        *("-o", f"TrainDataset.dataset_dir={tiny_coco}"),
    )
    assert "train reader: " in capsys.readouterr().out
    assert list(json.loads((tmp_path / "out.json").read_text())["readers"]) == ["train"]


def test_settings_given_twice_are_measured_once(make_config):
    twice = ["device", "device"]
    result = benchmark_readers(make_config(), ["eval"], [0, 0], 1, repeat=1, normalize=twice)
    (run,) = result["readers"]["eval"]["runs"]
    assert len(run["rounds"]) == 1


@pytest.mark.parametrize(
    "numbers, key",
    [
        ({"batches": 0}, "batches.*0"),
        ({"repeat": 0}, "repeat.*0"),
        ({"workers": [2, -1]}, "workers.*-1"),
        ({"workers": []}, "workers.*none"),
    ],
)
def test_wrong_numbers(make_config, numbers, key):
    with pytest.raises(ConfigError, match=key):
        benchmark_readers(make_config(), **numbers)


def test_memory_of_parent_and_workers(make_config):
    result = benchmark_readers(make_config(), ["eval"], workers=[0, 2], batches=2, repeat=1)
    alone, shared = result["readers"]["eval"]["memory"]
    assert alone["largest_worker"] is None
    if not os.path.exists("/proc/self/smaps_rollup"):
        pytest.skip("this system does not tell own and shared memory apart")
    worker = shared["largest_worker"]
    assert 0 < worker["uss_bytes"] < worker["pss_bytes"] < worker["peak_bytes"]
    # What a worker has of its own is little against what it shares with its parent.
    assert worker["uss_bytes"] < shared["parent"]["peak_bytes"] / 2


def test_memory_of_a_process_that_has_gone():
    assert memory_of(2**22 + 1) == Memory(None, None, None)
    assert Memory(1, None, 3).largest(Memory(2, 5, None)) == Memory(2, 5, 3)


def test_report_and_json(make_config):
    result = benchmark_readers(make_config(), workers=[0], batches=1, repeat=1)
    text = report(result)
    for part in ("train reader: ", "eval reader: ", "Gt2YoloTarget", "0 workers: parent", "whole"):
        assert part in text
    assert "2.00 images decoded per sample" in text
    assert json.loads(json.dumps(result)) == result


def test_the_tool_looks_first_where_it_shall_write(repo, tmp_path):
    config = repo / "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml"  # its images are not here
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be written"):
        run_tool("benchmark_reader", "-c", config, "--json", tmp_path)


def test_batches_beyond_an_epoch():
    assert epoch_parts(4, 10) == [(0, 4), (1, 4), (2, 2)]
    assert epoch_parts(4, 4) == [(0, 4)]
    assert epoch_parts(10, 3) == [(0, 3)]


def test_clock_books_every_second_once():
    now = [0.0]
    clock = StepClock(lambda: now[0])
    with clock("outer"):
        now[0] += 1
        with clock("decode", "a.jpg"):
            now[0] += 20
        with clock("batch"):  # no step of its own
            now[0] += 300
    assert dict(clock.seconds) == {"decode (pixels)": 20, "outer": 301}
    assert clock.calls == {"decode (pixels)": 1, "outer": 1}
    assert (clock.take_files(), clock.take_files()) == (["a.jpg"], [])
