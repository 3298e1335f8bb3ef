"""Targets judged by rows, by hand; and the page that shows them."""

from ppdet_lite.benchmark.gpu_check.report import markdown
from ppdet_lite.benchmark.gpu_check.verdicts import judge

FP16, FP32 = "trt_fp16", "trt_fp32"
NETWORKS = {
    "r50": {"title": "PP-YOLOv2 R50", "backbone": ["ResNet", 50], "note": "random"},
    "r101": {"title": "PP-YOLOv2 R101", "backbone": ["ResNet", 101], "note": "random"},
    "yolox": {"title": "YOLOX-L", "backbone": ["CSPDarkNet", None], "note": "random"},
}


def times(ms):
    return {"median": ms, "p5": ms, "p95": ms}


def row(network, engine, raw, nms=None, job="speed", batch=1, **more):
    case = {"job": job, "network": network, "engine": engine, "batch": batch}
    case["name"] = f"{job}: {network}, {engine}, batch {batch}"
    result = {"case": case, **more}
    if raw is not None:
        result["raw_ms"] = times(raw)
    if nms is not None:
        result["nms_ms"] = times(nms)
    return result


THROUGHPUT = {
    "images_per_s": 190.0,
    "engine_images_per_s": 200.0,
    "reader_images_per_s": 900.0,
    "reader_processes": 16,
    "fed_by": "threads",
    "share_of_engine": 0.95,
}
ROWS = [
    row("r50", FP32, 8.0, 8.2, boxes="9 of 9", boxes_agree=True, memory_bytes=2**30),
    row("r50", FP16, 5.0, 5.2, boxes="9 of 9", boxes_agree=True),
    row("r101", FP32, 12.0),
    row("r101", FP16, 8.0),
    row("yolox", FP16, 6.0),
    row("r50", FP16, 30.0, batch=8),
    row("r50", FP16, None, job="throughput", batch=8, **THROUGHPUT),
    row("r50", "gpu", None, failed="no CUDA"),
    row("r101", "gpu", None, failed="no CUDA"),
]


def test_targets_by_hand():
    verdicts = judge(ROWS, NETWORKS)
    assert [verdict.reached for verdict in verdicts] == [True, False, True, True, True, True]
    assert "1.60 in trt_fp16, 8.00 to 5.00 ms" in verdicts[0].found
    assert "1.50 in trt_fp16" in verdicts[1].found and "1.73" in verdicts[1].target
    assert verdicts[2].found == "5.00 against 6.00 ms in trt_fp16"
    assert verdicts[3].found == "+4.0% in trt_fp16"
    assert "190 images/s" in verdicts[4].found
    assert verdicts[5].found == "2 of 2 cases"


def test_the_clock_of_the_device_counts_where_it_was_read():
    rows = [{**ROWS[0], "raw_device_ms": times(7.0)}, {**ROWS[1], "raw_device_ms": times(5.0)}]
    assert judge(rows, NETWORKS)[0].reached is False


def test_missed_and_not_measured():
    rows = [row("r50", FP16, 5.0, 5.5), row("yolox", FP16, 4.0)]
    rows.append(row("r50", FP32, 6.0, boxes="2 of 9", boxes_agree=False))
    speed, deep, faster, nms, through, boxes = judge(rows, NETWORKS)
    assert (speed.reached, faster.reached, nms.reached, boxes.reached) == (False,) * 4
    assert "trt_fp32" in boxes.found
    assert deep.reached is None and through.reached is None
    assert str(through).startswith("not judged: from JPEG to boxes")
    assert [verdict.reached for verdict in judge([], NETWORKS)] == [None] * 6


def test_the_page_has_every_row():
    page = markdown(ROWS, judge(ROWS, NETWORKS), {"GPU": "H100"}, NETWORKS, 100)
    assert page.startswith("GPU H100\n")
    speed = "| 8.00 (8.00-8.00) | - | 125.0 | 8.20 | +2.5% | 9 of 9 | 1024 |"
    assert f"| r50 | trt_fp32 | fp32 | 1 {speed}" in page
    assert "| r50 | trt_fp16 | fp16 | 8 | 30.00 (30.00-30.00) | - | 266.7 | - | - | - | - |" in page
    assert "| r50 | trt_fp16 | fp16 | 8 | 190.0 | 200.0 | 900.0 | threads, 16 |" in page
    assert "* speed: r50, gpu, batch 1; speed: r101, gpu, batch 1: no CUDA" in page
    many = [
        row("r50", f"cuda_fp16{end}", None, batch=b, failed="x")
        for end in ("", "_graph")
        for b in (1, 2, 8)
    ]
    page = markdown(many, [], {}, NETWORKS, 100)
    assert "* 6 cases of cuda_fp16, cuda_fp16_graph: x" in page


def test_the_page_has_verdicts():
    page = markdown(ROWS, judge(ROWS, NETWORKS), {"GPU": "H100"}, NETWORKS, 100)
    assert "* missed: r101 in FP16 at least 1.73" in page
