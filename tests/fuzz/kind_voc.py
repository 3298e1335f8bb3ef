"""Pascal VOC: damaged fields, bytes and encodings of an XML file, and damaged lists."""

import re

from ppdet_lite.data.sources.voc import VOCDataSet
from tests.fuzz.harness import Trial
from tests.fuzz.images import encoded, use
from tests.fuzz.mutations import damage_bytes

OBJECT = (
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>10</xmin><ymin>12</ymin>"
    "<xmax>40</xmax><ymax>30</ymax></bndbox></object>"
)
XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<annotation><size><width>64</width>'
    f"<height>48</height></size>{OBJECT}{OBJECT.replace('cat', 'dog')}</annotation>"
)
FIELD = re.compile(r"<(\w+)>([^<>]*)</\1>")
TEXTS = (
    *("", " ", "nan", "inf", "-inf", "1e999", "1e308", "-1", "0", "0.5", "9" * 400, "9" * 6000),
    *("2147483648", "1e18", "abc", "1,5", "1_0", "0x10", "true", "a" * 5000, "<x/>", "\ud7ff"),
    *("&#0;", "&#x1;", "&amp;", "&foo;", "<![CDATA[5]]>", "5<!-- c -->6", "\uff11"),
)
ENCODINGS = (
    *("foo-bar", "utf-7", "idna", "zlib", "hex", "rot13", "cp037", "shift_jis", "utf-16", "gbk"),
    *("punycode", "unicode_escape", "undefined", "raw_unicode_escape", "big5", "ascii", "utf-32"),
)
HEADS = (
    '<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE l SYSTEM "http://127.0.0.1:9/a.dtd">',
    '<!DOCTYPE l [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
    "<!DOCTYPE annotation>",
)
LINES = (
    *(b"", b"a\0\n", b"../../etc/passwd\n", b"a b c\n", b"a" * 300, b"\xed\xa0\x80\n", b"/\n"),
    *(b".\n", b"a " + b"b" * 5000, b"a\tb\n", b"a\0 b\n", b"a\na\n", "a\u2028b\n".encode()),
    *(b"JPEGImages/a.jpg Annotations/a.xml\n", b"a.jpg\n", b"x/a\n", "a\n".encode("utf-16")),
)


def prepare(folder):
    """Writes the image."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages" / "a.jpg").write_bytes(encoded(".jpg"))


def trial(rnd, folder):
    """A damaged `a.xml`, or a damaged list `train.txt`."""
    text, data, line, label = XML, None, b"a\n", ""
    kind = rnd.choice(["field"] * 8 + ["bytes"] * 5 + ["encoding", "head", "list", "list"])
    if kind == "field":
        for _ in range(rnd.choice([1, 1, 2])):
            found = rnd.choice([*FIELD.finditer(text)])
            tag, value = found[1], rnd.choice(TEXTS)
            new = rnd.choice(
                [f"<{tag}>{value}</{tag}>"] * 3 + ["", found[0] * 2, f"<z>{value}</z>"]
            )
            text = text[: found.start()] + new + text[found.end() :]
            label += f"{tag}: {new[:40]} "
    elif kind == "bytes":
        data, label = damage_bytes(
            rnd, XML.encode(), (b"<", b"]]>", b"<!DOCTYPE a>", b"<a>" * 1000)
        )
    elif kind == "encoding":
        label = rnd.choice(ENCODINGS)
        text = XML.replace("UTF-8", label)
        data = text.encode(label, "replace") if label in ("utf-16", "gbk", "big5") else None
    elif kind == "head":
        label = rnd.choice(HEADS)
        text = XML.replace("?>", "?>" + label).replace("cat", rnd.choice(["&b;", "&x;", "cat"]))
    else:
        line = rnd.choice(LINES)
        label = repr(line[:40])
    xml = folder / "Annotations" / "a.xml"
    xml.write_bytes(text.encode("utf-8", "surrogatepass") if data is None else data)
    (folder / "ImageSets" / "Main" / "train.txt").write_bytes(line)

    def run():
        return use(VOCDataSet(str(folder), anno_path="ImageSets/Main/train.txt"))

    return Trial(label, run, ("a.xml", "train.txt", "Annotations"))
