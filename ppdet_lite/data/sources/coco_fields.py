"""Fields of a COCO file: each is checked, and named when it cannot be used."""

from typing import Any

from ppdet_lite.data.sources.text_files import not_allowed

INTEGER, POSITIVE, NUMBER, TEXT = "an integer", "a positive integer", "a number", "text"
BOX = "four numbers x, y, width, height"

IMAGE = {"id": INTEGER, "width": POSITIVE, "height": POSITIVE, "file_name": TEXT}
CATEGORY = {"id": INTEGER, "name": TEXT}
ANNOTATION = {"image_id": INTEGER, "category_id": INTEGER, "bbox": BOX}
OPTIONAL = {"id": INTEGER, "area": NUMBER}


class BadField(Exception):
    """A value that cannot be used: list, index, key, and the problem with it."""

    def __init__(self, section: str, index: int, key: str, problem: str):
        super().__init__(problem)
        self.section, self.index = section, index
        self.text = f"{section}[{index}].{key}: {problem}"


def check_list(section: str, items: list[Any], needed: dict[str, str], *unique: str) -> None:
    """Checks the fields of all items, and that the `unique` ones differ; raises BadField."""
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            problem = not_allowed(item, "a mapping with an id")
            raise BadField(section, index, "id", problem)
        check_fields(section, index, item, needed)
    for key in unique:
        seen: dict[Any, int] = {}
        for index, item in enumerate(items):
            first = seen.setdefault(item[key], index)
            if first != index:
                problem = f"{item[key]!r} is already the {key} of {section}[{first}]"
                raise BadField(section, index, key, problem)


def check_fields(section: str, index: int, item: dict[str, Any], needed: dict[str, str]) -> None:
    """Checks one item; integers written as 640.0 are made integers.

    Args:
        needed: key -> one of INTEGER, POSITIVE, NUMBER, TEXT, BOX.

    Raises:
        BadField: names the first key that is missing or holds something else.
    """
    for key, allowed in needed.items():
        if key not in item:
            raise BadField(section, index, key, "missing")
        value = item[key]
        if allowed in (INTEGER, POSITIVE) and isinstance(value, float) and value.is_integer():
            item[key] = value = int(value)
        if not _is(allowed, value):
            raise BadField(section, index, key, not_allowed(value, allowed))


def _is(allowed: str, value: Any) -> bool:
    if allowed == TEXT:
        return isinstance(value, str) and value != ""
    if allowed == BOX:
        return isinstance(value, list) and len(value) == 4 and all(_is(NUMBER, v) for v in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if allowed == NUMBER:
        return not isinstance(value, int) or abs(value) < 2**1000
    return isinstance(value, int) and (1 if allowed == POSITIVE else -(2**62)) <= value < 2**62
