"""Starting and stopping of servers."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.utils.detection_rows import detection_records
from tests.serve.conftest import Client, form, is_same, running
from tests.serve.paced import open_paced


def test_sigterm_under_load_loses_nothing(repo, exported, files, offline):
    """What the server took it answers, and answers rightly; then it ends with 0."""
    name, content = next(iter(files.items()))
    with running(repo, exported, "--max_batch", "4") as server:
        answered = stop_under_load(server, content, offline[name], 32)
    assert counts(server) == [answered]


def stop_under_load(server, content, expected, clients, **headers):
    """Sends SIGTERM while clients ask; the number of answers, all of which have to be right."""
    right, wrong, turned_away = [], [], []

    def ask():
        while True:
            try:
                answer = server.client.predict(content, **headers)
            except OSError:  # of connections that it did not take
                turned_away.append(1)
                return
            is_right = answer.status == 200 and is_same(
                answer.content["images"][0]["detections"], expected
            )
            (right if is_right else wrong).append(answer)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(right) < 2 * clients and time.monotonic() < deadline:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    for thread in threads:
        thread.join(60)
    assert len(right) >= 2 * clients and wrong == [] and len(turned_away) == clients
    return len(right)


def counts(server):
    """Images that the processes of a server have counted themselves: where the sum is that of the
    answers, no image was detected on whose answer did not arrive."""
    return [int(count) for count in re.findall("stopped after (.*) images", "".join(server.lines))]


def test_processes_share_port_and_figures_and_need_the_token(
    repo, exported, files, offline, tmp_path
):
    (tmp_path / "token.txt").write_text("open sesame\n")
    options = ["--workers", "2", "--token_file", str(tmp_path / "token.txt"), "--max_batch", "2"]
    with running(repo, exported, *options) as server:
        name, content = next(iter(files.items()))
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
            answer = server.client.predict(content, **headers)
            assert answer.status == 401 and answer.header("www-authenticate") == "Bearer"
        right = {"Authorization": "Bearer open sesame"}
        for _ in range(8):
            (image,) = server.client.predict(content, **right).content["images"]
            assert is_same(image["detections"], offline[name])
        assert server.client("GET", "/metrics").status == 401
        for _ in range(4):  # whichever process answers
            figures = server.client("GET", "/metrics", **right).content.decode()
            assert "ppdet_images_total 8.0" in figures
            assert "ppdet_queue_images 0.0" in figures
        answered = stop_under_load(server, content, offline[name], 16, **right)
    assert len(counts(server)) == 2 and sum(counts(server)) == 8 + answered


def test_killed_processes_are_replaced_under_load(paced, exported, files):
    """Each loses the requests that it was working on and no other; while there is none at all, the
    clients wait."""
    content, clients = next(iter(files.values())), 16
    detector = open_paced(exported)
    (rows,) = detector.predict([decode_image(content)])
    expected = detection_records(rows, detector.class_names, detector.threshold)
    right, wrong, lost, is_over = [], [], [], threading.Event()
    server = paced(2)

    def ask():
        while not is_over.is_set():
            try:
                answer = server.client.predict(content)
            except OSError as error:
                lost.append(error)
                continue
            is_right = answer.status == 200 and is_same(
                answer.content["images"][0]["detections"], expected
            )
            (right if is_right else wrong).append(answer)

    def wait_until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert server.process.poll() is None and time.monotonic() < deadline, server.lines
            time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        first = workers(server.process.pid)
        assert len(first) == 2
        for count, killed in enumerate(first, 1):
            wait_until(lambda: len(right) >= 16 * count)  # noqa: B023, called at once
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: len(replaced(server)) == count)  # noqa: B023
        assert not set(first) & set(workers(server.process.pid))
        before = len(right)
        wait_until(lambda: len(right) >= before + 2 * clients)
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)
    assert wrong == [] and 1 <= len(lost) <= 2 * clients, lost
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert "Traceback" not in "".join(server.lines)


def workers(pid):
    """The processes of a server that answer; another one of its children is Python's."""
    return [child for child in children(pid) if b"spawn_main" in command_line(child)]


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def replaced(server):
    return [line for line in server.lines if "exit code -9; another one takes its place" in line]


