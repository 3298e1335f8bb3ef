"""The kinds of problems that a check of a data set finds."""

from typing import NamedTuple, Optional

ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        severity: one of SEVERITIES; errors end the command with exit code 1.
        title: short, in the plural.
        meaning: the harm that it does.
        repair: the change in a repaired copy; "" for none.
    """

    severity: str
    title: str
    meaning: str
    repair: str = ""


class Finding(NamedTuple):
    """One problem.

    Attributes:
        kind: key of KINDS.
        split: name of the split; "" for a problem of the whole.
        file: the image, or another file; "" for none.
        text: the problem in words.
        rank: the larger, the worse among those of one kind.
        row: place of the image in the split.
        boxes: rows of the boxes that it is about.
        other: a second image, as the one that the first repeats.
    """

    kind: str
    split: str
    file: str
    text: str
    rank: float = 0.0
    row: Optional[int] = None
    boxes: tuple[int, ...] = ()
    other: str = ""


KINDS = {
    "unusable_split": Kind(
        ERROR,
        "splits that cannot be read",
        "Nothing of the split could be checked; training stops with the same message.",
        "the split is left out",
    ),
    "unusable_label": Kind(
        ERROR,
        "labels that cannot be used",
        "Training stops with the same message.",
        "the image is left out, or the entry of a COCO file",
    ),
    "missing_image": Kind(
        ERROR,
        "images that are not there",
        "The labels name a file without which training stops.",
        "the image is left out",
    ),
    "unreadable_image": Kind(
        ERROR,
        "images that cannot be read",
        "The file is damaged, cut short or no image.",
        "the image is left out",
    ),
    "box_units": Kind(
        ERROR,
        "boxes given as shares",
        "All boxes lie between 0 and 1; the format needs pixels.",
        "multiplied by width and height",
    ),
    "wrong_size": Kind(
        ERROR,
        "sizes that are not those of the files",
        "The labels were made on an image of another size: boxes may be in wrong places.",
        "the size is that of the file; boxes are scaled where the proportions are the same",
    ),
    "turned_labels": Kind(
        ERROR,
        "labels made before the EXIF rotation",
        "The labels have the size of the image as stored, but training sees it turned: boxes "
        "are in wrong places.",
        "the image is stored as it was labeled, without the EXIF rotation",
    ),
    "box_not_finite": Kind(
        ERROR, "boxes with NaN or infinity", "They are left out in training.", "dropped"
    ),
    "box_zero_area": Kind(ERROR, "boxes without area", "They are left out in training.", "dropped"),
    "box_outside": Kind(
        ERROR, "boxes outside the image", "They are left out in training.", "dropped"
    ),
    "box_inverted": Kind(
        ERROR,
        "inverted boxes",
        "The right or lower corner stands first; other tools take them for empty.",
        "corners swapped",
    ),
    "class_spelling": Kind(
        ERROR,
        "class names that differ by case or blanks",
        "They are learned as different classes.",
        "one class, in the spelling that is used most",
    ),
    "class_lists": Kind(
        ERROR,
        "splits with different classes",
        "Evaluation numbers the classes in another way than training.",
        "one list for all splits",
    ),
    "class_not_trained": Kind(
        ERROR,
        "classes without objects to learn from",
        "They have objects in another split, but none in train: their AP stays 0.",
    ),
    "leak": Kind(
        ERROR,
        "images in two splits",
        "The same file is trained on and evaluated with: the AP is too good to be true.",
        "left out of train",
    ),
    "near_leak": Kind(
        WARNING,
        "images in two splits that look alike",
        "A copy (smaller, recompressed, cropped) or the next frame of a video is trained on and "
        "evaluated with: the AP is too good to be true.",
    ),
    "duplicate": Kind(
        WARNING,
        "repeated images",
        "Files of one content count twice in training and in the AP.",
        "the one with the most boxes is kept",
    ),
    "near_duplicate": Kind(
        WARNING, "images that look alike", "Copies of an image, or frames of a video."
    ),
    "repeated_entry": Kind(
        WARNING, "images that are listed twice", "Their boxes are merged in training.", "merged"
    ),
    "exif_rotation": Kind(
        WARNING,
        "images turned by EXIF",
        "Tools that ignore EXIF show them, and draw boxes, the other way.",
        "stored upright",
    ),
    "no_end_marker": Kind(
        WARNING,
        "JPEG files without an end marker",
        "All pixels are there and training reads them, but Pillow and other tools refuse the file.",
        "the marker is added",
    ),
    "box_clipped": Kind(
        WARNING, "boxes that reach over the border", "They are clipped in training.", "clipped"
    ),
    "box_tiny": Kind(
        WARNING,
        "tiny boxes",
        "Less than 2 pixels wide or high, in the file or where its longer side has 640 pixels: "
        "mostly slips of the mouse, and hardly to be found otherwise.",
    ),
    "box_huge": Kind(
        WARNING,
        "boxes around the whole image",
        "They cover 98 % of the image or more: often a label of the image, not of an object.",
    ),
    "box_repeated": Kind(
        WARNING,
        "identical boxes",
        "The same class and corners twice in an image; one is left out in training.",
        "one is kept",
    ),
    "box_two_classes": Kind(
        WARNING,
        "boxes with two classes",
        "The same corners with different classes: one of the labels is mostly wrong.",
    ),
    "box_doubled": Kind(
        WARNING,
        "boxes of one class on one another",
        "IoU of 0.9 or more: one object that was mostly labeled twice.",
    ),
    "class_missing": Kind(
        WARNING,
        "classes without objects to evaluate",
        "They are trained, but their AP is not measured.",
    ),
    "unlabeled": Kind(
        WARNING,
        "images without labels",
        "Without labels an image counts as one without objects (YOLO) or is not used: its objects "
        "are learned as background, or lost.",
    ),
    "orphan_label": Kind(WARNING, "label files without an image", "They are not used.", "left out"),
    "class_unused": Kind(NOTE, "classes without objects in any split", "They cannot be learned."),
    "empty_image": Kind(
        NOTE, "images without objects", "Good as negatives if there is really no object on them."
    ),
    "stray_image": Kind(NOTE, "images in no split", "They lie beside the others and are not used."),
}
"""Key -> kind, the worst first."""
