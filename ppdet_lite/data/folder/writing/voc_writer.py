"""Pascal VOC: `Annotations/NAME.xml`, `JPEGImages/NAME.jpg`, lists in `ImageSets/Main`."""

from __future__ import annotations

from typing import Sequence
from xml.sax.saxutils import escape

from ppdet_lite.data.folder.writing.labeled_set import LabeledImage, LabeledSet
from ppdet_lite.data.folder.writing.set_writer import PlacedSplit, SetWriter, without_crowds

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocWriter(SetWriter):
    """Whole numbers of pixels are written without a fraction, others with two places."""

    def image_folder(self, split: str) -> str:
        return "JPEGImages"

    def write_split(self, split: PlacedSplit) -> list[str]:
        images, remarks = without_crowds(split.images)
        stems = [name.rpartition(".")[0] for name in split.names]
        for image, name, stem in zip(images, split.names, stems):
            self.write_text(f"Annotations/{stem}.xml", _annotation(image, name, split.class_names))
        self.write_text(f"ImageSets/Main/{split.name}.txt", "".join(f"{stem}\n" for stem in stems))
        return remarks

    def write_classes(self, content: LabeledSet) -> None:
        self.write_text("label_list.txt", "".join(f"{name}\n" for name in content.class_names))


def _annotation(image: LabeledImage, name: str, class_names: Sequence[str]) -> str:
    lines = [
        "<annotation>",
        "  <folder>JPEGImages</folder>",
        f"  <filename>{escape(name)}</filename>",
    ]
    size = f"<width>{image.width}</width><height>{image.height}</height><depth>3</depth>"
    lines.append(f"  <size>{size}</size>")
    for row, box in enumerate(image.boxes_xyxy.astype(float).tolist()):
        corners = "".join(f"<{key}>{_number(v)}</{key}>" for key, v in zip(_CORNERS, box))
        lines += [
            "  <object>",
            f"    <name>{escape(class_names[image.classes[row]])}</name>",
            f"    <difficult>{int(image.difficult[row])}</difficult>",
            f"    <bndbox>{corners}</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>\n"])


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.2f}"
