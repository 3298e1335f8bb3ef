"""Folders for docker build: all that the Dockerfile copies is there, and its command serves."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import pytest

from ppdet_lite.commands import export as export_command
from ppdet_lite.core.errors import UserError
from ppdet_lite.export.serving.docker import OWN_NAMES, write_context

NO_NETWORK = """
import socket, sys

for name in ("pycocotools", "onnx", "onnxruntime", "matplotlib", "shapely"):  # not in the image
    sys.modules[name] = None

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        target = arguments[1] if event == "socket.connect" else arguments[0]
        if "127.0.0.1" not in str(target):
            raise RuntimeError(f"{event} {target}")

sys.addaudithook(refuse)
"""


@pytest.fixture(scope="module")
def context(exported, tmp_path_factory):
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        pytest.importorskip(package)
    return write_context(exported, tmp_path_factory.mktemp("docker") / "image")


def instructions(path):
    """The instructions of a Dockerfile with their arguments."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_dockerfile_copies_what_is_there(context, kind):
    assert sorted(path.name for path in context.iterdir()) == sorted(OWN_NAMES)
    steps = instructions(context / f"Dockerfile.{kind}")
    assert steps[0] == ("FROM", "python:{}.{}-slim".format(*sys.version_info))
    for source, _ in (arguments.split() for name, arguments in steps if name == "COPY"):
        assert (context / source).exists(), source
    assert ("USER", "ppdet") in steps
    entry = json.loads(dict(steps)["ENTRYPOINT"])
    assert ("GPU" in entry) == (kind == "gpu")
    requirements = (context / f"requirements-{kind}.txt").read_text().split()
    assert all(re.search("[=<]=", line) for line in requirements)
    assert any(line.startswith("paddlepaddle" + "-gpu" * (kind == "gpu")) for line in requirements)
    assert ("ARG", "PADDLE_INDEX") in steps or kind == "cpu"


def test_the_command_serves_without_the_network(context, exported, tmp_path):
    """As in the container: from the folder alone, and no connection but on the loopback."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    steps = instructions(context / "Dockerfile.cpu")
    entry = json.loads(dict(steps)["ENTRYPOINT"])
    environment = dict(shlex.split(dict(steps)["ENV"])[i].split("=") for i in range(2))
    entry = [sys.executable, *entry[1:], "--host", "127.0.0.1", "--port", "0"]
    entry += ["--cpu_threads", "1"]
    env = {**os.environ, **environment, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(entry, cwd=context, env=env, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stderr.readline, "")
        address = next(line for line in lines if line.startswith("listening")).split()[-1]
        check = dict(steps)["HEALTHCHECK"].partition("CMD ")[2]
        check = json.loads(check)[1:]
        check[1] = check[1].replace("http://127.0.0.1:8000", address)
        subprocess.run([sys.executable, *check], check=True, timeout=30)
        deadline = time.monotonic() + 60
        body = b"P6 128 96 255 " + bytes(128 * 96 * 3)
        while time.monotonic() < deadline:
            try:
                answer = urlopen(Request(f"{address}/predict", body), timeout=60)
                break
            except OSError:  # it is being loaded
                time.sleep(0.1)
        assert json.load(answer)["images"][0]["width"] == 128
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not (context / "model" / "__pycache__").exists()


def test_folders_of_others_are_left_alone(exported, tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(UserError, match="found photo.jpg in it"):
        write_context(exported, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no network for onnxruntime or paddle"):
        write_context(empty, tmp_path / "image")


def listing(folder):
    return sorted(folder.rglob("*"))


def test_only_a_context_is_replaced(context, exported, tmp_path):
    target = shutil.copytree(context, tmp_path / "image")
    (target / "serve.py").write_text("old")
    assert write_context(exported, target) == target
    assert listing(target) == [target / path.relative_to(context) for path in listing(context)]
    assert (target / "serve.py").read_text() != "old"
    (target / "model" / "my_weights.bin").write_text("mine")
    with pytest.raises(UserError, match="found model/my_weights.bin"):
        write_context(exported, target)
    (target / "model" / "my_weights.bin").unlink()
    (target / "Dockerfile.cpu").write_text("FROM mine")
    with pytest.raises(UserError, match="image: found Dockerfile.cpu"):
        write_context(exported, target)
    shutil.rmtree(target)
    shutil.copytree(exported, target / "model")  # an export in a folder of that name
    before = listing(target)
    with pytest.raises(UserError, match="image: found model"):
        write_context(exported, target)
    assert listing(target) == before


@pytest.mark.parametrize("place", [".", "model", "model/image"])
def test_folders_around_and_in_the_export_are_refused(exported, tmp_path, place):
    export = shutil.copytree(exported, tmp_path / "model")
    before = listing(tmp_path)
    with pytest.raises(UserError, match=f"`dockerfile` .*: found the export {export} there"):
        write_context(export, tmp_path / place)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("option", ["dockerfile", "triton"])
def test_folders_are_checked_before_the_export(small_config, tmp_path, option):
    (tmp_path / "file").write_text("mine")
    for target, found in (("out", "found the export"), ("file", "found a file")):
        arguments = ["-c", str(small_config), "--output_dir", str(tmp_path / "out")]
        arguments += ["--format", "onnx", f"--{option}", str(tmp_path / target)]
        with pytest.raises(UserError, match=f"`{option}` .*: {found}"):
            export_command.main(export_command.build_parser().parse_args(arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
