"""What the benchmark makes of measured times: comparisons, targets, Markdown and JSON."""

import json
import re

import pytest

from ppdet_lite.benchmark import inference_report as report
from ppdet_lite.benchmark.protocol import PARTS, InferenceTimes, MeasuredEngine, Summary

NETWORK = report.Network("net", 54_000_000, 60_000_000_000, ("ResNet", 50))


def measured(name, device="CPU", **times):
    """An engine with given times."""
    times = {key.replace("_", " "): list(values) for key, values in times.items()}
    entry = MeasuredEngine(name, {}, device, times=times)
    rounds = len(times["raw"])
    entry.parts = {part: [2.0] * rounds for part in PARTS}
    entry.parts["network + NMS"] = [value + 3.0 for value in times["raw"]]
    return entry


def test_summary_and_overhead_by_hand():
    assert Summary.of(range(101)) == (50, 5, 95)
    entry = measured("x", raw=[100, 120, 110], nms=[101, 140, 140])
    assert entry.best("raw") == 100
    assert entry.beside_the_network() == {
        "jpeg": 2,
        "preprocess": 2,
        "input": 2,
        "output": 2,
        "decode + NMS": 1,
    }
    assert entry.overhead == 9 and report.overhead_share(entry) == 0.09
    entry.times["nms"][0] = 90.0  # chance must not make the way to the boxes shorter
    assert entry.overhead == 8
    assert MeasuredEngine("x", {}, times={"raw": [1.0]}).overhead is None
    assert measured("x", raw=[100] * 19 + [150]).unrest == pytest.approx(0.025)
    assert measured("x", raw=[100, 150]).unrest == pytest.approx(147.5 / 102.5 - 1)


def test_nms_of_fixed_size_is_a_share_of_the_network():
    fixed = measured("a", raw=[100.0, 120.0], nms=[101.0, 140.0])
    fixed.times["nms_fixed"] = [150.0, 104.0]
    alone = measured("b", raw=[100.0])
    alone.times["nms_fixed"] = [103.0]
    result = InferenceTimes([fixed, alone, measured("c", raw=[1.0])], {}, (640, 640), [1])
    lines = report.markdown(result, NETWORK, {}).splitlines()
    assert [line for line in lines if "fixed size" in line] == [
        "a, decode + NMS of fixed size: 4.0 ms, 4.0% of the network; of any size 1.0 ms",
        "b, decode + NMS of fixed size: 3.0 ms, 3.0% of the network",
    ]


def test_report_of_a_cpu_by_hand():
    onednn = measured("onednn", raw=[1000.0] * 3, nms=[1010.0] * 3, end_to_end=[1011.0] * 3)
    onednn.operators = {"conv2d": 800.0, "b": 100.0, "c": 50.0, "d": 25.0, "e": 20.0, "f": 5.0}
    slower = measured("onnxruntime", raw=[2000.0, 1850.0, 1800.0])
    result = InferenceTimes([onednn, slower], {"openvino": "not installed"}, (640, 640), [120, 160])
    text = report.markdown(result, NETWORK, {"CPU": "test (2 threads)", "Paddle": "3"})
    assert (
        "net, batch 1, input 640 x 640 (height x width), 54.00 M parameters, 60.00 GFLOPs" in text
    )
    assert "CPU test (2 threads), Paddle 3" in text
    row = "| onednn | 1000.0 (1000.0-1000.0) | 1.00 |  | 1010.0 | 1011.0 | 1.1% | 75% |"
    assert row in text
    assert "left out: openvino: not installed" in text
    assert (
        "onednn, ms beside the network: jpeg 2.0, preprocess 2.0, input 2.0, output 2.0, "
        "decode + NMS 3.0; together 11.0" in text
    )
    assert (
        "oneDNN computes 120 GFLOP/s, 0.75 of the machine's 160 GFLOP/s in float32 matrix products "
        "(target 0.9: missed)" in text
    )
    assert "oneDNN is 1.80 times as fast as ONNX Runtime (target 1.7: reached)" in text
    assert (
        "oneDNN: JPEG to boxes takes 1.1% of the network's time more than the network (target 5%: "
        "reached)" in text
    )
    assert (
        "onednn, time of the network by operator: conv2d 80.0%, b 10.0%, c 5.0%, d 2.5%, others "
        "2.5%" in text
    )
    assert "\nMedians of 3 rounds. " in text and "not quiet" not in text
    slower.times["raw"][0] = 2900.0
    assert "\nSlow rounds took 55% longer than fast ones: this machine was not quiet" in (
        report.markdown(result, NETWORK, {})
    )
    assert "TensorRT" not in text and "target_cpu" not in text and "target cpu" not in text
    slower.runs_on = "CPUExecutionProvider"
    assert "\n| onnxruntime (CPUExecutionProvider) | " in report.markdown(result, NETWORK, {})
    content = report.as_dict(result, NETWORK, {"CPU": "test"})
    assert [entry["runs_on"] for entry in content["engines"]] == ["", "CPUExecutionProvider"]
    assert content["onednn_over_onnxruntime"] == 1.8
    assert content["judged_by_targets"] == "onednn" and content["target_cpu_over_any"] == {}
    assert content["onednn_target_cpu_over_onnxruntime"] is None
    assert content["engines"][0]["share_of_peak"] == 0.75
    assert content["engines"][0]["summary"]["raw"]["p95"] == 1000
    assert content["engines"][0]["operators_ms"] == onednn.operators
    json.dumps(content)


