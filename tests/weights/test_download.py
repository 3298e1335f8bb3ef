"""Weights by address, from a server on this machine."""

import hashlib
import http.server
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.download import cache_folder, fetch_weights, is_url

BODY = pickle.dumps({"w": np.arange(25_600, dtype=np.float32)})
OTHER = pickle.dumps({"w": np.arange(25_600, dtype=np.float32)[::-1]})


class Server:
    """Answers with `body`; the words in a path change how.

    Attributes:
        log: (path, Range, If-Range) of every request.
        tag: the ETag.
    """

    def __init__(self):
        self.body, self.tag, self.log = BODY, '"1"', []

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.log.append((request.path, wanted, request.headers.get("If-Range")))
        path, body = request.path, self.body
        if "missing" in path:
            request.send_error(404)
            return
        if "redirect" in path:
            request.send_response(302)
            request.send_header("Location", path.partition("=")[2])
            request.end_headers()
            return
        if "html" in path:
            body = b"  <!DOCTYPE html><html>login</html>"
        if "json" in path:
            body = b'{"error": "no such model"}'
        fits = "ignores" in path or request.headers.get("If-Range") == self.tag
        start = int(wanted[6:-1]) if wanted and fits and "noranges" not in path else 0
        if start > len(body):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if "notag" not in path:
            request.send_header("ETag", self.tag)
        if "page" in path:
            request.send_header("Content-Type", "text/html; charset=utf-8")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        body = body[start:]
        if "nolength" not in path:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        body = body[: len(BODY) // 2] if "cut" in path else body
        for part in range(0, len(body), 4096):
            request.wfile.write(body[part : part + 4096])
            time.sleep(0.01 if "slow" in path else 0)


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, server_state, *args):
        self.state = server_state
        super().__init__(*args)

    def do_GET(self):
        self.state.answer(self)

    def log_message(self, *args):
        """Keeps the test output clean."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    state = Server()
    handler = partial(_Handler, state)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        state.url = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        listening.shutdown()


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def refused(url, folder, *words):
    with pytest.raises(CheckpointError) as caught:
        fetch_weights(url, str(folder))
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in (url.partition("#")[0], *words)), text
    assert str(folder) in text and "pretrain_weights=null" in text


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
