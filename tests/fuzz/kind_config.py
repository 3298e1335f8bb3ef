"""Configurations: values replaced in a tree of sections, damaged text, and bases."""

import yaml

from ppdet_lite.core.workspace import load_config
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import damage_bytes, damage_value

SECTIONS = {
    "architecture": "YOLOv3",
    "num_classes": 3,
    "epoch": 3,
    "save_dir": "output",
    "log_iter": 5,
    "LearningRate": {"base_lr": 0.01, "schedulers": [{"name": "CosineDecay", "max_epochs": 3}]},
    "YOLOv3": {"backbone": "ResNet", "neck": "PPYOLOPAN", "yolo_head": "YOLOv3Head"},
    "ResNet": {"depth": 18, "variant": "d", "return_idx": [1, 2, 3], "dcn_v2_stages": [3]},
    "TrainDataset": {"name": "COCODataSet", "dataset_dir": "x", "anno_path": "a.json"},
    "TrainReader": {
        "batch_size": 4,
        "sample_transforms": [{"Decode": {}}, {"RandomFlip": {"prob": 0.5}}],
        "batch_transforms": [{"BatchRandomResize": {"target_size": [320, 352]}}],
    },
    "custom_modules": [],
}
TEXTS = (
    "epoch: 2020-99-99",
    "epoch: !!int abc",
    "epoch: !!bool abc",
    "epoch: !!binary abc",
    "epoch: !!python/name:os.system",
    f"epoch: {'1' * 5000}",
    "[" * 3000,
    "a: " + "[" * 150 + "]" * 150,
    "&a [*a]",
    "a: &a {<<: *a}",
    "? [a]\n: 1",
    "? {a: 1}\n: 1",
    "epoch: .nan",
    "custom_modules: ['']",
    "custom_modules: ['.x']",
    "custom_modules: 3",
    "_BASE_: ~nouser/x",
    f"_BASE_: {'b' * 5000}",
    '_BASE_: "a\\0b"',
    "_BASE_: [c.yml]",
    "_BASE_: .",
    'save_dir: "\\ud800"',
    "on: 1",
    "1.0: 1",
    "~: 1",
    "\x7f",
    "a: *b",
    "%YAML 9.9\n--- 1",
    "--- 1\n--- 2",
)
OVERRIDES = (
    "TrainReader.sample_transforms.²=1",
    f"TrainReader.sample_transforms.{'9' * 5000}=1",
    "TrainReader.sample_transforms.-1={Decode: {}}",
    "TrainReader.sample_transforms.Decode.x=1",
    "TrainReader.batch_size.x=1",
    "TrainReader..batch_size=1",
    ".=1",
    "epoch=[",
    "epoch=!!int x",
    "=1",
    "epoch",
    "epoch= 4",
    "\ud800=1",
    "epoch=\ud800",
)


def prepare(folder):
    """Writes the bombs, which the damaged files name as bases."""
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 11)]
    (folder / "aliases.yml").write_text("\n".join(["a0: &a0 [1, 2]", *levels]))
    merges = [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}" for i in range(1, 11)]
    (folder / "merges.yml").write_text("\n".join(["m0: &m0 {a: 1}", *merges]))
    for level in range(10):
        bases = ["end.yml" if level == 9 else f"base{level + 1}.yml"] * 10
        (folder / f"base{level}.yml").write_text(yaml.safe_dump({"_BASE_": bases}))
    (folder / "end.yml").write_text("epoch: 4\n")


def trial(rnd, folder):
    """A damaged `config.yml`, or a damaged override of an undamaged one."""
    path, overrides = folder / "config.yml", []
    content, label = SECTIONS, "values"
    kind = rnd.choice(["values"] * 12 + ["text"] * 4 + ["line", "override"] * 2 + ["bomb"])
    if kind == "values":
        content, label = damage_value(rnd, SECTIONS)
    text = yaml.dump(content, sort_keys=False, allow_unicode=True)
    data = text.encode("utf-8", "surrogatepass")
    if kind == "text":
        data, label = damage_bytes(rnd, data, (b"&a ", b"*a", b"!x ", b"<<: ", b"\t"))
    elif kind == "line":
        label = rnd.choice(TEXTS)
        data = label.encode("utf-8", "surrogatepass") + rnd.choice([b"", b"\n" + data])
    elif kind == "bomb":
        label = rnd.choice(["aliases.yml", "merges.yml", "base0.yml"])
        data = f"_BASE_: {label}\n".encode()
    elif kind == "override":
        overrides = [rnd.choice(OVERRIDES)]
        label = overrides[0]
    path.write_bytes(data)
    names = ("config.yml", "aliases.yml", "merges.yml", "base", "-o ")
    return Trial(label, lambda: load_config(path, overrides), names)
