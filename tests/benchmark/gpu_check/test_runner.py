"""Cases in processes of their own: failures are rows, and nothing that was measured is lost."""

import json

import cv2
import numpy as np
import pytest

from ppdet_lite.benchmark.gpu_check import runner
from ppdet_lite.benchmark.gpu_check.cases import Case, Plan, Setup
from ppdet_lite.benchmark.gpu_check.networks.network_set import NetworkSet
from ppdet_lite.benchmark.gpu_check.runner import run_cases
from ppdet_lite.core.errors import DataError


@pytest.fixture
def setup(tmp_path):
    """Without any network."""
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((8, 8, 3), np.uint8))
    NetworkSet(tmp_path, {"net": {"input_hw": [64, 64]}}, {}).write()
    return Setup(tmp_path, (tmp_path / "a.jpg",), tmp_path / "out", repeats=1)


def silent(_):
    """Takes lines about the progress, and rows."""


def test_a_failing_case_is_a_row_with_its_reason(setup):
    cases = [
        Case("speed", "gone", "onnxruntime"),
        Case("speed", "gone", "no such engine"),
        Case("speed", "gone", "onnxruntime", seconds=0.05),
    ]
    kept = []

    def keep(rows):
        kept.append(len(rows))

    rows = run_cases(cases, setup, budget_s=100, keep=keep, say=silent)
    assert kept == [1, 2, 3]
    assert [row["case"]["name"] for row in rows] == [case.name for case in cases]
    assert "gone" in rows[0]["failed"] and "raw_b1" in rows[0]["failed"]
    assert "no such engine" in rows[1]["failed"]
    assert rows[2]["failed"].startswith("ended after 0 s")
    json.dumps(rows)


def test_an_engine_that_is_missing_is_tried_once(setup):
    seen = []

    def run_case(case, *_):
        seen.append(case.name)
        return {"failed": "no CUDA", "unavailable": True} if case.engine == "gpu" else {}

    cases = [Case("speed", n, e) for n in ("a", "b") for e in ("gpu", "paddle")]
    rows = run_cases(cases, setup, budget_s=100, keep=silent, say=silent, run=run_case)
    assert [row.get("failed") for row in rows] == ["no CUDA", None, "no CUDA", None]
    assert len(seen) == 3


def test_a_way_that_is_missing_in_float32_is_missing():
    for name in ("cuda_fp32", "cuda_fp16", "cuda_tf32", "cuda_fp32_graph", "cuda_fp16_graph"):
        assert runner.plain_engine(name) == "cuda_fp32"
    assert runner.plain_engine("tensorrt_int8_graph") == "tensorrt_fp32"
    assert runner.plain_engine("trt_fp16") == "trt_fp32"
    assert runner.plain_engine("gpu_fp16") == runner.plain_engine("gpu") == "gpu"


def test_float32_is_float32():
    """Also in Paddle, which has no switch for it; training keeps what users get."""
    off = {"NVIDIA_TF32_OVERRIDE": "0"}
    for engine in ("gpu", "trt_fp32", "cuda_fp32", "cuda_fp16_graph"):
        assert runner.environment(Case("speed", "net", engine)) == off
    for job, engine in (("speed", "cuda_tf32"), ("speed", "onnxruntime"), ("training", "fp32")):
        assert runner.environment(Case(job, "net", engine)) == {}


def test_what_the_time_does_not_suffice_for_is_said(setup):
    cases = [Case("speed", "net", "paddle")]
    budget = runner.SHORTEST_SECONDS / 2
    rows = run_cases(cases, setup, budget_s=budget, keep=silent, say=silent)
    assert "of this run were used up" in rows[0]["failed"]


def test_cases_come_by_importance():
    plan = Plan(
        {"r50": (1, 8), "yolox": (1, 8)},
        ("trt_fp32", "trt_fp16"),
        ("trt_fp16",),
        {"peer": "fp16"},
        ("amp",),
    )
    cases = plan.cases()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert [case.job for case in cases[:2]] == ["reference"] * 2
    assert [case.batch for case in cases if case.job == "speed"] == [1] * 4 + [8] * 4
    jobs = [case.job for case in cases]
    assert jobs.index("throughput") < jobs.index("training") < len(jobs) - 4
    assert "other model" not in jobs  # Paddle reads no .onnx
    plan = Plan({"r50": (1,)}, ("cuda_fp32", "cuda_fp16", "cuda_fp16_graph"), others=plan.others)
    others = [case.engine for case in plan.cases() if case.job == "other model"]
    assert others == ["cuda_fp16", "cuda_fp16_graph"]


def test_a_setup_goes_to_another_process_and_back(setup):
    assert Setup.from_dict(json.loads(json.dumps(setup.as_dict()))) == setup
    assert setup.shortened().steps == 2


def test_folders_that_hold_no_networks(tmp_path):
    (tmp_path / "networks.json").write_text("[]")
    for folder in (tmp_path / "gone", tmp_path):
        with pytest.raises(DataError, match="networks.json"):
            NetworkSet.read(folder)
