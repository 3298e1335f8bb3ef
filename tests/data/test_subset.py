"""A part of a COCO data set has the classes and sizes of the whole."""

import json

import numpy as np
import pytest

from ppdet_lite.commands.data import subset as command
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.subset import choose_images, read_set, subset
from tests.data.folder import layouts

SIDES = (20, 60, 200)


@pytest.fixture
def annotations(tmp_path):
    """400 images: each of one of 5 classes with the shares 1 to 5, and mostly of one size."""
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for index in range(400):
        images.append({"id": 3 * index, "file_name": f"{index}.jpg", "width": 640, "height": 480})
        category = rng.choice(5, p=np.arange(1, 6) / 15)
        side = SIDES[rng.integers(3)]
        for _ in range(rng.integers(0, 8)):
            boxes.append((3 * index, int(category) + 10, side))
    items = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": [1, 1, side, side],
            "area": side**2,
            "iscrowd": 0,
        }
        for number, (image, category, side) in enumerate(boxes)
    ]
    categories = [{"id": 10 + i, "name": f"class {i}"} for i in range(5)]
    content = {"info": {"year": 2017}, "images": images, "categories": categories}
    path = tmp_path / "whole.json"
    path.write_text(json.dumps({**content, "annotations": items}))
    return path


def test_shares_are_those_of_the_whole(annotations):
    whole = read_set(annotations)
    content, drawn_from, chosen = subset(whole, 60)
    assert drawn_from.images == int(whole.counts.any(axis=(1, 2)).sum()) < 400
    assert len(content["images"]) == chosen.images == 60
    assert chosen.objects.sum() == len(content["annotations"])
    np.testing.assert_allclose(chosen.class_shares, drawn_from.class_shares, atol=0.01)
    np.testing.assert_allclose(chosen.size_shares, drawn_from.size_shares, atol=0.01)
    assert chosen.per_image == pytest.approx(drawn_from.per_image, rel=0.02)
    rows = np.random.default_rng(0).permutation(len(whole.counts))[:60]
    by_chance = whole.counts[rows].sum(axis=0) / whole.counts[rows].sum()
    shares = drawn_from.objects / drawn_from.objects.sum()
    near = np.abs(chosen.objects / chosen.objects.sum() - shares).max()
    assert near < np.abs(by_chance - shares).max() / 2


def test_the_file_is_a_part_of_the_whole_in_its_order(annotations):
    content, _, _ = subset(read_set(annotations), 50, seed=4)
    whole = json.loads(annotations.read_text())
    ids = [image["id"] for image in content["images"]]
    assert ids == sorted(ids) and len(set(ids)) == 50
    assert content["info"] == whole["info"] and content["categories"] == whole["categories"]
    assert content["annotations"] == [a for a in whole["annotations"] if a["image_id"] in ids]


def test_seeds(annotations):
    counts = read_set(annotations).counts
    first, again, other = (choose_images(counts, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


def test_all_images_and_images_without_objects(annotations):
    whole = read_set(annotations)
    content, drawn_from, chosen = subset(whole, 400, keep_empty=True)
    assert content["images"] == whole.content["images"]
    np.testing.assert_array_equal(chosen.objects, drawn_from.objects)
    with pytest.raises(ConfigError, match="`images`: found 400, allowed: 1 to 3[0-9]+, "):
        subset(whole, 400)
    with pytest.raises(ConfigError, match="`images`: found 0, allowed: 1 to 400"):
        subset(whole, 0, keep_empty=True)


def test_sizes_are_cocos_and_crowds_do_not_count(tmp_path):
    def item(number, area, **more):
        box = {"bbox": [0, 0, 50, 40], "category_id": 1, "image_id": 1}
        return {"id": number, "area": area, "iscrowd": 0, **box, **more}

    areas = [32**2, 32**2 + 1, 96**2, 96**2 + 1]
    items = [item(number, area) for number, area in enumerate(areas, start=1)]
    items += [item(5, 10, iscrowd=1), item(6, 0)]  # the last has that of its box
    image = {"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}
    path = tmp_path / "a.json"
    content = {"images": [image], "categories": [{"id": 1, "name": "a"}], "annotations": items}
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(read_set(path).counts, [[[1, 3, 1]]])


def run(*words):
    command.main(command.build_parser().parse_args([*map(str, words)]))


def test_the_command_writes_and_prints_both_statistics(annotations, tmp_path, capsys):
    output = tmp_path / "part.json"
    run("--annotations", annotations, "--images", 40, "--output", output, "--seed", 3)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [lines[1][0], lines[1][2]] == ["images", "40"]
    assert [line[0] for line in lines[4:7]] == ["small", "medium", "large"]
    assert lines[-1][-2:] == ["seed", "3"]
    assert read_set(output).counts.shape == (40, 5, 3)


def test_what_cannot_be_used_is_refused_before_anything_is_written(annotations, tmp_path):
    output = tmp_path / "part.json"
    with pytest.raises(ConfigError, match="`seed`: found -1"):
        run("--annotations", annotations, "--images", 4, "--output", output, "--seed", -1)
    with pytest.raises(DataError, match="none.json"):
        run("--annotations", tmp_path / "none.json", "--images", 4, "--output", output)
    assert not output.exists()


def test_an_output_that_is_there_and_a_set_without_objects(annotations, tmp_path):
    output = tmp_path / "part.json"
    output.write_text("mine")
    with pytest.raises(ConfigError, match="`output`: .*part.json is there already"):
        run("--annotations", annotations, "--images", 40, "--output", output)
    assert output.read_text() == "mine"
    content = {**json.loads(annotations.read_text()), "annotations": []}
    output.write_text(json.dumps(content))
    with pytest.raises(DataError, match="found no objects"):
        run("--annotations", output, "--images", 4, "--output", tmp_path / "new.json")


def test_a_folder_gives_its_training_images(tmp_path, capsys):
    layouts.coco_own(tmp_path / "set")
    output = tmp_path / "part.json"
    run(tmp_path / "set", "--images", 2, "--output", output)
    assert len(json.loads(output.read_text())["images"]) == 2
    assert "instances_train2017.json" in capsys.readouterr().out
    layouts.voc_labelimg(tmp_path / "voc")
    with pytest.raises(DataError, match="voc: found Pascal VOC.*, allowed: COCO json"):
        run(tmp_path / "voc", "--images", 2, "--output", tmp_path / "other.json")
    with pytest.raises(ConfigError, match="either FOLDER or `annotations`"):
        run("--images", 2, "--output", tmp_path / "other.json")
