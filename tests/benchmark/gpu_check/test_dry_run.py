"""The whole check on the CPU, small and short, from a set of networks that was packed."""

import json
import shutil

import pytest

from ppdet_lite.benchmark.engines import ENGINES, Engine, Kind
from ppdet_lite.benchmark.gpu_check.cases import Case, Setup
from ppdet_lite.benchmark.gpu_check.inference import make_references, measure_speed
from ppdet_lite.benchmark.gpu_check.networks.drawn_weights import write_all_weights
from ppdet_lite.benchmark.gpu_check.networks.network_set import NetworkSet
from ppdet_lite.benchmark.gpu_check.run import (
    TRAININGS,
    CheckOptions,
    find_images,
    gpu_check,
    plan,
)
from ppdet_lite.benchmark.gpu_check.training import WAYS
from ppdet_lite.core.errors import DataError, UserError
from tests.benchmark.test_against import write_detector
from tests.tools.in_process import run_tool

for package in ("onnx", "onnxruntime", "paddle2onnx"):
    pytest.importorskip(package)


def silent(_):
    """Takes lines about the progress."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A set of the small network without large weights, and a peer."""
    from ppdet_lite.benchmark.gpu_check.networks.prepare import SMALL_NETWORKS, prepare_networks

    root = tmp_path_factory.mktemp("gpu_check")
    prepare_networks(
        [network._replace(batches=(1,)) for network in SMALL_NETWORKS],
        root / "networks",
        images=find_images(CheckOptions(), root, silent)[0].parent,
        against=[str(write_detector(root / "peer.onnx", ["n", 3, 64, 64]))],
        without_weights=True,
        say=silent,
    )
    return root / "networks"


def test_a_dry_run(packed, tmp_path, capsys):
    assert not list(packed.rglob("*.weights"))
    out = tmp_path / "out"
    options = ("--networks", packed, "--output_dir", out, "--dry-run", "--threads", 1)
    run_tool("gpu_check", *options)
    page = capsys.readouterr().out
    assert page.rstrip() == (out / "report.md").read_text().rstrip()
    result = json.loads((out / "results.json").read_text())
    jobs = {row["case"]["job"] for row in result["rows"]}
    assert jobs == {"reference", "speed", "throughput", "other model", "training"}
    assert [row["failed"] for row in result["rows"] if "failed" in row] == []
    compared = [row for row in result["rows"] if "boxes" in row]
    assert len(compared) >= 2 and all(row["boxes_agree"] for row in compared)
    for row in compared:
        assert row["raw_ms"]["median"] > 0 and row["nms_ms"]["median"] > 0
    (reference,) = [row for row in result["rows"] if row["case"]["job"] == "reference"]
    assert 0.001 < reference["int8_distance"] < 0.5
    boxes = next(v for v in result["verdicts"] if "boxes of the CPU" in v["target"])
    assert boxes["reached"] is True
    trainings = [row for row in result["rows"] if row["case"]["job"] == "training"]
    ways = {row["case"]["engine"]: row for row in trainings}
    assert tuple(ways) == TRAININGS == tuple(WAYS)
    assert [name for name in ways if "skipped" in ways[name]] == ["amp_o1", "amp_o2", "sync_bn"]
    trained = ways["fp32"]
    assert trained["pixels"] == "uint8" and trained["steps"] == 2
    assert trained["is_finite"] and trained["images_per_s"] > 0
    assert "training: r18_64, amp_o2, batch 2: Paddle's mixed precision" in page
    assert "| peer | onnxruntime (CPUExecutionProvider) | fp32 | 1 |" in page


class Rounded(Engine):
    """An engine on the CPU that runs TensorRT's INT8 file, under ONNX Runtime's name."""

    has_tensorrt_int8 = True


def test_int8_is_compared_by_the_size_of_its_roundings(packed, tmp_path, monkeypatch):
    networks = tmp_path / "networks"
    shutil.copytree(packed, networks)
    write_all_weights(networks, 1)
    for path in networks.rglob("model_tensorrt_int8.onnx"):
        shutil.copyfile(path, path.with_name("model_int8.onnx"))
    options = {"engine": "onnxruntime", "precision": "int8"}
    monkeypatch.setitem(ENGINES, "rounded", Rounded(options, Kind("onnx"), precision="int8"))
    images = find_images(CheckOptions(), tmp_path, silent)[:2]
    setup = Setup(networks, tuple(images), tmp_path / "out").shortened()
    noted = {}
    make_references(Case("reference", "r18_64", "onnxruntime"), setup, noted.update)
    measure_speed(Case("speed", "r18_64", "rounded"), setup, noted.update)
    assert noted["boxes_agree"] and noted["nms_ms"]["median"] > 0
    distance = f"{noted['int8_distance']:.1%}"
    assert noted["boxes"] == f"raw outputs {distance} off by norm, on the CPU {distance}"


def test_int8_is_measured_where_the_set_holds_it(packed, tmp_path):
    wanted = [name for name, engine in ENGINES.items() if engine.has_tensorrt_int8]
    networks = NetworkSet.read(packed)
    assert set(wanted) <= set(plan(CheckOptions(), networks).engines)
    for stage in ("raw", "nms_fixed"):
        recipe = networks.export("r18_64", stage, 1) / "model_tensorrt_int8.onnx.recipe.json"
        kinds = {part["dtype"] for part in json.loads(recipe.read_text())}
        assert kinds == {"int8", "float32"}
    shutil.copyfile(packed / "networks.json", tmp_path / "networks.json")
    assert not set(wanted) & set(plan(CheckOptions(), NetworkSet.read(tmp_path)).engines)


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="no GPU.*dry_run"):
        gpu_check(CheckOptions(str(tmp_path)))


def test_photos_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="images"):
        find_images(CheckOptions(images=str(tmp_path)), tmp_path)
