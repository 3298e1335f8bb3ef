"""Opening annotation files, as tools/dev/benchmark_annotations.py measures it."""

import json
import os
import subprocess
import sys

import pytest

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import load_config
from tools.dev.benchmark_annotations import (
    benchmark_annotations,
    report_annotations,
    write_annotations,
)

CONFIG = "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml"


def test_made_annotations_are_like_cocos(tmp_path):
    path = tmp_path / "made.json"
    write_annotations(path, images=30, boxes=200)
    content = json.loads(path.read_text())
    assert [len(content[key]) for key in ("images", "annotations", "categories")] == [30, 200, 80]
    assert {len(a["segmentation"][0]) for a in content["annotations"]} == {50}
    assert {a["image_id"] for a in content["annotations"]} <= {i["id"] for i in content["images"]}


def test_numbers_of_a_file(repo, tmp_path):
    path = tmp_path / "made.json"
    write_annotations(path, images=3000, boxes=20_000)
    # In a process of its own: the memory of this one, which children share, depends on other tests.
    code = f"""
import json
from ppdet_lite.core.workspace import load_config
from tools.dev.benchmark_annotations import benchmark_annotations
print(json.dumps(benchmark_annotations(load_config({CONFIG!r}), {str(path)!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 2900 < result["images"] <= 3000  # the config leaves out images without boxes
    assert 19_000 < result["boxes"] <= 20_000
    assert result["file_bytes"] == path.stat().st_size
    opened, loaded = result["opened"], result["json_load"]
    assert opened["seconds"] > 0 and loaded["seconds"] > 0
    if not os.path.exists("/proc/self/smaps_rollup"):
        pytest.skip("this system does not tell own and shared memory apart")
    assert opened["peak_bytes"] < loaded["peak_bytes"]
    assert opened["held_bytes"] < loaded["held_bytes"] / 2
    # A worker that has read every record holds hardly any of the annotations again.
    assert result["worker_uss_bytes"] < opened["held_bytes"] / 2
    text = report_annotations(result)
    assert "json.load (Python objects)" in text and "a forked worker's own memory" in text


def test_errors_of_the_file_come_through(repo, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"images": [')
    with pytest.raises(DataError, match=r"broken\.json"):
        benchmark_annotations(load_config(repo / CONFIG), str(path))
    with pytest.raises(DataError, match=r"nowhere\.json"):
        benchmark_annotations(load_config(repo / CONFIG), str(tmp_path / "nowhere.json"))


def test_needs_coco(repo):
    cfg = load_config(repo / "configs/ppyolo/ppyolov2_r50vd_dcn_voc.yml")
    with pytest.raises(ConfigError, match="TrainDataset: found VOCDataSet"):
        benchmark_annotations(cfg)
