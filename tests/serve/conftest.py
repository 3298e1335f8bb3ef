"""Servers of a small export, and clients of them on the loopback."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest

from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.utils.detection_rows import detection_records

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


class Client:
    """Requests to a server, each in a connection of its own."""

    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, **headers):
        """The status, headers and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {key.replace("_", "-"): value for key, value in headers.items()}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = content and answer.getheader("content-type") == "application/json"
        content = json.loads(content) if is_json else content
        return SimpleNamespace(status=answer.status, content=content, header=answer.getheader)

    def predict(self, body, query="", **headers):
        return self("POST", f"/predict{query}", body, **headers)


def form(*files):
    """The body of a form with files (name, content), and its header."""
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{i}"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for i, (name, content) in enumerate(files)
    ]
    body = b"".join(parts) + b"--limit--\r\n"
    return body, {"Content_Type": "multipart/form-data; boundary=limit"}


def is_same(found, expected):
    """True for the same detections; Paddle's sums differ in their last bits between batches."""
    left = list(expected)
    for one in found:
        near = [
            other
            for other in left
            if one["class_id"] == other["class_id"]
            and one["class_name"] == other["class_name"]
            and abs(one["score"] - other["score"]) <= 1e-3
            and max(abs(a - b) for a, b in zip(one["box"], other["box"])) <= 1e-2
        ]
        if not near:
            return False
        left.remove(near[0])
    return not left


@contextmanager
def running(repo, folder, *options, env=None):
    """A server on a free port: its process and a client; it is stopped at the end."""
    script = repo / "deploy" / "serving" / "serve.py"
    command = [sys.executable, str(script), "--model_dir", str(folder), "--port", "0"]
    with started([*command, "--cpu_threads", "1", *options], env=env) as found:
        yield found


@contextmanager
def started(command, **settings):
    """The server that a command starts; see `running`."""
    for package in PACKAGES:
        pytest.importorskip(package)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **settings)
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("listening on"):
                break
        else:
            pytest.fail("".join(lines))
        reader = threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True)
        reader.start()
        client = Client(int(line.rpartition(":")[2]))
        deadline = time.monotonic() + 120
        while client("GET", "/ready").status != 200:
            assert process.poll() is None and time.monotonic() < deadline, "".join(lines)
            time.sleep(0.05)
        yield SimpleNamespace(process=process, client=client, lines=lines)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


LIMITS = {"max_bytes": 200_000, "max_pixels": 400_000, "max_images": 4, "max_queue": 400}


@pytest.fixture(scope="session")
def server(repo, exported):
    """A server of `exported` with LIMITS and Paddle."""
    options = [part for key, value in LIMITS.items() for part in (f"--{key}", str(value))]
    with running(repo, exported, *options) as found:
        yield found


@pytest.fixture
def paced(repo, exported):
    """paced(workers): a server of `exported` with the network of paced.py."""
    code = "from tests.serve.paced import main; main()"
    with ExitStack() as stack:

        def start(workers):
            command = [sys.executable, "-c", code, str(exported), str(workers)]
            return stack.enter_context(started(command, cwd=repo))

        yield start


@pytest.fixture(scope="session")
def client(server):
    return server.client


@pytest.fixture(scope="session")
def files(tiny_coco):
    """The image files of `tiny_coco` by name."""
    return {path.name: path.read_bytes() for path in sorted((tiny_coco / "images").iterdir())}


@pytest.fixture(scope="session")
def offline(exported, files):
    """By name of a file, the detections that the `Detector` of deployment gives for it alone."""
    from ppdet_lite.runtime.detector import Detector

    detector = Detector(exported, cpu_threads=1)
    return {
        name: detection_records(
            detector.predict([decode_image(content)])[0], detector.class_names, detector.threshold
        )
        for name, content in files.items()
    }
