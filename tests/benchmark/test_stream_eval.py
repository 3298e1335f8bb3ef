"""The command `stream-eval`: frames in their order, classes by name, latencies of devices."""

import json
import logging

import cv2
import numpy as np
import pytest

from ppdet_lite.benchmark.streaming.latency_table import Latencies, read_latency_table
from ppdet_lite.benchmark.streaming.stream_eval import MEASURED, evaluate_stream
from ppdet_lite.commands.speed import stream_eval as command
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.sources.sequences import find_image_dir, read_frames, read_sequences


class Oracle:
    """Finds the bright square of an image; its clock says that each run takes `seconds`."""

    class_names, category_ids = ["van", "traffic light"], None

    def __init__(self, seconds=0.1):
        self.seconds, self.now, self.calls = seconds, 0.0, 0

    def predict(self, images):
        self.calls += 1
        self.now += self.seconds
        rows, columns = np.nonzero(images[0][..., 0] > 200)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return [np.float32([[1, 0.9, *box], [0, 0.8, 0, 0, 9, 9]])]

    def clock(self):
        return self.now


@pytest.fixture
def street(tmp_path):
    """Two sequences of four frames in mixed order: a square of 20 px that moves 4 px per frame."""
    images, annotations = [], []
    places = [(1, 2), (0, 0), (0, 3), (1, 0), (0, 1), (0, 2), (1, 1), (1, 3)]
    for number, (sid, fid) in enumerate(places):
        pixels = np.full((40, 60, 3), 60, np.uint8)
        x = 4 * fid
        pixels[5:25, x : x + 20] = 255
        name = f"{sid}_{fid}.png"
        cv2.imwrite(str(tmp_path / name), pixels)
        images.append({"id": 10 + number, "file_name": name, "width": 60, "height": 40})
        images[-1].update(sid=sid, fid=fid)
        annotation = {"id": number + 1, "image_id": 10 + number, "category_id": 4, "iscrowd": 0}
        annotations.append({**annotation, "bbox": [x, 5, 20, 20], "area": 400})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 4, "name": "traffic_light"}],
    }
    path = tmp_path / "street.json"
    path.write_text(json.dumps(content))
    return path, tmp_path, content


def test_report_of_measured_and_given_latencies(street):
    path, folder, _ = street
    oracle = Oracle(0.1)
    report = evaluate_stream(oracle, path, folder, 10, clock=oracle.clock)
    assert oracle.calls == 8 + 3  # the first ones warm up
    assert report.offline["bbox/AP"] == pytest.approx(1)
    measured = report.results[0]
    assert measured.device == MEASURED and measured.mean_ms == pytest.approx(100)
    # One frame late, IoU 2/3; the first frame of both sequences has no prediction: 6 of 8.
    assert measured.staleness == (8, 8, 2, 1.0)
    assert measured.metrics["bbox/AP"] == pytest.approx(0.4 * 76 / 101)

    devices = [Latencies("none", [0.001]), Latencies("slow", [100, 300])]
    report = evaluate_stream(oracle, path, folder, 10, devices)
    none, slow = report.results
    assert none.metrics["bbox/AP50"] == pytest.approx(76 / 101)  # ready only for the next frame
    assert slow.mean_ms == 200 and slow.staleness.runs == 4 and slow.staleness.unseen == 2
    table = report.table()
    assert "8 frames at 10 frames/s" in table and "slow" in table
    assert json.loads(json.dumps(report.as_dict()))["devices"][1]["runs"] == 4


def test_sequences(street, tmp_path):
    path, _, content = street
    assert read_sequences(path) == [[11, 14, 15, 12], [13, 16, 10, 17]]
    for image in content["images"]:
        del image["sid"]
    path.write_text(json.dumps(content))
    assert read_sequences(path) == [list(range(10, 18))]
    content["images"][0].update(sid=1)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="images.1: found no sid"):
        read_sequences(path)
    with pytest.raises(DataError, match="no.json: cannot be read"):
        read_sequences(tmp_path / "no.json")


