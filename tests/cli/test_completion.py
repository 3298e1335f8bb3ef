"""`ppdet completion`: the scripts complete what the parsers understand."""

import shutil
import subprocess
import sys

import pytest

from ppdet_lite.commands import completion
from ppdet_lite.commands.main import COMMANDS


@pytest.fixture(scope="module")
def script(tmp_path_factory, repo):
    def write(shell):
        path = tmp_path_factory.mktemp(shell) / f"ppdet.{shell}"
        code = (
            "import sys; sys.argv = ['ppdet', 'completion', sys.argv[1]]\n"
            "from ppdet_lite.commands.main import main\n"
            "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
            "assert 'paddle' not in sys.modules"
        )
        with open(path, "w") as stream:
            run = [sys.executable, "-c", code, shell]
            subprocess.run(run, stdout=stream, check=True, cwd=repo, timeout=60)
        return path

    return write


@pytest.fixture(scope="module")
def complete(script, tmp_path_factory):
    """Completes the last word in real bash, in a folder whose names hold blanks."""
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    path, folder = script("bash"), tmp_path_factory.mktemp("folder")
    for name in ("robo coco", "robo yolo"):
        (folder / name).mkdir()
    (folder / "my weights.pdparams").touch()

    def run(*words):
        text = " ".join(f"'{word}'" for word in ("ppdet", *words))
        call = f"source {path}; COMP_WORDS=({text}); COMP_CWORD={len(words)}; _ppdet"
        bash = ["bash", "-c", call + '; printf "%s\\n" "${COMPREPLY[@]}"']
        done = subprocess.run(bash, capture_output=True, text=True, check=True, cwd=folder)
        return done.stdout.splitlines()

    return run


def test_bash_completes(complete):
    assert complete("tr") == ["train"] and complete("data", "ch") == ["check"]
    assert set(complete("")) == {name.split()[0] for name in COMMANDS}
    assert complete("train", "--ev") == ["--eval"] and "--fix" in complete("data", "check", "-")
    assert complete("train", "-c", "yolox_s_300e") == ["yolox_s_300e_coco"]
    assert complete("models", "yolox", "--sort", "p") == ["params"]
    assert complete("infer", "--image_dir", "/us") == ["/usr"]


def test_bash_completes_names_with_blanks(complete):
    assert sorted(complete("train", "--data", "robo")) == ["robo coco", "robo yolo"]
    assert complete("train", "-o", "weights", "=", "my") == ["my weights.pdparams"]


def test_bash_completes_weights_and_formats(complete):
    name = "yolox_s_300e_coco"
    assert complete("weights", "fetch", "yolox_s_3") == [name]
    assert complete("weights", "fetch", name, "yolox_s_3") == [name]
    assert complete("eval", "-o", "we") == ["weights="]
    assert complete("train", "-o", "pretrain_weights", "=", "yolox_s_3") == [name]
    assert name in complete("train", "-o", "epoch", "=", "2", "weights", "=")
    assert complete("train", "-o", "weights=yolox_s_3") == [f"weights={name}"]  # as zsh has it
    assert complete("train", "-o", "epoch", "=", "2") == [""]
    assert complete("train", "--data", "x", "--data_format", "y") == ["yolo"]
    assert complete("data", "stats", "--data_format", "c") == ["coco", "csv"]


def test_bash_completes_options(complete):
    assert "--help" in complete("-") and "--help" in complete("data", "-")
    assert "--offline" in complete("weights", "fetch", "-")
    for name in COMMANDS:
        assert {"-h", "--help"} <= set(complete(*name.split(), "-")), name


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script(script, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", script(shell)], check=True, timeout=60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_every_script(shell, capsys):
    completion.main(completion.build_parser().parse_args([shell]))
    text = capsys.readouterr().out
    assert all(name.split()[-1] in text for name in COMMANDS) and "yolox_s_300e_coco" in text
