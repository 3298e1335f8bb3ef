"""infer_cfg.yml of exports: values replaced, damaged text, and what YAML makes of scalars."""

import numpy as np
import yaml

from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig, ModelFolder
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import VALUES, damage_bytes, damage_value

STEPS = [
    {"type": "Resize", "target_size": [96, 128], "keep_ratio": True, "interp": 2},
    {"type": "Pad", "size": [96, 128], "fill_value": 114.0},
    {"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.25] * 3, "is_scale": True},
    {"type": "Permute"},
]
SIDES = [[100_000] * 2, [10**9] * 2, [4096, 4096], [96, True], [-1, -1], [32, 32], 320, 100_000]
TEXTS = (
    "label_list: [no, 007, 1e3, ~, 1.0, 2020-01-01]",
    "label_list: [{a: 1}, b]",
    "label_list: {0: a, 1: b}",
    "label_list: [[a], b]",
    'label_list: ["\\ud800", b]',
    f"label_list: [{'1' * 5000}, b]",
    "stage: [1]",
    "stage: foo",
    "draw_threshold: true",
    "draw_threshold: .nan",
    "format_version: .nan",
    "format_version: 2.5",
    "format_version: 0x" + "f" * 5000,
    "min_subgraph_size: .nan",
    "min_subgraph_size: 2.5",
    "batch_size: true",
    "batch_size: 1000000",
    "image_shape: [3, true, true]",
    "image_shape: [3, 1000000, 1000000]",
    "image_shape: [3, 64, 64]",
    "NMS: 3",
    "Decode: []",
    "use_dynamic_shape: 5",
    "target: [1]",
    "files: 3",
    "files: {model.json: {size: -1, sha256: x}}",
    "files: {model.json: {size: 2}}",
    "Preprocess: &a [*a]",
    "category_ids: [1, true]",
    "x: !!int a",
    "x: !!python/name:os.system",
    "x: 2020-99-99",
    "? [a]\n: 1",
    "[" * 3000,
    "\x7f",
)


def prepare(folder):
    """Files of the names that an engine needs; none is read."""
    for name in ("model.json", "model.pdiparams"):
        (folder / name).write_bytes(b"{}")


def trial(rnd, folder):
    """A damaged infer_cfg.yml, with all keys or those of PaddleDetection."""
    config = InferConfig(STEPS, ["a", "b"], input_hw=(96, 128), batch=2, category_ids=[3, 7])
    content = config.with_files(folder).content()
    if rnd.random() < 0.3:
        content = {key: content[key] for key in list(content)[:8]}
    kind, label = rnd.choice(["values"] * 6 + ["text"] * 2 + ["line", "sides"]), ""
    if kind == "values":
        content, label = damage_value(rnd, content)
    elif kind == "sides":
        content = {**content, "Preprocess": [dict(step) for step in STEPS]}
        for step, key in ((0, "target_size"), (1, "size")):
            content["Preprocess"][step][key] = rnd.choice(SIDES)
        for key, value in (("mean", [0.1, *rnd.sample(VALUES, 2)]), ("std", rnd.choice(VALUES))):
            if rnd.random() < 0.3:
                content["Preprocess"][2][key] = value
        label = str(content["Preprocess"])
    data = yaml.dump(content, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    if kind == "text":
        data, label = damage_bytes(rnd, data, (b"&a ", b"*a", b"!x ", b"<<: ", b"\t"))
    elif kind == "line":
        label = rnd.choice(TEXTS)
        data += b"\n" + label.encode("utf-8", "surrogatepass")
    (folder / CONFIG_FILE).write_bytes(data)
    return Trial(label, lambda: _load(folder), (CONFIG_FILE, "Preprocess.", "model.json"))


def _load(folder):
    files = ModelFolder(folder)
    assert all(isinstance(name, str) for name in files.config.class_names)
    assert type(files.config.draw_threshold) in (int, float)
    return files.preprocess(np.full((48, 64, 3), 7, np.uint8))