def test_gaps_between_frames_take_their_time(street, caplog):
    path, folder, content = street
    for image in content["images"]:
        image["fid"] = 5 + 3 * image["fid"]  # 300 ms apart, the first at time 0
    path.write_text(json.dumps(content))
    assert [frame.number for frame in read_frames(path)[0]] == [0, 3, 6, 9]
    with caplog.at_level(logging.INFO):
        report = evaluate_stream(Oracle(), path, folder, 10, [Latencies("200 ms", [200])])
    # Each frame is run when it comes and stands for the next: three frames of 100 ms behind.
    assert report.results[0].staleness == (8, 8, 2, 3.0)
    assert "frames are up to 3 apart (6 of 6 times)" in caplog.text
    content["images"][0]["fid"] = content["images"][3]["fid"]  # both of sequence 1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"images.3.fid: found 5, which image 10 of sid 1 has, too"):
        read_frames(path)
    content["images"][0]["fid"] = "nan"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="images.0.fid: found nan, allowed: a number"):
        read_frames(path)


def test_frames_are_found(street, tmp_path):
    path, folder, content = street
    assert find_image_dir(path) == folder.resolve()
    inner = folder / "annotations"
    inner.mkdir()
    (folder / "frames").mkdir()
    for image in content["images"]:
        (folder / image["file_name"]).rename(folder / "frames" / image["file_name"])
    path = path.rename(inner / "street.json")
    assert find_image_dir(path) == folder.resolve() / "frames"
    # As in Argoverse-HD: names in a folder of each sequence.
    for image in content["images"]:
        image["name"] = image.pop("file_name")
    content["seq_dirs"] = ["frames", "frames"]
    path.write_text(json.dumps(content))
    assert find_image_dir(path) == folder.resolve()
    oracle = Oracle(0.1)
    report = evaluate_stream(oracle, path, None, 10, clock=oracle.clock)
    assert report.offline["bbox/AP"] == pytest.approx(1)
    content["seq_dirs"] = ["elsewhere"] * 2
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="found no image elsewhere/.*; state `image_dir`"):
        find_image_dir(path)


def test_classes_that_do_not_fit(street):
    path, folder, content = street
    content["categories"] += [{"id": 7, "name": "tree"}, {"id": 8, "name": "house"}]
    content["categories"][0]["name"] = "bush"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="found none of the detector's classes.*van"):
        evaluate_stream(Oracle(), path, folder, 10)


def test_latency_tables(tmp_path):
    table = tmp_path / "devices.csv"
    table.write_text("device,ms\nNano, 40.5\nV100,9\n\nNano,60\n")
    assert read_latency_table(table) == [("Nano", [40.5, 60]), ("V100", [9])]
    other = tmp_path / "devices.json"
    other.write_text('{"Nano": [40.5, 60], "V100": 9}')
    assert read_latency_table(other) == read_latency_table(table)
    nano = read_latency_table(table)[0]
    assert [nano.seconds_of_run(0, n) for n in range(3)] == [0.0405, 0.06, 0.0405]
    for text, problem in (
        ("Nano,-1\n", "line 1: found '-1', allowed: milliseconds above 0"),
        ("device,ms\nNano\n", "line 2: found 'Nano'"),
        ("device,ms\n", "found no device"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=problem):
            read_latency_table(table)
    other.write_text('{"Nano": "x"}')
    with pytest.raises(DataError, match="Nano: found 'x'"):
        read_latency_table(other)


def test_the_command(exported, tiny_coco, tmp_path, capsys):
    options = [
        "--model_dir",
        str(exported),
        "--annotations",
        str(tiny_coco / "annotations/val.json"),
    ]
    options += ["--fps", "30", "--latency_ms", "0", "50"]
    options += ["--json", str(tmp_path / "stream.json")]
    command.main(command.build_parser().parse_args(options))
    printed = capsys.readouterr().out
    assert "4 frames at 30 frames/s" in printed and "50 ms" in printed
    report = json.loads((tmp_path / "stream.json").read_text())
    still, late = report["devices"]
    assert still["streaming"] == report["offline"] and still["unseen"] == 0
    assert late["runs"] == 3 and late["unseen"] == 2  # at 0, 50 and 100 ms: frames 0, 1 and 3


@pytest.mark.parametrize(
    "more, problem",
    [
        (["--fps", "0"], "`fps`: found 0"),
        (["--latency_ms", "-3"], "`latency_ms`: found -3"),
    ],
)
def test_wrong_options(more, problem):
    options = ["--model_dir", "m", "--annotations", "a", "--image_dir", "i", *more]
    with pytest.raises(ConfigError, match=problem):
        command.main(command.build_parser().parse_args(options))
