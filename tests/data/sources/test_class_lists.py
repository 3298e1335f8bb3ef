"""Files of class names, and the comparison of two lists."""

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.class_lists import compare_class_names, read_class_list


def test_label_lists(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffdog\r\n\r\n traffic light \r\n".encode())
    assert read_class_list(path).names == ["dog", "traffic light"]
    path.write_text("dog\ncat\ndog\n")
    with pytest.raises(DataError, match="names.txt line 3: 'dog' .* line 1"):
        read_class_list(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="names.txt: no class names"):
        read_class_list(path)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("names: 5\n", "found '5'"),
        ("names: [a, a]\n", "'a' stands already"),
        ("a: [", "not valid YAML"),
    ],
)
def test_unusable_yaml(tmp_path, text, problem):
    path = tmp_path / "data.yaml"
    path.write_text("names: {1: cat, 0: dog}\n")
    assert read_class_list(path) == (["dog", "cat"], [1, 2])
    path.write_text(text)
    with pytest.raises(DataError, match=f"data.yaml.*{problem}"):
        read_class_list(path)


def test_class_name_comparison():
    assert compare_class_names(["a", "b"], ("a", "b")) == ""
    order = compare_class_names(["a", "b", "c"], ["a", "c", "b"])
    assert "another order: class 1 is 'b' in one and 'c' in the other" in order
    names = compare_class_names(["dog", "cat"], ["cat", "Dog"])
    assert "first: dog; only in the second: Dog; did you mean 'dog'?" in names
    many = compare_class_names([str(n) for n in range(14)], [])
    assert many.endswith("first: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more; only in the second: none")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_text(tmp_path, encoding):
    path = tmp_path / "names.txt"
    path.write_text("caf\xe9\r\n\u732b\n", encoding=encoding)
    assert read_class_list(path).names == ["caf\xe9", "\u732b"]
    path.write_bytes("\u6c49".encode("gbk"))
    with pytest.raises(DataError, match="names.txt: not text in UTF-8 .byte 0"):
        read_class_list(path)
