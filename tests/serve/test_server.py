"""A server, asked over the loopback; see conftest.py."""

import json
import re
import socket
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest

from ppdet_lite.utils.drawing import draw_detections
from tests.data.pixels.test_headers import BOMBS
from tests.serve.conftest import LIMITS, form, is_same


def png_bomb(side):
    """A PNG of a few bytes whose header promises side x side pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BOMB, TEXT = png_bomb(50_000), b"this is not an image, whatever it is called\n" * 3
FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n--limit\r\n'
BAD = {
    "a decoding bomb": (BOMB, {}, 422, "50000x50000 = 2500000000 pixels"),
    "a text file": (TEXT, {}, 422, "not an image"),
    "an empty body": (b"", {}, 400, "empty"),
    "an empty file": (*form(("a.jpg", b"")), 400, "a.jpg: empty"),
    "a text file named .jpg": (*form(("a.jpg", TEXT)), 422, "a.jpg: not an image"),
    "too many bytes": (bytes(LIMITS["max_bytes"] + 1), {}, 413, "allowed: 200000"),
    "a form without a file": (b"--limit--\r\n", form()[1], 400, "no file in the form"),
    "no form": (b"abc", form()[1], 400, "the form cannot be read|no file"),
    "1000 fields without a file": (b"--limit\r\n" + FIELD * 1000, form()[1], 400, "no file in the"),
    "1001 fields": (b"--limit\r\n" + FIELD * 1001, form()[1], 400, "Too many fields"),
    "1000 empty files": (*form(*[("", b"")] * 1000), 413, "too many images in one request"),
    "a part without headers": (b"--limit\r\n\r\n" + TEXT, form()[1], 400, "the form cannot be"),
    "JSON": (b'{"image": "aGk="}', {"Content_Type": "application/json"}, 422, "not an image"),
    "no boundary": (b"abc", {"Content_Type": "multipart/form-data"}, 400, "the form cannot be"),
    "a compressed body": (TEXT, {"Content_Encoding": "gzip"}, 415, "Content-Encoding: found gzip"),
    "a wrong Accept": (TEXT, {"Accept": "text/html"}, 406, "Accept: found text/html"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies_get_a_reason_in_json(client, name):
    body, headers, status, reason = BAD[name]
    answer = client.predict(body, **headers)
    assert answer.status == status, answer.content
    assert answer.content["status"] == status and re.search(reason, answer.content["error"])
    assert client("GET", "/health").content == {"status": "ok"}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_of_every_format_are_refused_before_they_are_decoded(client, kind):
    answer = client.predict(BOMBS[kind])
    assert answer.status == 422
    assert "60000x60000 = 3600000000 pixels, more than the limit of" in answer.content["error"]


def test_damaged_files_get_a_reason(server, client, files):
    """And nothing of OpenCV in the log."""
    name, content = next(iter(files.items()))
    damaged = BOMBS["HDR"].replace(b"60000", b"9")
    assert client.predict(damaged).status == 422
    rng = np.random.default_rng(0)
    for place in rng.integers(2, len(content) - 2, 20):
        answer = client.predict(content[:place])
        assert answer.status == 422 and answer.content["error"].startswith("body: ")
    assert "ERROR" not in "".join(server.lines)


def test_one_bad_image_of_many_is_named(client, files):
    good = next(iter(files.values()))
    body, headers = form(("one.jpg", good), ("two.jpg", TEXT), ("three.png", BOMB))
    answer = client.predict(body, **headers)
    assert answer.status == 422
    assert re.search("two.jpg: not an image.*; three.png: 50000x50000", answer.content["error"])
    body, headers = form(*[("a.jpg", good)] * 5)
    answer = client.predict(body, **headers)
    assert (answer.status, answer.content["error"]) == (413, "5 images in one request, allowed: 4")
    body, headers = form(*[("a.jpg", good)] * 7)
    answer = client.predict(body, **headers)
    assert answer.status == 413
    assert answer.content["error"] == "too many images in one request, allowed: 4"


def test_a_body_of_unknown_length_is_read_up_to_the_limit(client, files):
    content = next(iter(files.values()))
    answer = client.predict(iter([content[:999], content[999:]]))
    assert answer.status == 200
    answer = client.predict(iter([bytes(LIMITS["max_bytes"]), b"1"]))
    assert answer.status == 413


def test_boxes_are_those_of_the_detector(client, files, offline):
    for name, content in files.items():
        answer = client.predict(content)
        assert answer.status == 200
        (image,) = answer.content["images"]
        assert (image["name"], image["width"], image["height"]) == ("body", 128, 96)
        assert is_same(image["detections"], offline[name])
        times = answer.content["times_ms"]
        assert set(times) == {"decode", "queue", "network", "total"}
        assert times["total"] >= times["network"] > 0
        assert "network;dur=" in answer.header("server-timing")
    assert any(offline.values())


def test_images_of_a_form_keep_their_order(client, files, offline):
    chosen = list(files.items())[:4]
    body, headers = form(*chosen)
    images = client.predict(body, **headers).content["images"]
    assert [image["name"] for image in images] == [name for name, _ in chosen]
    for image, (name, _) in zip(images, chosen):
        assert is_same(image["detections"], offline[name])


def test_the_lowest_score_is_that_of_the_request(client, files, offline):
    name = max(offline, key=lambda name: len(offline[name]))
    scores = [found["score"] for found in offline[name]]
    middle = sum(scores) / len(scores)  # none of them is so near that rounding counts
    answer = client.predict(files[name], f"?threshold={middle}")
    expected = [found for found in offline[name] if found["score"] >= middle]
    assert is_same(answer.content["images"][0]["detections"], expected)
    assert 0 < len(expected) < len(scores)
    for wrong in ("2", "-0.1", "nan", "high"):
        answer = client.predict(files[name], f"?threshold={wrong}")
        assert answer.status == 422 and answer.content["error"].startswith("threshold: ")
    answer = client.predict(files[name] * 20, "?treshold=0.9&threshold=0.9")
    assert answer.status == 422
    assert answer.content["error"] == "treshold: unknown, allowed: threshold"


@pytest.mark.parametrize("media_type, mark", [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8")])
def test_a_drawn_image_by_accept(client, files, exported, media_type, mark):
    from ppdet_lite.runtime.detector import Detector

    name, content = next(iter(files.items()))
    answer = client.predict(content, "?threshold=0.2", Accept=f"image/{media_type}")
    assert answer.status == 200 and answer.header("content-type") == f"image/{media_type}"
    assert answer.content.startswith(mark)
    detector = Detector(exported, cpu_threads=1)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    rows = detector.predict([image])[0]
    expected = draw_detections(image, rows, detector.class_names, 0.2)
    drawn = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(drawn.astype(int) - expected).mean() < (0.01 if media_type == "png" else 20)
    assert np.abs(image.astype(int) - expected).mean() > 20
    body, headers = form(("a", content), ("b", content))
    answer = client.predict(body, Accept=f"image/{media_type}", **headers)
    assert answer.status == 406 and answer.content["error"].startswith("2 images, allowed")


def test_200_clients_with_good_and_bad_bodies(client, files, offline):
    """Nothing is lost, and every answer is the one for that body alone."""
    names = list(files)
    bad = [BAD[name] for name in ("a decoding bomb", "a text file named .jpg", "an empty body")]
    results, start = {}, threading.Barrier(200)

    def ask(index):
        rng = np.random.default_rng(index)
        start.wait(60)
        if index % 4 == 3:
            body, headers, status, _ = bad[index // 4 % len(bad)]
            answer = client.predict(body, **headers)
            results[index] = answer.status == status and answer.content["status"] == status
        elif index % 4 == 2:
            chosen = [names[i] for i in rng.choice(len(names), int(rng.integers(2, 5)))]
            body, headers = form(*[(name, files[name]) for name in chosen])
            images = client.predict(body, **headers).content["images"]
            found = [image["detections"] for image in images]
            expected = [offline[name] for name in chosen]
            results[index] = len(found) == len(chosen) and all(map(is_same, found, expected))
        else:
            name = names[int(rng.integers(len(names)))]
            (image,) = client.predict(files[name]).content["images"]
            results[index] = is_same(image["detections"], offline[name])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == 200
    assert [index for index, is_right in results.items() if not is_right] == []
    figures = client("GET", "/metrics").content.decode()
    runs, images = (
        float(re.search(rf"ppdet_batch_images_{name} (\S+)", figures)[1])
        for name in ("count", "sum")
    )
    assert images / runs > 2  # they did share runs
    assert "ppdet_queue_images 0.0" in figures
    assert re.search('ppdet_requests_total{path="/predict",status="422"} ', figures)


def test_the_interface_describes_itself_without_other_sites(client):
    api = client("GET", "/openapi.json").content
    assert {"/predict", "/health", "/ready", "/metrics", "/model"} == set(api["paths"])
    predict = api["paths"]["/predict"]["post"]
    assert {"413", "422", "429", "504"} <= set(predict["responses"])
    assert "multipart/form-data" in predict["requestBody"]["content"]
    for path in ("/", "/docs", "/static/page.js", "/static/docs.js", "/static/style.css"):
        answer = client("GET", path)
        assert answer.status == 200
        assert not re.search(rb'(src|href|from|fetch)[=( ]+["\'`]?(https?:)?//', answer.content)
        assert "default-src 'self'" in answer.header("content-security-policy")
    model = client("GET", "/model").content
    assert [one["name"] for one in model["classes"]] == ["square", "circle"]
    assert re.fullmatch("#[0-9a-f]{6}", model["classes"][0]["color"])
    assert (model["input_size"], model["max_images"]) == ([96, 128], LIMITS["max_images"])
    json.dumps(api)


@pytest.mark.parametrize("path, status", [("/nothing", 404), ("/static/../app.py", 404)])
def test_other_paths_are_not_found(client, path, status):
    answer = client("GET", path)
    assert answer.status == status and answer.content["status"] == status
    assert client("GET", "/predict").status == 405


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/ready", "/metrics", "/model"])
def test_head_is_answered_as_get_without_a_body(client, path):
    head, get = client("HEAD", path), client("GET", path)
    assert (head.status, get.status) == (200, 200)
    assert head.content == b"" and get.content
    assert head.header("content-type") == get.header("content-type")
    assert client("HEAD", "/predict").status == 405


def test_the_type_that_is_sent_does_not_matter(client, files, offline):
    name, content = next(iter(files.items()))
    for sent in ("text/plain", "image/png", "no type", "application/x-www-form-urlencoded"):
        answer = client.predict(content, Content_Type=sent)
        assert answer.status == 200
        assert is_same(answer.content["images"][0]["detections"], offline[name])


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
)
def test_what_is_no_http_is_refused(client, sent):
    """By uvicorn, so the reason is plain text (docs/serving.md)."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert client("GET", "/health").status == 200
