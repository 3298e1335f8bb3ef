"""Weights by URL, from a server on this machine."""

import http.server
import threading
from functools import partial
from pathlib import Path

import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.download import cache_folder, fetch_weights, is_url


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, log, body, lies, *args):
        self.log, self.body, self.lies = log, body, lies
        super().__init__(*args)

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.log.append(wanted)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and not self.path.startswith("/noranges") else 0
        if start > len(self.body):
            self.send_error(416)
            return
        body = self.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) + self.lies))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keeps the test output clean."""


@pytest.fixture
def serve(monkeypatch):
    servers = []

    def start(body=bytes(range(256)) * 40, lies=0):
        log = []
        handler = partial(_Handler, log, body, lies)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", log, body

    monkeypatch.setenv("no_proxy", "*")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_file_is_fetched_once(serve, tmp_path):
    url, log, body = serve()
    path = fetch_weights(f"{url}/models/r50.pdparams?x=1", str(tmp_path / "cache"))
    assert path == str(tmp_path / "cache" / "r50.pdparams")
    assert Path(path).read_bytes() == body
    assert fetch_weights(f"{url}/models/r50.pdparams", str(tmp_path / "cache")) == path
    assert log == [None]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["r50.pdparams"]


@pytest.mark.parametrize("route", ["ok", "noranges"])
@pytest.mark.parametrize("have", [100, 10**6])
def test_a_download_that_was_cut_off_goes_on(serve, tmp_path, route, have):
    url, log, body = serve()
    (tmp_path / "w.pdparams.part").write_bytes(body[:have] + b"?" * max(0, have - len(body)))
    path = fetch_weights(f"{url}/{route}/w.pdparams", str(tmp_path))
    assert Path(path).read_bytes() == body
    assert log[0] == f"bytes={have}-"


def test_a_short_answer_is_no_file(serve, tmp_path):
    url, _, body = serve(lies=5)
    with pytest.raises(CheckpointError, match="cannot download"):
        fetch_weights(f"{url}/w.pdparams", str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["w.pdparams.part"]


def test_a_failure_names_the_url_and_the_ways_out(serve, tmp_path):
    url, _, _ = serve()
    with pytest.raises(CheckpointError) as error:
        fetch_weights(f"{url}/missing.pdparams", str(tmp_path))
    text = str(error.value)
    assert f"{url}/missing.pdparams" in text and "Not Found" in text
    assert str(tmp_path / "missing.pdparams") in text and "pretrain_weights=null" in text
    with pytest.raises(CheckpointError, match="127.0.0.1:9/"):
        fetch_weights("http://127.0.0.1:9/w.pdparams", str(tmp_path))


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PPDET_LITE_CACHE", str(tmp_path))
    assert cache_folder() == str(tmp_path / "weights")
    assert is_url("https://x/y") and not is_url("/x/y")
