"""Pascal VOC: damaged XML files and lists."""

import shutil

from ppdet_lite.data.sources.voc import VOCDataSet
from tests.cases.sets import voc_xml, write_text, write_voc
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import damage_bytes

TEXTS = ("", "0", "-1", "nan", "inf", "1e30", "1e400", "9" * 5000, "x", "é", "0x1", "1_0", " 7 ")
INSERTS = (b"<object>", b"</object>", b"<!-- -->", b"<![CDATA[x]]>", b"&lt;", b"&x;", b"<size/>")
ENTITIES = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
HEADS = (
    "",
    '<?xml version="1.0" encoding="utf-8"?>',
    *(
        f'<?xml version="1.0" encoding="{name}"?>'
        for name in ("gb2312", "shift_jis", "utf-16", "foo-bar", "rot13", "latin-1", "idna", "mbcs")
    ),
    ENTITIES,
)
LISTS = (
    "",
    "1 2 3",
    "1\n1",
    "1 -1",
    "a\0b",
    "x" * 300,
    "../1",
    "/etc/passwd",
    "1\tx.xml",
    "é\ud800",
)


def prepare(folder):
    """Writes three images with an object each."""
    names = dict.fromkeys(("1", "2", "IMG 3"), voc_xml())
    write_voc(folder / "base", names)


def trial(rnd, folder):
    """One damaged file of a new copy of the data set."""
    root = folder / "set"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "base", root)
    path = root / "Annotations/1.xml"
    kind = rnd.choice(["bytes", "bytes", "value", "value", "head", "list"])
    if kind == "bytes":
        path = rnd.choice([path, root / "ImageSets/Main/train.txt"])
        data, label = damage_bytes(rnd, path.read_bytes(), INSERTS)
        path.write_bytes(data)
    elif kind == "value":
        key = rnd.choice(["width", "height", "name", "xmin", "ymax"])
        before, _, rest = voc_xml().partition(f"<{key}>")
        after, label = rest.partition("<")[2], f"{key} {rnd.choice(TEXTS)}"
        write_text(path, f"{before}<{key}>{label.partition(' ')[2]}<{after}")
    elif kind == "head":
        label = rnd.choice(HEADS)
        write_text(path, label + voc_xml(rnd.choice(["cat", "&b;", "é"])))
    else:
        label = rnd.choice(LISTS)
        data = label.encode("utf-8", "surrogatepass")
        (root / "ImageSets/Main/train.txt").write_bytes(data)

    def load():
        dataset = VOCDataSet(dataset_dir=str(root), anno_path="ImageSets/Main/train.txt")
        assert len([dataset.record(index) for index in range(len(dataset))]) and dataset.to_coco()

    return Trial(label, load, ("1.xml", "train.txt", "Annotations", "JPEGImages"))
