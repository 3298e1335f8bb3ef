"""Published weights by name: the list, the cache, conversion, the way into a model."""

import hashlib
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.commands.weights import fetch
from ppdet_lite.commands.weights import list as listing
from ppdet_lite.core.errors import CheckpointError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.evaluate.classes import classes_of_model
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.weights.checkpoint import read_meta
from ppdet_lite.weights.convert.darknet import NORM_LEAVES
from ppdet_lite.weights.convert.darknet_plans import PLANS
from ppdet_lite.weights.files import load_state
from ppdet_lite.weights.zoo import ZooEntry, locate_weights, read_zoo, weights_of_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEADS = {path.stem: path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yml")}
BODY = pickle.dumps({"w": np.arange(25_600, dtype=np.float32)})
DIGEST = hashlib.sha256(BODY).hexdigest()
BACKBONE = "ResNet18_vd_pretrained"


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PPDET_HOME", str(tmp_path))
    return tmp_path / "weights"


@pytest.fixture
def entry(web, home):
    """Weights of a configuration of COCO on a server here."""
    web.body = BODY
    return ZooEntry("net_coco", f"{web.url}/net_coco.pdparams", config="net_coco", classes="coco")


def test_every_entry_is_complete():
    zoo = read_zoo()
    files = [entry.path() for entry in zoo.values()] + [e.remote.path() for e in zoo.values()]
    assert len(set(files)) == len(zoo) + sum(not entry.is_native for entry in zoo.values())
    for entry in zoo.values():
        assert entry.address.startswith("https://") and entry.license, entry.name
        if entry.config is None:
            assert entry.reported is None and entry.name.endswith("_pretrained")
            continue
        metric, value = next(iter(entry.reported.items()))
        head = HEADS[entry.config].partition("_BASE_")[0]
        assert re.search(rf"\b{metric} {value}\b|\b{value} on val2017", head), entry.name


def test_all_addresses_in_configurations_are_in_the_zoo():
    named = {url for text in HEADS.values() for url in re.findall(r"https://\S+\.pdparams", text)}
    assert named and named <= {entry.address for entry in read_zoo().values()}


def test_published_configurations_have_weights():
    """PaddleDetection publishes weights of its recipes under their name."""
    for name in ("ppyolov2_r50vd_dcn_365e_coco", "ppyolo_r50vd_dcn_voc", "yolox_crn_s_300e_coco"):
        assert weights_of_config(name) == [name]
        assert read_zoo()[name].address == f"https://paddledet.bj.bcebos.com/models/{name}.pdparams"


def test_the_first_hash_is_kept_and_compared(entry, home, web, caplog):
    path = Path(entry.fetch())
    assert path == home / "net_coco.pdparams" and path.read_bytes() == BODY
    assert f"No SHA-256 of net_coco.pdparams is known: {DIGEST} is kept" in caplog.text
    assert (home / "net_coco.pdparams.sha256").read_text() == f"{DIGEST}  net_coco.pdparams\n"
    assert read_meta(path)["config"] == "net_coco"
    assert entry.fetch() == str(path) and len(web.log) == 1
    path.write_bytes(BODY + b"x")
    with pytest.raises(CheckpointError, match=r"SHA-256 \w+, the one kept in .*; delete the file"):
        entry.fetch()
    path.unlink()
    web.body = pickle.dumps({"w": np.zeros(3)})  # another file behind the same address
    with pytest.raises(CheckpointError, match=f"allowed: {DIGEST}; if it was changed on purpose"):
        entry.fetch()
    assert not path.exists() and not list_parts(home)
    (home / "net_coco.pdparams.sha256").unlink()
    assert entry.fetch() == str(path)


def list_parts(folder):
    return [path for path in folder.iterdir() if path.suffix == ".part"]


def test_a_published_hash_and_size(entry, home):
    with pytest.raises(CheckpointError, match=f"SHA-256: found {DIGEST}, allowed: 00"):
        replace(entry, sha256="0" * 64).fetch()
    with pytest.raises(CheckpointError, match=f"size: found {len(BODY)} bytes, allowed: 7"):
        replace(entry, size=7).fetch()
    assert [path.suffix for path in home.iterdir()] == [".lock"]
    assert replace(entry, sha256=DIGEST, size=len(BODY)).fetch()


def test_a_cut_connection(entry, web):
    cut = replace(entry, address=entry.address.replace("net_", "cut_"))
    with pytest.raises(CheckpointError, match="start again to fetch the rest"):
        cut.fetch()
    answer = web.answer
    web.answer = lambda request: answer(whole(request))
    assert Path(cut.fetch()).read_bytes() == BODY
    assert web.log[1][1] == f"bytes={len(BODY) // 2}-"


def whole(request):
    request.path = request.path.replace("cut", "whole")
    return request


def test_without_network(entry, home, web, monkeypatch):
    place = re.escape(str(home / "net_coco.pdparams"))
    with pytest.raises(CheckpointError, match=f"{entry.address}: .*offline forbids.* at {place}"):
        entry.fetch(offline=True)
    monkeypatch.setenv("PPDET_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="PPDET_OFFLINE forbids"):
        entry.fetch()
    (home / "net_coco.pdparams").write_bytes(b"{}")
    with pytest.raises(CheckpointError, match="no weight file"):
        entry.fetch()
    (home / "net_coco.pdparams").write_bytes(BODY)  # put there by hand
    assert entry.fetch() == entry.fetch(offline=True) and not web.log


def test_darknet_weights_are_converted_as_they_are_fetched(web, home, caplog):
    rng = np.random.default_rng(0)
    plan = [*PLANS["yolov4-tiny"](1)]
    numbers = rng.random(sum(conv.values for conv in plan), np.float32)
    header = np.array([0, 2, 5], "<i4").tobytes() + np.array([9], "<u8").tobytes()
    web.body = header + numbers.tobytes()
    entry = ZooEntry("tiny_net", f"{web.url}/yolov4-tiny.weights", size=len(web.body), config="c")
    path = Path(entry.fetch())
    assert path == home / "tiny_net.pdparams" and entry.path() == str(path)
    state, first = load_state(str(path)), plan[0]
    found = np.concatenate([state[f"{first.name}.batch_norm.{leaf}"] for leaf in NORM_LEAVES])
    np.testing.assert_array_equal(found, numbers[: 4 * first.ch_out])
    caplog.clear()
    assert entry.fetch() == str(path) and len(web.log) == 1 and "Converted" not in caplog.text
    (home / "yolov4-tiny.weights").unlink()
    (home / "yolov4-tiny.weights.sha256").unlink()
    web.body = header + numbers[::-1].tobytes()
    entry.fetch()
    assert "Converted" in caplog.text
    web.body = b"short"
    broken = ZooEntry("broken", f"{web.url}/broken.weights")
    with pytest.raises(CheckpointError, match="no weight file: truncated"):
        broken.fetch()


def test_names_addresses_and_files(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="did you mean 'ResNet18_vd_pretrained'"):
        locate_weights("ResNet18_vd_pretraind")
    with pytest.raises(CheckpointError, match="there is no folder weights$"):
        locate_weights("weights/none")
    address = read_zoo()[BACKBONE].address
    for name in (BACKBONE, address):
        with pytest.raises(CheckpointError, match=re.escape(str(home / f"{BACKBONE}.pdparams"))):
            locate_weights(name, offline=True)
    (home / f"{BACKBONE}.pdparams").write_bytes(BODY)
    for name in (BACKBONE, f"{BACKBONE}.pdparams", address):
        assert locate_weights(name, offline=True) == str(home / f"{BACKBONE}.pdparams")
    Path(f"{BACKBONE}.pdparams").write_bytes(BODY)  # a file of the user's own comes first
    assert locate_weights(BACKBONE) == BACKBONE


def test_a_model_takes_weights_by_name(home, capsys):
    name = "yolox_nano_300e_coco"
    cfg = load_config(CONFIGS / f"yolox/{name}.yml", [f"weights={name}", "offline=true"])
    with pytest.raises(CheckpointError, match=re.escape(read_zoo()[name].address)):
        load_trained_model(cfg)
    state = {
        key: value.numpy() for key, value in create(cfg.architecture, cfg).state_dict().items()
    }
    home.mkdir(exist_ok=True)
    (home / f"{name}.pdparams").write_bytes(pickle.dumps(state))
    model, weights = load_trained_model(cfg)
    assert weights == str(home / f"{name}.pdparams")
    key = next(iter(state))
    np.testing.assert_array_equal(model.state_dict()[key].numpy(), state[key])
    assert classes_of_model(cfg, weights).names[:2] == ["person", "bicycle"]

    capsys.readouterr()
    listing.main(listing.build_parser().parse_args(["nano", "300e"]))
    row = capsys.readouterr().out.splitlines()[-3]
    assert row.split()[:2] == [name, "26.1"] and row.endswith("yes")
    fetch.main(fetch.build_parser().parse_args(["--offline", name]))
    assert capsys.readouterr().out == f"{weights}\n"
    with pytest.raises(CheckpointError, match="did you mean 'yolox_nano"):
        fetch.main(fetch.build_parser().parse_args(["yolox_nano_300_coco"]))
    with pytest.raises(UserError, match="nothing"):
        listing.main(listing.build_parser().parse_args(["nothing"]))
