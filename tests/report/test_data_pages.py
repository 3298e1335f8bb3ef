"""The pages of data checks and statistics hold what was found, in one file."""

import json
import re
import shlex
import sys

import pytest

from ppdet_lite.commands.data import check as check_command
from ppdet_lite.commands.data import stats as stats_command
from ppdet_lite.data.doctor.catalog import KINDS
from tests.data.doctor.faulty_sets import CocoWriter, faulty_coco, jpeg, photo


def test_page_of_a_check(tmp_path):
    root = faulty_coco(tmp_path / "set")
    (root / "images" / "damaged.jpg").rename(root / "images" / "<i>.jpg")
    path = root / "annotations/instances_train.json"
    path.write_text(path.read_text().replace("damaged.jpg", "<i>.jpg"))
    arguments = [str(root), "--output_dir", str(tmp_path / "out")]
    assert check_command.main(check_command.build_parser().parse_args(arguments)) == 1
    page = (tmp_path / "out/index.html").read_text()
    found = json.loads((tmp_path / "out/check.json").read_text())["findings"]
    for kind in found:
        assert f'<section id="{kind}">' in page
        assert KINDS[kind].meaning.replace("'", "&#39;") in page
    assert "&lt;i&gt;.jpg" in page and "<i>.jpg" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing from outside
    drawn = {path.stem.rpartition("_")[0] for path in (tmp_path / "out/report").glob("*.jpg")}
    assert drawn >= {"box_clipped", "box_outside", "near_leak", "turned_labels", "unlabeled"}
    assert "missing_image" not in drawn


@pytest.fixture
def small_set(tmp_path):
    train = CocoWriter(tmp_path / "set", "train")
    train.add(
        "a.jpg", jpeg(photo(0)), [(1, (0, 0, 64, 48)), (1, (64, 48, 64, 16)), (2, (9, 9, 0, 4))]
    )
    train.add("b.jpg", jpeg(photo(1)), [(2, (32, 24, 64, 48))])
    train.add("c.jpg", jpeg(photo(2)), [])
    train.write(["cat", "dog"])
    return tmp_path / "set"


def test_statistics(small_set, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(small_set), "--output_dir", str(out)]
    stats_command.main(stats_command.build_parser().parse_args(arguments))
    split = json.loads((out / "stats.json").read_text())["splits"]["train"]
    assert (split["images"], split["objects"], split["boxes_left_out"]) == (3, 3, 1)
    assert split["images_without_objects"] == 1
    assert split["sizes"] == {"small": 1, "medium": 2, "large": 0}  # 64 x 16 is 32 x 32
    assert split["classes"]["cat"]["objects"] == 2 and split["classes"]["cat"]["images"] == 1
    assert split["width_to_height"]["max"] == 4 and split["width_to_height"]["min"] == 1.3333
    assert split["center_x"]["50%"] == 0.5
    coverage = split["coverage"]
    assert coverage[0][0] == 0.3333 and coverage[15][15] == 0.6667 and coverage[31][31] == 0
    page = (out / "index.html").read_text()
    assert page.count("data:image/png") == len(list((out / "report").glob("*.png"))) == 8
    assert "66.7%" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_packages_of_the_page(package, small_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    root = faulty_coco(tmp_path / "faulty")
    for command, folder, file, code in (
        (check_command, root, "check.json", 1),
        (stats_command, small_set, "stats.json", None),
    ):
        out = tmp_path / f"{file}.out"
        arguments = [str(folder), "--output_dir", str(out)]
        assert command.main(command.build_parser().parse_args(arguments)) == code
        printed = capsys.readouterr().out
        assert json.loads((out / file).read_text()) and len(printed.splitlines()) > 5
        if command is check_command and package == "matplotlib":
            assert (out / "index.html").is_file()  # drawn by OpenCV
        else:
            (line,) = [each for each in printed.splitlines() if each.startswith("no page: ")]
            assert package in line and "'ppdet_lite[report]'" in line
            assert not (out / "index.html").exists()


def test_statistics_of_bad_labels_name_the_check(tmp_path):
    from ppdet_lite.core.errors import DataError

    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "images/a.jpg").write_bytes(jpeg(photo(0)))
    (tmp_path / "labels/a.txt").write_text("5 0.5 0.5 0.1 0.1\n")
    arguments = stats_command.build_parser().parse_args([str(tmp_path), "--no-page"])
    with pytest.raises(DataError, match="ppdet data check"):
        stats_command.main(arguments)


def test_the_command_on_the_page_has_whole_paths_and_all_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = check_command.build_parser()
    args = parser.parse_args(["my data", "--data_format", "voc", "--output_dir", "page"])
    words = ["my data", "--data_format", "voc", "--output_dir", "page"]
    whole = [str(tmp_path / word) if word in ("my data", "page") else word for word in words]
    found = shlex.split(check_command.page_command("check", args))
    assert found == ["ppdet", "data", "check", *whole]
    args = parser.parse_args(["-c", "ppyolov2_r50vd_dcn_voc", "-o", "a.b=1", "c=d e"])
    assert " -c ppyolov2_r50vd_dcn_voc -o a.b=1 'c=d e' " in check_command.page_command("x", args)