def rows_of_both_targets():
    """Engines of the CPU with plain exports and with exports for CPUs."""
    entries = [
        measured("onednn", raw=[1000.0]),
        measured("onednn_target_cpu", raw=[800.0], nms=[810.0]),
        measured("onnxruntime", raw=[1600.0]),
        measured("onnxruntime_target_cpu", raw=[1280.0]),
        measured("openvino", raw=[900.0]),
        measured("openvino_target_cpu", raw=[600.0]),
    ]
    for entry in entries[1::2]:
        entry.target = "cpu"
    return entries


def test_targets_are_judged_with_the_export_for_cpus():
    result = InferenceTimes(rows_of_both_targets(), {}, (640, 640), [160.0])
    text = report.markdown(result, NETWORK, {})
    lines = text.splitlines()
    name = "oneDNN with an export for CPUs (target cpu)"
    assert lines[-5:] == [
        f"{name} computes 150 GFLOP/s (counted as plain convolutions), 0.94 of the machine's 160 "
        "GFLOP/s in float32 matrix products (target 0.9: reached)",
        f"{name} is 2.00 times as fast as ONNX Runtime (target 1.7: reached)",
        f"{name} is 1.60 times as fast as ONNX Runtime with an export for CPUs",
        f"{name}: JPEG to boxes takes 1.4% of the network's time more than the network (target 5%: "
        "reached)",
        "Times as fast with the export for CPUs (target cpu) as with the plain one: in oneDNN "
        "1.25, in ONNX Runtime 1.25, in OpenVINO 1.50",
    ]
    assert "| onednn_target_cpu | 800.0 (800.0-800.0) | 1.25 |  | 810.0 |" in text
    assert report.COUNTED_AS in lines
    content = report.as_dict(result, NETWORK, {})
    assert [entry["target"] for entry in content["engines"]] == ["any", "cpu"] * 3
    assert content["judged_by_targets"] == "onednn_target_cpu"
    assert content["onednn_over_onnxruntime"] == 1.6
    assert content["onednn_target_cpu_over_onnxruntime"] == 2
    assert content["onednn_target_cpu_over_onnxruntime_target_cpu"] == 1.6
    assert content["target_cpu_over_any"] == {
        "onednn": 1.25,
        "onnxruntime": 1.25,
        "openvino": 1.5,
    }


