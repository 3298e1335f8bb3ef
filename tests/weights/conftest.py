"""A server of files on this machine, and files of darknet."""

import http.server
import threading
import time
from contextlib import suppress
from functools import partial

import pytest

from tests.weights.darknet_files import TINY_CFG, tiny_weights


class Server:
    """Answers with `body` on this machine; the words in a path change how.

    Attributes:
        log: (path, Range, If-Range) of every request.
        tag: the ETag.
    """

    def __init__(self):
        self.body, self.tag, self.log = b"", '"1"', []

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
        body = body[: len(self.body) // 2] if "cut" in path else body
        with suppress(ConnectionError):  # who asked may have seen enough
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
def web(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    state = Server()
    handler = partial(_Handler, state)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        state.url = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        listening.shutdown()


@pytest.fixture(scope="session")
def tiny():
    return tiny_weights()


@pytest.fixture
def tiny_file(tiny, tmp_path):
    path = tmp_path / "tiny.weights"
    path.write_bytes(tiny[1])
    return path


@pytest.fixture
def cfg_file(tmp_path):
    path = tmp_path / "tiny.cfg"
    path.write_text(TINY_CFG)
    return path