def test_a_second_ctrl_c_does_not_wait(paced, files):
    """The first one waits for a body that is still sent, for up to 30 s."""
    server = paced(1)
    sender = http.client.HTTPConnection("127.0.0.1", server.client.port)
    sender.putrequest("POST", "/predict")
    sender.putheader("Content-Length", "9999")
    sender.endheaders(next(iter(files.values()))[:100])
    wait_for_queue(server.client, 1)
    server.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.5)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 130
    sender.close()
    assert "".join(server.lines[1:]) == "interrupted\n"


def start(repo, *options):
    script = str(repo / "deploy" / "serving" / "serve.py")
    return subprocess.run(
        [sys.executable, script, *map(str, options)], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_that_cannot_be_loaded_is_one_line(repo, exported, tmp_path, workers):
    for name in ("infer_cfg.yml", "model.json"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    done = start(repo, "--model_dir", tmp_path, "--port", 0, "--workers", workers)
    assert done.returncode == 2, done.stderr
    assert re.search(r"error: .*model.pdiparams: missing", done.stderr)
    assert "Traceback" not in done.stderr and "listening" not in done.stderr


def test_a_port_that_is_taken_is_one_line(repo, exported, client):
    done = start(repo, "--model_dir", exported, "--port", client.port)
    assert done.returncode == 2
    assert re.search(f"--host 127.0.0.1, --port {client.port}: .*in use", done.stderr)


def test_a_full_queue_and_a_late_answer_are_told(repo, exported, files):
    """An image that waits for a batch which never fills holds one of two places of the queue."""
    options = ["--max_images", "2", "--max_queue", "2", "--max_seconds", "2"]
    options += ["--max_batch", "2", "--max_wait_ms", "60000"]
    content = next(iter(files.values()))
    two, headers = form(("a", content), ("b", content))
    with running(repo, exported, *options) as server:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.client.predict(content)))
        thread.start()
        wait_for_queue(server.client, 1)
        busy = server.client.predict(two, **headers)
        assert busy.status == 429 and int(busy.header("retry-after")) >= 1
        text = "1 images are waiting and this request has 2, allowed: 2"
        assert busy.content["error"].startswith(text)
        thread.join(30)
        assert answers[0].status == 504 and "no result in 2 s" in answers[0].content["error"]

        slow = Client(server.client.port)
        slow_answer = slow.predict(trickle(content, server.process))
        assert slow_answer.status == 408 and "did not arrive in 2 s" in slow_answer.content["error"]
        assert b"ppdet_queue_images 0.0" in server.client("GET", "/metrics").content

        gone = http.client.HTTPConnection("127.0.0.1", server.client.port, timeout=10)
        gone.request("POST", "/predict", content)
        wait_for_queue(server.client, 1)
        start = time.monotonic()
        gone.close()  # its image gives its place away at once
        wait_for_queue(server.client, 0)
        assert time.monotonic() - start < 1.5

        for child in children(server.process.pid):  # that of the network; another is Python's
            os.kill(child, signal.SIGKILL)
        dead = server.client.predict(two, **headers)
        assert dead.status == 503 and dead.content["error"].startswith("the network cannot be run")
        assert server.process.wait(30) == 2
        log = "".join(server.lines)
        assert re.search(r"error: .*process of the network ended \(signal 9", log)
        assert "Traceback" not in log


def wait_for_queue(client, images):
    """Waits until so many images are worked on."""
    deadline = time.monotonic() + 10
    while f"ppdet_queue_images {images}.0" not in client("GET", "/metrics").content.decode():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(pid):
    """Processes that a process has started."""
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def trickle(content, process):
    """A body that never ends while the server lives."""
    for place in range(len(content)):
        yield content[place : place + 1]
        time.sleep(0.2)
        if place >= 12 or process.poll() is not None:
            return