def test_figures_without_a_target_and_without_a_verdict():
    rows = rows_of_both_targets()
    small = report.Network("small", 1_000_000, 60_000_000_000, ("ResNet", 18))
    for network, size in ((small, (640, 640)), (NETWORK, (320, 320))):
        text = report.markdown(InferenceTimes(rows, {}, size, [160.0]), network, {})
        assert "2.00 times as fast as ONNX Runtime\n" in text and not re.search(
            r"\(target \d", text
        )
    rows[0].times["raw"] = [1000.0, 2000.0]
    text = report.markdown(InferenceTimes(rows, {}, (640, 640), [160.0]), NETWORK, {})
    assert text.count(": not judged, the machine was not quiet)") == 3
    assert "reached)" not in text and "missed)" not in text


GPU_MS = {"fp32": 8.0, "tf32": 6.0, "fp16": 4.0, "int8": 2.0}


def test_int8_beside_float32_of_the_same_engine():
    entries = [measured("openvino", raw=[30.0, 31.0]), measured("openvino_int8", raw=[12.0, 10.0])]
    entries += [measured(f"tensorrt_{name}", "GPU", raw=[ms]) for name, ms in GPU_MS.items()]
    times = InferenceTimes([*entries, measured("onnxruntime", raw=[50.0])], {}, (640, 640))
    text = report.markdown(times, NETWORK, {})
    assert "OpenVINO in INT8 is 3.00 times as fast as in float32" in text
    assert "ONNX Runtime in INT8" not in text and "ort_tensorrt_int8" not in text
    assert "tensorrt_int8 is 4.00 times as fast as in FP32 without TF32" in text


def test_rounds_are_counted_without_the_network_alone():
    entry = MeasuredEngine("onednn", {}, times={"nms": [5.0, 6.0]})
    text = report.markdown(InferenceTimes([entry], {}, (640, 640)), NETWORK, {})
    assert "\nMedians of 2 rounds. " in text


def test_no_comparison_with_an_engine_that_did_not_run():
    plain, for_cpu = rows_of_both_targets()[:2]
    text = report.markdown(InferenceTimes([for_cpu], {}, (640, 640), [160.0]), NETWORK, {})
    assert "oneDNN with an export for CPUs (target cpu) computes 150 GFLOP/s" in text
    assert "times as fast" not in text.lower()
    text = report.markdown(InferenceTimes([plain, for_cpu], {}, (640, 640)), NETWORK, {})
    assert text.endswith("as with the plain one: in oneDNN 1.25")
    assert "ONNX Runtime" not in text and "GFLOP/s" not in text
    del for_cpu.times["raw"]  # a folder of --model_dir with another stage only
    assert report.judged(InferenceTimes([plain, for_cpu], {}, (640, 640))) is plain
    assert report.judged(InferenceTimes([for_cpu], {}, (640, 640))) is None


@pytest.mark.parametrize(
    ("backbone", "size", "paper"),
    [
        (("ResNet", 50), (640, 640), "; paper: 54.6 % (68.9 to 106.5 FPS, V100)"),
        (("ResNet", 101), (640, 640), "; paper: 73.0 % (50.3 to 87.0 FPS, V100)"),
        (("ResNet", 50), (320, 320), ""),
        (("ResNet", 18), (640, 640), ""),
    ],
)
def test_speed_up_of_tensorrt_beside_the_papers(backbone, size, paper):
    plain = measured("gpu", "GPU", raw=[9.3, 9.9, 9.6])
    fast = measured("trt_fp16", "GPU", raw=[6.0, 6.0, 6.0])
    result = InferenceTimes([plain, fast], {}, size)
    text = report.markdown(result, NETWORK._replace(backbone=backbone), {})
    lines = text.splitlines()
    assert f"TensorRT FP16 is 55.0 % faster than FP32 without TensorRT{paper}" in lines
    assert "target" not in text and "| trt_fp16 | 6.0 (6.0-6.0) | 167 |" in text
    assert "| gpu | 9.6 (9.3-9.9) | 104 |" in text and "by operator" not in text


def test_the_papers_speed_ups_are_those_of_their_frame_rates():
    for slow, fast, percent in report.PAPER_SPEED_UP.values():
        assert round(100 * (fast / slow - 1), 1) == pytest.approx(percent, abs=0.1)
