"""docs/differences.md names files and tests: all of them exist."""

import ast
import re

import pytest


@pytest.fixture
def page(repo) -> str:
    return (repo / "docs" / "differences.md").read_text(encoding="utf-8")


def test_files_and_tests_of_the_page_exist(repo, page):
    named = re.findall(r"`((?:ppdet_lite|tests|configs|docs|deploy)/[^`]+)`", page)
    assert len(named) > 80
    missing = []
    for name in named:
        path, _, function = name.partition("::")
        if not (repo / path).exists():
            missing.append(name)
        elif function:
            tree = ast.parse((repo / path).read_text(encoding="utf-8"))
            if function not in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}:
                missing.append(name)
    assert not missing


def test_every_difference_names_its_code_and_a_test(page):
    for paragraph in re.split(r"\n\n", page):
        if paragraph.startswith("**"):
            assert re.search(r"`(ppdet_lite|configs)/", paragraph), paragraph[:80]
            assert "`tests/" in paragraph, paragraph[:80]
