"""The images that are found in a folder."""

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.image_files import find_images, list_images


def test_a_folder_is_walked_without_other_files_and_old_results(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "sub/notes.txt", ".hidden.jpg", ".h/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"x")
    found = list_images(tmp_path, skip=tmp_path / "out")
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a.png", "b.JPG", "sub/c.jpeg"]


def test_folders_are_followed_through_links_once(tmp_path):
    for name in ("in/b/1.jpg", "elsewhere/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "in" / "b" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "c").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "in" / "d").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert list_images(tmp_path / "in") == [tmp_path / "in/b/1.jpg", tmp_path / "in/c/2.jpg"]


@pytest.mark.parametrize(
    "name, reason",
    [("gone", "no such"), ("notes.txt", "is a file"), ("empty", "no images.* .webp")],
)
def test_folders_that_cannot_be_used_are_named(tmp_path, name, reason):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{name}: {reason}"):
        list_images(tmp_path / name)


def test_other_endings_are_counted_and_named_but_for_labels(tmp_path):
    for name in ("1.JFIF", "2.gif", "3.psd", "4.PSD", "5.heic", "1.txt", "a.json", ".DS_Store"):
        (tmp_path / name).touch()
    images, remark = find_images(tmp_path)
    assert [path.name for path in images] == ["1.JFIF", "2.gif"]
    assert remark.endswith(": 2 .psd, 1 .heic")
    for path in images:
        path.unlink()
    with pytest.raises(DataError, match="2 .psd, 1 .heic"):
        list_images(tmp_path)
