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


def test_bash_completes(script):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    path = script("bash")

    def complete(*words):
        text = " ".join(f"'{word}'" for word in ("ppdet", *words))
        call = f"source {path}; COMP_WORDS=({text}); COMP_CWORD={len(words)}; _ppdet"
        run = ["bash", "-c", call + '; printf "%s\\n" "${COMPREPLY[@]}"']
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()

    assert complete("tr") == ["train"] and complete("data", "ch") == ["check"]
    assert set(complete("")) == {name.split()[0] for name in COMMANDS}
    assert complete("train", "--ev") == ["--eval"] and "--fix" in complete("data", "check", "-")
    assert complete("train", "-c", "yolox_s_300e") == ["yolox_s_300e_coco"]
    assert complete("models", "yolox", "--sort", "p") == ["params"]
    assert complete("infer", "--image_dir", "/us") == ["/usr"]


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
