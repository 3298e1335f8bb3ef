"""Lines of YOLO text files: boxes, polygons, boxes with keypoints."""

from pathlib import Path
from typing import NamedTuple, Optional, Sequence

from ppdet_lite.data.sources.files import error_at, not_allowed, read_lines

Shares = tuple[float, float, float, float]
"""x1, y1, x2, y2 of a box as shares of the image."""

_SLACK = 0.5  # boxes may leave the image by so much, and are clipped
_ALLOWED = "class cx cy w h, or class and the x y of at least three points"


class YoloBox(NamedTuple):
    """An object; `pose`: its box if the line holds one with keypoints, None if it cannot."""

    class_index: int
    shares: Shares
    pose: Optional[Shares] = None


class LabelLines:
    """Reads text files. A line with more than five numbers holds the corners of a polygon or
    oriented box, of which the bounds count, or a box with keypoints.

    Without `keypoints` the numbers must tell which of both: keypoints lie inside their box and may
    have flags 0, 1, 2. All lines of a data set are of the same kind.

    Args:
        keypoints: their number and the values of each.
    """

    def __init__(self, class_count: int, keypoints: Optional[tuple[int, int]] = None):
        self.class_count, self.keypoints = class_count, keypoints
        self._places: dict[str, tuple[Path, int, int]] = {}  # of the first line of each kind

    def read(self, path: Path) -> list[YoloBox]:
        """The objects in a file; a DataError names the line that holds none."""
        return [self._box(path, number, line.split()) for number, line in read_lines(path)]

    def are_keypoints(self) -> bool:
        """True if all longer lines of the files read hold keypoints, so that `pose` is their box; a
        DataError where their kind is open.
        """
        kinds = self._places.keys()
        if kinds == {"either"} or kinds >= {"keypoints", "polygon"}:
            path, number, count = self._places["keypoints" if "keypoints" in kinds else "either"]
            found = f"found {count} fields, which may be a polygon or a box with keypoints"
            allowed = "one kind in all files, with kpt_shape in data.yaml where there are keypoints"
            raise error_at(path, number, f"{found}, allowed: {allowed}")
        return "keypoints" in kinds

    def _box(self, path: Path, number: int, fields: list[str]) -> YoloBox:
        try:
            first, *values = map(float, fields)
        except ValueError:
            raise error_at(path, number, not_allowed(" ".join(fields), "numbers")) from None
        if first not in range(self.class_count):
            problem = f"found {fields[0][:40]}, allowed: 0 to {self.class_count - 1}"
            raise error_at(path, number, "class", problem)
        count, pose = len(values), None
        if self.keypoints:
            needed = 4 + self.keypoints[0] * self.keypoints[1]
            if count not in (4, needed):
                allowed = f"5, or {needed + 1} as kpt_shape in data.yaml says"
                raise error_at(path, number, f"found {count + 1} fields, allowed: {allowed}")
            values = values[:4]
        elif count > 4:
            pose = _pose_box(values)
        can_be_polygon = count >= 6 and count % 2 == 0
        if len(values) != 4 and not can_be_polygon and pose is None:
            more = "; a confidence is not read" if count == 5 else ""
            problem = f"found {count + 1} fields, allowed: {_ALLOWED}{more}"
            raise error_at(path, number, problem)
        outside = [value for value in values if value < -_SLACK or value > 1 + _SLACK]
        if outside and pose is None:
            problem = not_allowed(outside[0], "0 to 1, shares of width and height")
            raise error_at(path, number, problem)
        if len(values) == 4:
            return YoloBox(int(first), _corners(values))
        kind = "keypoints" if outside or not can_be_polygon else "either" if pose else "polygon"
        self._places.setdefault(kind, (path, number, count + 1))
        xs, ys = values[::2], values[1::2]
        return YoloBox(int(first), (min(xs), min(ys), max(xs), max(ys)), pose)


def _corners(values: Sequence[float]) -> Shares:
    cx, cy, width, height = values
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def _pose_box(values: Sequence[float]) -> Optional[Shares]:
    """The box in the first four numbers if it lies in the image and the others may be keypoints in
    it: points, those not seen at (0, 0), or points with flags.
    """
    x1, y1, x2, y2 = box = _corners(values[:4])
    inside = x1 >= -0.01 and y1 >= -0.01 and x2 <= 1.01 and y2 <= 1.01
    for size in (2, 3) if inside else ():
        points = zip(values[4::size], values[5::size])
        are_inside = all(
            (x1 - 0.02 <= x <= x2 + 0.02 and y1 - 0.02 <= y <= y2 + 0.02) or x == y == 0
            for x, y in points
        )
        has_flags = size == 2 or set(values[6::size]) <= {0, 1, 2}
        if (len(values) - 4) % size == 0 and are_inside and has_flags:
            return box
    return None
