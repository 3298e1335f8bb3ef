"""Weights by address, from a server on this machine."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.download import cache_folder, fetch_weights, is_url

BODY = pickle.dumps({"w": np.arange(25_600, dtype=np.float32)})
OTHER = pickle.dumps({"w": np.arange(25_600, dtype=np.float32)[::-1]})


@pytest.fixture
def server(web):
    web.body = BODY
    return web


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix not in (".lock", ".sha256"))


def refused(url, folder, *words):
    with pytest.raises(CheckpointError) as caught:
        fetch_weights(url, str(folder))
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in (url.partition("#")[0], *words)), text
    assert str(folder) in text and "name a local file" in text
    assert "pretrain_weights" not in text  # a training adds it


def test_a_file_is_fetched_once_and_cached_by_its_full_address(server, tmp_path):
    first = fetch_weights(f"{server.url}/v1/r50.pdparams", str(tmp_path))
    assert Path(first).read_bytes() == BODY and names(tmp_path) == [Path(first).name]
    assert fetch_weights(f"{server.url}/v1/r50.pdparams", str(tmp_path)) == first
    assert len(server.log) == 1
    server.body = OTHER
    others = [f"{server.url}/v2/r50.pdparams", f"{server.url}/v1/r50.pdparams?x=1"]
    paths = {fetch_weights(url, str(tmp_path)) for url in others} | {first}
    assert len(paths) == 3 and all(path.endswith(".pdparams") for path in paths)


def whole(request):
    """The request, answered without a cut."""
    request.path = request.path.replace("cut", "whole")
    return request


@pytest.mark.parametrize(
    "route, tag, ranges",
    [
        ("cut", '"1"', 1),  # the same version: the rest is fetched
        ("cut", '"2"', 1),  # another version: If-Range makes the server send all of it
        ("cut/ignores", '"2"', 2),  # the server sends a part of another version: asked again
        ("cut/notag", '"1"', 0),  # the version is not known: all of it
        ("cut/noranges", '"1"', 1),  # the server sends all of it in any case
    ],
)
def test_a_download_that_was_cut_off(server, tmp_path, route, tag, ranges):
    url = f"{server.url}/{route}/w.pdparams"
    refused(url, tmp_path, "start again to fetch the rest")
    server.tag = tag
    if tag != '"1"':
        server.body = OTHER
    answer, server.answer = server.answer, lambda request: answer(whole(request))
    assert Path(fetch_weights(url, str(tmp_path))).read_bytes() == server.body
    assert len(names(tmp_path)) == 1  # no part and no mark is left
    resumed = [entry for entry in server.log[1:] if entry[1]]
    assert len(server.log) == 1 + max(ranges, 1)
    assert (resumed[0][1:] == (f"bytes={len(BODY) // 2}-", '"1"')) if ranges else not resumed


def test_a_part_that_is_longer_than_the_file(server, tmp_path):
    url = f"{server.url}/cut/w.pdparams"
    refused(url, tmp_path)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(bytes(10**6))
    answer, server.answer = server.answer, lambda request: answer(whole(request))
    assert Path(fetch_weights(url, str(tmp_path))).read_bytes() == BODY


@pytest.mark.parametrize(
    "route, reason",
    [
        ("html", "HTML"),
        ("page", "HTML"),
        ("json", "no weight file: damaged"),
        ("nolength", "length"),
        ("cut/nolength", "length"),
        ("redirect?to=http://example.com/w", "allowed: https"),
        ("redirect?to=file:///etc/passwd", "not allowed"),
        ("missing", "Not Found"),
    ],
)
def test_answers_that_are_not_the_file_are_removed(server, tmp_path, route, reason):
    refused(f"{server.url}/{route}", tmp_path, reason)
    assert names(tmp_path) == []


def test_hashes(server, tmp_path):
    digest = hashlib.sha256(BODY).hexdigest()
    refused(f"{server.url}/w.pdparams#sha256={'0' * 64}", tmp_path, digest)
    assert names(tmp_path) == []
    url = f"{server.url}/nolength/w.pdparams"
    path = fetch_weights(f"{url}#sha256={digest.upper()}", str(tmp_path))
    assert fetch_weights(url, str(tmp_path)) == path
    Path(path).write_bytes(b"damaged")
    refused(f"{url}#sha256={digest}", tmp_path, "SHA-256")


@pytest.mark.parametrize(
    "url",
    ["http://example.com/w", "http://127.0.0.1:9/w", "https:///w", "http://[::1/w", "ftp://a/w"],
)
def test_addresses_that_are_not_fetched(tmp_path, url):
    refused(url, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["..", "%2e%2e%2fevil", "a\\..\\b", ".bashrc", "a b ü.pdparams", "a" * 400, "", "x?a=/../y"],
)
def test_names_stay_in_the_folder(server, tmp_path, name):
    path = Path(fetch_weights(f"{server.url}/v/{name}", str(tmp_path)))
    assert path.parent == tmp_path and path.read_bytes() == BODY and path.name[0] != "."


def test_processes_share_one_download(server, tmp_path):
    code = (
        "import sys; from ppdet_lite.weights.download import fetch_weights as f; f(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, f"{server.url}/slow/w.pdparams", str(tmp_path)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    texts = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], texts
    assert len(server.log) == 1 and len(names(tmp_path)) == 1


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PPDET_LITE_CACHE", str(tmp_path))
    assert cache_folder() == str(tmp_path / "weights")
    assert is_url("https://x/y") and not is_url("/x/y")
