"""Every command that the pages show is one that the tools take, with options that they have."""

import importlib
import re
import runpy
import shlex

import pytest

from ppdet_lite.commands.main import COMMANDS
from tests.docs.pages import PAGES, REPO, commands


def arguments_of(words: list):
    """(parser, arguments) of a command of this project; None for others."""
    end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&", "&")), None)
    words = words[:end]
    tool = next((i for i, w in enumerate(words) if re.fullmatch(r"(tools|deploy)/.*\.py", w)), None)
    if tool is not None and words[0].startswith("python"):
        assert (REPO / words[tool]).is_file(), words[tool]
        build = runpy.run_path(str(REPO / words[tool])).get("build_parser")
        return (build(), words[tool + 1 :]) if build else None
    if words[0] == "ppdet":
        for count in (2, 1):
            if (name := " ".join(words[1 : 1 + count])) in COMMANDS:
                module = importlib.import_module(f"ppdet_lite.commands.{COMMANDS[name][0]}")
                return module.build_parser(), words[1 + count :]
        assert words[1].startswith("-"), f"ppdet has no command {words[1]}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_commands_are_taken(page, capsys):
    for words, _ in commands(page):
        if (known := arguments_of(words)) is None or "..." in words:
            continue  # an option of its own, after a full command
        parser, arguments = known
        try:
            args = parser.parse_args(arguments)
        except SystemExit as stop:
            assert stop.code == 0, f"{shlex.join(words)}: {capsys.readouterr().err}"
            continue
        if re.match("configs/", config := getattr(args, "config", None) or ""):
            assert (REPO / config).is_file(), f"{shlex.join(words)}: no such file"


def test_commands_are_found():
    """So that the test above cannot pass by finding nothing."""
    assert sum(arguments_of(c.words) is not None for page in PAGES for c in commands(page)) > 20
