"""Reading, merging and overriding configurations."""

import pickle
from copy import deepcopy

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config, merge_config
from ppdet_lite.core.yaml import Origin, Tagged, parse_yaml


@pytest.fixture
def write(tmp_path):
    def _write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return _write


def read(path, *overrides):
    return load_config(path, overrides, validate=False)


def test_bases_merge_in_order_and_the_file_wins(write):
    write("a.yml", "x: 1\ny: 1\nz: 1\nS: {p: 1, q: [1, 2]}\n")
    write("b.yml", "y: 2\nz: 2\nS: {p: 2}\n")
    cfg = read(write("c.yml", "_BASE_: [a.yml, b.yml]\nz: 3\nS: {q: [9]}\n"))
    assert cfg == {"x": 1, "y": 2, "z": 3, "S": {"p": 2, "q": [9]}}


def test_base_of_a_base_is_found_relative_to_its_own_file(write):
    write("deep/er/base.yml", "x: 1\n")
    write("deep/mid.yml", "_BASE_: er/base.yml\ny: 2\n")
    assert read(write("top.yml", "_BASE_: deep/mid.yml\n")) == {"x": 1, "y": 2}


def test_every_value_knows_its_file_and_line(write):
    base = write("base.yml", "S:\n  p: 1\n  q:\n    - {A: {k: 1}}\n")
    top = write("top.yml", "_BASE_: base.yml\n\nS:\n  p: 2\n")
    cfg = read(top, "S.q.0.A.k=5")
    assert cfg.origin("S", "p") == Origin(str(top), 4)
    assert cfg.origin("S", "q", 0) == Origin(str(base), 4)
    assert cfg.origin("S", "q", 0, "A", "k") == Origin("-o S.q.0.A.k=5")


def test_tags_are_data_and_overrides_reach_into_them(write):
    path = write(
        "c.yml",
        "LearningRate:\n  schedulers:\n  - !PiecewiseDecay {gamma: 0.1, milestones: [3]}\n"
        "  - !LinearWarmup\n    steps: 10\n",
    )
    cfg = read(path, "LearningRate.schedulers.0.gamma=0.2", "LearningRate.schedulers.1.steps=5")
    first, second = cfg["LearningRate"]["schedulers"]
    assert (first.tag, first) == (
        "PiecewiseDecay",
        Tagged("PiecewiseDecay", {"gamma": 0.2, "milestones": [3]}),
    )
    assert (second.tag, second["steps"]) == ("LinearWarmup", 5)


def test_override_addresses_list_elements_by_class_name(write):
    path = write("c.yml", "R:\n  sample_transforms:\n  - Decode: {}\n  - Mixup: {alpha: 1.5}\n")
    cfg = read(path, "R.sample_transforms.Mixup.alpha=1.0", "R.sample_transforms.Decode.x=1")
    assert cfg["R"]["sample_transforms"] == [{"Decode": {"x": 1}}, {"Mixup": {"alpha": 1.0}}]


def test_overrides_under_one_prefix_all_stay(write):
    path = write("c.yml", "A: {b: {c: 1, d: 2, e: 3}}\n")
    assert read(path, "A.b.c=10", "A.b.d=20", "A.f.g=30")["A"] == {
        "b": {"c": 10, "d": 20, "e": 3},
        "f": {"g": 30},
    }


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 1e-3),
        ("5E4", 5e4),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("true", True),
        ("", None),
        ("a=b", "a=b"),
        ("{p: 1}", {"p": 1}),
    ],
)
def test_override_values_are_yaml(write, text, value):
    assert read(write("c.yml", "x: 0\n"), f"x={text}")["x"] == value


def test_a_section_that_changes_its_class_is_replaced(write):
    write("base.yml", "nms: {name: MatrixNMS, post_threshold: 0.01}\nD: !Coco {a: 1}\n")
    cfg = read(
        write(
            "c.yml", "_BASE_: base.yml\nnms: {name: MultiClassNMS, keep_top_k: 5}\nD: !Voc {b: 2}\n"
        )
    )
    assert cfg["nms"] == {"name": "MultiClassNMS", "keep_top_k": 5}
    assert cfg["D"] == Tagged("Voc", {"b": 2})
    optimizer = {"type": "Momentum", "momentum": 0.9}
    cfg = merge_config(cfg, {"OptimizerBuilder": {"optimizer": optimizer}})
    cfg = merge_config(cfg, {"OptimizerBuilder": {"optimizer": {"type": "Adam"}}})
    assert cfg["OptimizerBuilder"]["optimizer"] == {"type": "Adam"}
    same_class = merge_config(cfg, {"nms": {"name": "MultiClassNMS", "nms_top_k": 7}})
    assert same_class["nms"] == {"name": "MultiClassNMS", "keep_top_k": 5, "nms_top_k": 7}


