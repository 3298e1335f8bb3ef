"""YOLO data sets: damaged text files and data.yaml."""

import yaml

from ppdet_lite.data.sources.yolo_txt import YOLODataSet
from tests.fuzz.harness import Trial
from tests.fuzz.images import encoded, use
from tests.fuzz.mutations import damage_bytes, damage_value

LINES = "0 0.5 0.5 0.2 0.3\n1 0.1 0.1 0.1 0.1\n0 0.1 0.1 0.2 0.1 0.2 0.3\n"
NAMES = {"names": ["cat", "dog"], "nc": 2, "train": "images"}
WORDS = (
    *("nan", "inf", "-inf", "1e999", "-1", "2", "1e308", "abc", "", "0.5", "1_0", "0x1", "-0.0"),
    *("9" * 5000, "1e-320", "0.0", "1.5", "\u0661", "\ufeff", "infinity", "True", "0.4", "0.45"),
)
SHAPES = (None, [1, 2], [1, 3], [2, 2], [], [17], "17, 3", [0, 3], [2, 4], [1e9, 3], {"a": 1})
YAMLS = (
    *("", "names:", "names: 2020-01-01", "names: !!int a", "[" * 3000, "names: &a [*a]", "\x7f"),
    *("names: {0: a, b: c}", "names: {0: a, 2: b}", "names: [a, a]", "names: [yes, 007]", "a: *b"),
    *("names: {0: a, 0: b}", "kpt_shape: [1, 2]", "nc: " + "9" * 5000, "- a", "names: [[a], b]"),
)


def prepare(folder):
    """Writes the images and one text file that stays as it is."""
    for name in ("images", "labels"):
        (folder / name).mkdir(exist_ok=True)
    for number in (0, 1):
        (folder / "images" / f"{number}.jpg").write_bytes(encoded(".jpg"))
    (folder / "labels" / "1.txt").write_text(LINES.split("\n")[0])


def trial(rnd, folder):
    """A damaged `0.txt` or `data.yaml`."""
    data, names, label = LINES.encode(), dict(NAMES), ""
    kind = rnd.choice(["words"] * 6 + ["bytes", "bytes", "shape", "names", "names", "yaml"])
    if kind in ("words", "shape"):
        rows = [line.split() for line in LINES.split("\n")[:-1]]
        for _ in range(rnd.choice([1, 1, 2, 3])):
            row, word = rnd.choice(rows), rnd.choice(WORDS)
            at = rnd.randrange(len(row) + 1)
            row[at : at + rnd.choice([0, 1, 1])] = [word] * rnd.choice([0, 1, 1, 1, 2, 50])
            label += f"{word[:20]} at {at} "
        data = "\n".join(map(" ".join, rows)).encode()
        names["kpt_shape"] = rnd.choice(SHAPES) if kind == "shape" else None
    elif kind == "bytes":
        data, label = damage_bytes(rnd, data)
    elif kind == "names":
        names, label = damage_value(rnd, NAMES)
    text = yaml.dump(names, allow_unicode=True)
    if kind == "yaml":
        text = label = rnd.choice(YAMLS)
    (folder / "labels" / "0.txt").write_bytes(data)
    (folder / "data.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    options = rnd.choice([{}, {}, {"allow_empty": False}, {"anno_path": "images"}])

    def run():
        return use(YOLODataSet(str(folder), **options))

    return Trial(f"{kind}: {label}", run, ("0.txt", "data.yaml", "images"))
