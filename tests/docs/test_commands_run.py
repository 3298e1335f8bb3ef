"""Every command that the pages show is run as it stands there, on small data and narrow networks.

Not run: what needs a GPU (the page says so), what is not of this project (pip, docker), and the
commands of OTHER_TESTS.
"""

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from ppdet_lite.commands.main import main
from ppdet_lite.core import shipped
from tests.docs.pages import PAGES, REPO, commands

for package in ("jinja2", "matplotlib", "onnx", "onnxruntime", "openvino", "nncf", "fastapi"):
    pytest.importorskip(package, reason=f"needs the package {package}")

OWN = r"(tools|deploy)/.*\.py"
OTHER_TESTS = {
    "tools/quickstart.py": "the road itself, and this suite",
    "ppdet_infer": "in C++: tests/deploy/test_cpp.py",
    "build/ppdet_infer": "in C++: tests/deploy/test_cpp.py",
}
SHORTER = {
    "train": ["-o", "epoch=1"],
    "quantize": ["--calib_images", "4"],
    "benchmark": ["--repeats", "1", "--warmup", "1", "--threads", "1", "--stages", "raw", "nms"],
    "benchmark_reader": ["--batches", "2", "--repeat", "1"],
    "benchmark_serving": ["--seconds", "1", "--rounds", "1", "--clients", "2"],
}
"""Options behind those of the page, by command, that change the time and not the way."""


def is_run(command) -> bool:
    """Whether a command is one for this test, and can be run without a GPU."""
    words, comment = command
    own = [word for word in words if re.fullmatch(OWN, word)]
    if words[0] not in ("ppdet", "curl") and not (words[0].startswith("python") and own):
        return False
    if "GPU" in comment or "GPU" in words or "--gpus" in words or "..." in words:
        return False
    return not OTHER_TESTS.keys() & {words[0], *own}


RUN = {page: [c for c in commands(page) if is_run(c)] for page in PAGES}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The workplace that the pages start from."""
    from tests.docs.workplace import make_workplace

    text = "\n".join(" ".join(c.words) for found in RUN.values() for c in found)
    return make_workplace(tmp_path_factory.mktemp("pages"), text, REPO)


@pytest.fixture
def workplace(template, tmp_path, monkeypatch):
    root = tmp_path / "work"
    shutil.copytree(template, root, symlinks=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("PPDET_HOME", str(root / "home"))
    monkeypatch.setenv("PPDET_OFFLINE", "1")
    monkeypatch.setattr(shipped, "shipped_folder", lambda: root / "configs")
    return root


@contextlib.contextmanager
def served(words: list):
    """Runs `ppdet serve` beside what follows; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = [sys.executable, "-c", "from ppdet_lite.commands.main import main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    process = subprocess.Popen([*script, *words[1:], "--port", str(port)], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, f"{shlex.join(words)}: {process.returncode}"
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{address}/ready").close()
                break
            time.sleep(0.1)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def ask(words: list, address: str) -> None:
    """Runs the page's curl on that server."""
    asked = [word.replace("http://127.0.0.1:8000", address) for word in words]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["images"], answer


def run(words: list) -> str:
    """Runs a command in this process; returns what it prints."""
    output = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit) as ended,
    ):
        if words[0] == "ppdet":
            patch.setattr(sys, "argv", words)
            main()
        else:
            patch.setattr(sys, "argv", words[1:])
            runpy.run_path(words[1], run_name="__main__")
    assert ended.value.code in (0, None), f"{shlex.join(words)}: {ended.value.code}"
    return output.getvalue()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if RUN[page]], ids=lambda page: str(page.relative_to(REPO))
)
def test_commands_run(page, workplace):
    with contextlib.ExitStack() as stack:
        address = ""
        for words, _ in RUN[page]:
            if words[1] == "serve":
                address = stack.enter_context(served(words))
            elif words[0] == "curl":
                ask(words, address)
            else:
                run_on_small_data(words, workplace)


def run_on_small_data(words: list, workplace) -> None:
    """Runs a command of a page, shortened, and writes its file if it has one."""
    name = next((w for w in words if re.fullmatch(OWN, w)), words[1])
    name = name.rpartition("/")[2].replace(".py", "")
    target = words.index(">") if ">" in words else len(words)
    # Without a file it makes one of COCO's size.
    file = ["train.json"] if words[-1] == "--annotations" else []
    output = run([*words[:target], *file, *SHORTER.get(name, [])])
    if target < len(words):
        (workplace / words[target + 1]).write_text(output)


def test_hardly_a_command_is_left_out():
    """So that the rules of `is_run` cannot leave out more and more."""
    assert sum(map(len, RUN.values())) > 70