def test_merge_config_leaves_its_input_alone(write):
    cfg = read(write("c.yml", "S: {p: 1}\n"))
    before = deepcopy(cfg)
    merged = merge_config(cfg, {"S": {"q": 2}})
    merged["S"]["p"] = 100
    assert cfg == before and merged["S"] == {"p": 100, "q": 2}
    assert str(merged.origin("S", "q")) == "merge_config"


def test_config_pickles_and_copies_with_its_origins(write):
    cfg = read(write("c.yml", "S: !T {p: 1}\n"))
    for twin in (pickle.loads(pickle.dumps(cfg)), deepcopy(cfg)):
        assert twin == cfg and twin["S"].tag == "T" and twin.origins == cfg.origins
        assert twin.path == cfg.path


def test_attribute_access_and_its_error(write):
    cfg = read(write("c.yml", "num_classes: 3\n"))
    assert cfg.num_classes == 3 and cfg.name == "c"
    with pytest.raises(AttributeError, match="no key 'num_clases'; did you mean 'num_classes'"):
        _ = cfg.num_clases


def test_a_key_given_twice_is_noted(write):
    path = write("c.yml", "x: 1\ny: 2\nx: 3\n")
    cfg = read(path)
    assert cfg["x"] == 3
    assert cfg.notes == [f"{path}:3: x stands here and in line 1; the later one is used"]


def test_anchors_aliases_and_merge_keys():
    text = "a: &norm {mean: [1.5], std: 2}\nb: *norm\nc:\n  <<: *norm\n  std: 3\n"
    document = parse_yaml(text, "t")
    assert document.value["b"] == {"mean": [1.5], "std": 2}
    assert document.value["c"] == {"mean": [1.5], "std": 3}
    assert document.notes == []
    assert document.lines[("c", "std")] == 5


@pytest.mark.parametrize(
    "text, place",
    [
        ("x: 1\ny: !!python/object/apply:os.system ['touch pwned']\n", "c.yml:2: not valid YAML"),
        ("x: [1, 2\ny: 3\n", "c.yml:2: not valid YAML"),
        ("- 1\n", "c.yml: found list at the top level"),
        ("x: 1\ny: !Resize [1]\n", "c.yml:2: y: found !Resize with list"),
        ("x: {[1]: 2}\n", "c.yml:1: x: "),
        ("x: 1\n_BASE_: [god.yml]\n", "c.yml:2: _BASE_: found 'god.yml'"),
        ("_BASE_: {a: 1}\n", "c.yml:1: _BASE_: found {'a': 1}"),
        ("_BASE_: c.yml\n", "c.yml: _BASE_ leads back to itself"),
    ],
)
def test_errors_of_files(problems, text, place):
    (problem,) = problems(text, validate=False)
    assert problem.startswith(place)


def test_files_that_are_not_there(write, tmp_path):
    write("good.yml", "")
    assert read(tmp_path / "good.yml") == {}
    with pytest.raises(ConfigError, match="god.yml; did you mean 'good.yml'"):
        read(tmp_path / "god.yml")
    with pytest.raises(ConfigError, match=f"there is no folder .{tmp_path}/no"):
        read(tmp_path / "no" / "c.yml")
    with pytest.raises(ConfigError, match="did you mean 'good.yml'"):
        read(write("c.yml", "_BASE_: [god.yml]\n"))


def test_errors_of_overrides(problems):
    text = "x: 1\nL: [{Mixup: {alpha: 1}}, {Decode: {}}]\n"
    wrong = ["x", "x.y=1", "L.2.a=1", "L.Mixip.alpha=1", "x=[1"]
    assert problems(text, *wrong, validate=False) == [
        "-o x: found no KEY=VALUE",
        "-o x.y=1: x: found 1 there, which has no keys below it",
        "-o L.2.a=1: L: found index 2",
        "-o L.Mixip.alpha=1: L: found 'Mixip'",
        "-o x=[1:1: not valid YAML: expected ',' or ']', but got '<stream end>'",
    ]
