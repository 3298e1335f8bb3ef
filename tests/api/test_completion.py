"""Completion in a real shell."""

import shutil
import subprocess

import pytest

from ppdet_lite.commands import completion


def completed(script: str, *words: str) -> set:
    """What bash offers for the last of `words`."""
    line = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _ppdet; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_commands_options_and_names(capsys):
    completion.main(completion.build_parser().parse_args(["bash"]))
    script = capsys.readouterr().out
    assert completed(script, "ppdet", "tra") == {"train"}
    assert {"check", "stats", "convert"} <= completed(script, "ppdet", "data", "")
    assert {"--fix"} == completed(script, "ppdet", "data", "check", "--fi")
    assert {"--data", "--data_format"} == completed(script, "ppdet", "train", "--da")
    names = completed(script, "ppdet", "train", "-c", "ppyolov2_r101")
    assert names == {"ppyolov2_r101vd_dcn_365e_coco"}


@pytest.mark.parametrize("shell, line", [("fish", "complete -c ppdet"), ("zsh", "bashcompinit")])
def test_other_shells(shell, line, capsys):
    completion.main(completion.build_parser().parse_args([shell]))
    assert line in capsys.readouterr().out
