"""Reading YAML: text that stays text, and bounds."""

import contextlib

import pytest

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.core.yaml import MAX_BYTES, parse_yaml, read_yaml


def test_text_keys_keep_names_as_written():
    text = "names: [no, 007, 1.0, 2020-01-01, ~, on]\nnc: 6"
    names = ["no", "007", "1.0", "2020-01-01", "~", "on"]
    assert parse_yaml(text, "data.yaml", text_keys=["names"]).value == {"names": names, "nc": 6}
    assert parse_yaml("names: {0: no, 1: yes}", "x", text_keys=["names"]).value == {
        "names": {0: "no", 1: "yes"}
    }


def test_dates_and_keys_are_text_and_numbers_are_numbers():
    value = parse_yaml("{on: 2020-99-99, 1.0: 1e-3, 2: 0x10}", "x").value
    assert value == {"on": "2020-99-99", "1.0": 0.001, 2: 16}


@pytest.mark.parametrize(
    "text, found",
    [
        ("a: !!int abc", "a: found abc"),
        ("a: !!bool abc", "a: found abc"),
        ("a: !!timestamp abc", "a: found abc"),
        (f"a: {'1' * 5000}", "a: found 1111.*at most 64 bits"),
        ('a: "x\\ud800"', r"a: found x\\ud800, allowed: text"),
        ('"x\\ud800": 1', r"x\\ud800: found x"),
        ("a: 0xffffffffffffffffffff", "at most 64 bits"),
        ("? [a]\n: 1", "a key that is a list"),
        ("[" * 3000, "levels"),
        ("&a [*a]", "levels"),
        ("\x7f", "x007f"),
        ("x" * (MAX_BYTES + 1), "4 MB"),
    ],
)
def test_every_problem_names_the_source(text, found):
    with pytest.raises(DataError, match=found) as caught:
        parse_yaml(text, "file.yml", DataError)
    assert str(caught.value).startswith("file.yml") and "\n" not in str(caught.value)


def bomb(form):
    levels = [form.format(i, ", ".join([f"*a{i - 1}"] * 10)) for i in range(1, 11)]
    return "\n".join(["a0: &a0 {k: 1}", *levels])


def test_aliases_of_aliases_are_bounded():
    with pytest.raises(ConfigError, match="100000"):
        parse_yaml(bomb("a{0}: &a{0} [{1}]"), "bomb.yml")


def test_merges_of_merges_are_bounded():
    with contextlib.suppress(ConfigError):  # PyYAML drops repeated keys itself from 6.0.4 on
        assert parse_yaml(bomb("a{0}: &a{0} {{<<: [{1}]}}"), "bomb.yml").value["a9"] == {"k": 1}


def test_bases_of_bases_are_bounded_and_read_once(tmp_path):
    for level in range(10):
        (tmp_path / f"{level}.yml").write_text(f"_BASE_: [{', '.join([f'{level + 1}.yml'] * 10)}]")
    (tmp_path / "10.yml").write_text("epoch: 3\n")
    with pytest.raises(ConfigError, match="more than 100 bases"):
        load_config(tmp_path / "0.yml")
    assert load_config(tmp_path / "9.yml").epoch == 3


@pytest.mark.parametrize("base", ["~nouser/x", "b" * 5000, '"a\\0b"', "."])
def test_a_base_that_cannot_be_a_file(tmp_path, base):
    path = tmp_path / "c.yml"
    path.write_text(f"_BASE_: {base}\n")
    with pytest.raises(ConfigError, match=r"c.yml:1: _BASE_: found") as caught:
        load_config(path)
    assert len(str(caught.value)) < 1000


def test_files_that_are_not_text(tmp_path):
    path = tmp_path / "c.yml"
    path.write_bytes(b"epoch: 3\n\xff\xfe: 1\n")
    with pytest.raises(ConfigError, match=r"c.yml:2: .*UTF-8"):
        read_yaml(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_yaml(tmp_path, DataError)


@pytest.mark.parametrize("name", ["", ".x", "no_such_module", "raises.py", "broken.py", "exits.py"])
def test_a_custom_module_that_cannot_be_imported(tmp_path, name):
    (tmp_path / "raises.py").write_text("x = 1\nraise KeyError('k')\n")
    (tmp_path / "broken.py").write_text("def broken(:\n")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "c.yml").write_text(f"custom_modules: ['{name}']\n")
    with pytest.raises(ConfigError, match="custom_modules.0: found") as caught:
        load_config(tmp_path / "c.yml")
    assert ("raises.py:2" in str(caught.value)) == (name == "raises.py")


@pytest.mark.parametrize("index", ["²", "9" * 5000, "--1"])
def test_an_override_with_an_index_that_is_none(tmp_path, index):
    (tmp_path / "c.yml").write_text("TrainReader: {sample_transforms: [{Decode: {}}]}\n")
    with pytest.raises(ConfigError, match="sample_transforms: found"):
        load_config(tmp_path / "c.yml", [f"TrainReader.sample_transforms.{index}=1"])
