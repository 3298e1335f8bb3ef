"""Reference files: how their numbers are reduced, and how two sets of them are compared.

A record is a dict of name -> value. A value is a text, a list of numbers (compared one by one with
the tolerance of its name), or, for names that end with `rows`, a list of detections per image (each
row has to reappear, wherever it stands).
"""

import fnmatch
from typing import Optional

import numpy as np

SAMPLES = 12
# Class and score identify a row of detections, corners are compared.
LARGE_PX = 320
ROW_SCORE_TOLERANCE, ROW_CORNER_TOLERANCE_PX = 1e-3, 0.05


def summary(array, samples: int = SAMPLES) -> dict:
    """What stands for an array: shape, mean, standard deviation, its product with fixed noise
    (which a change at any place moves) and a few values, evenly spread.
    """
    array = np.asarray(array, np.float64)
    flat = array.ravel()
    noise = np.random.default_rng(1).standard_normal(flat.size)
    picked = np.linspace(0, flat.size - 1, min(samples, flat.size)).round().astype(int)
    return {
        "shape": list(array.shape),
        "mean": [flat.mean()],
        "std": [flat.std()],
        "projection": [flat @ noise / np.sqrt(flat.size)],
        "samples": flat[picked].tolist(),
    }


def flattened(record: dict, prefix: str = "") -> dict:
    """Nested dicts as one dict with dotted names; numbers rounded to seven digits."""
    flat = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat.update(flattened(value, f"{name}."))
        elif isinstance(value, str):
            flat[name] = value
        else:
            flat[name] = _rounded(np.asarray(value).tolist() if _is_array(value) else value)
    return flat


def _is_array(value) -> bool:
    return isinstance(value, (np.ndarray, np.generic))


def _rounded(value):
    if isinstance(value, (list, tuple)):
        return [_rounded(element) for element in value]
    if isinstance(value, float):
        return float(f"{value:.7g}")
    return value


class Tolerance:
    """How far a number may lie from its reference: `absolute + relative x |reference|`, and a
    ten-millionth of the largest number beside it, of which float32 rounding makes a small one.
    """

    def __init__(self, pattern: str, absolute: float = 0.0, relative: float = 0.0):
        self.pattern = pattern
        self.absolute = absolute
        self.relative = relative

    def __call__(self, reference):
        size = np.abs(reference)
        rounding = 1e-7 * np.max(size, initial=0) if self.relative else 0
        return self.absolute + self.relative * size + rounding


EXACT = Tolerance("*")


def tolerance_of(name: str, tolerances) -> Tolerance:
    """The first whose pattern fits the name; exact without one."""
    return next((t for t in tolerances if fnmatch.fnmatch(name, t.pattern)), EXACT)


def differences(reference: dict, found: dict, tolerances) -> list:
    """One line for each name whose value moved, [] when none did.

    Args:
        reference, found: flattened records.
        tolerances: list of `Tolerance`.
    """
    lines = [f"{name}: is no longer there" for name in reference if name not in found]
    lines += [f"{name}: is new" for name in found if name not in reference]
    for name, expected in reference.items():
        if name not in found:
            continue
        if isinstance(expected, str) or isinstance(found[name], str):
            line = None if expected == found[name] else f"was {expected}, is now {found[name]}"
        elif name.endswith("rows"):
            line = _row_difference(expected, found[name])
        else:
            line = _number_difference(expected, found[name], tolerance_of(name, tolerances))
        if line is not None:
            lines.append(f"{name}: {line}")
    return lines


def _number_difference(expected, found, tolerance: Tolerance) -> Optional[str]:
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    if expected.shape != found.shape:
        return f"had {expected.size} numbers, has now {found.size}"
    moved = np.abs(found - expected)
    allowed = np.broadcast_to(tolerance(expected), moved.shape)
    bad = ~(moved <= allowed)  # a NaN is bad
    if not bad.any():
        return None
    excess = np.where(bad, moved / np.maximum(allowed, 1e-300), 0)
    worst = np.unravel_index(np.nan_to_num(excess, nan=np.inf).argmax(), moved.shape)
    index = f" (number {', '.join(map(str, worst))})" if expected.size > 1 else ""
    return (
        f"{int(bad.sum())} of {bad.size} moved, most{index} {expected[worst]:.7g} -> "
        f"{found[worst]:.7g}, by {moved[worst]:.2g}; allowed {allowed[worst]:.2g}"
    )


def _row_difference(expected, found) -> Optional[str]:
    if len(expected) != len(found):
        return f"had {len(expected)} images, has now {len(found)}"
    lost, total = [], 0
    for rows, now in zip(expected, found):
        rows, now = np.array(rows).reshape(-1, 6), np.array(now).reshape(-1, 6)
        if len(rows) == 0 or len(now) == 0:
            if len(rows) != len(now):
                return f"had {len(rows)} detections, has now {len(now)}"
            continue
        # The last row that fits under keep_top_k may change places with one that did not.
        rows = rows[rows[:, 1] > rows[:, 1].min() + ROW_SCORE_TOLERANCE]
        total += len(rows)
        same = np.abs(rows[:, None, :2] - now[None, :, :2]).max(axis=2) < ROW_SCORE_TOLERANCE
        near = np.abs(rows[:, None, 2:] - now[None, :, 2:]).max(axis=2)
        sides = rows[:, 4:] - rows[:, 2:4]
        largest = np.abs(np.hstack([rows[:, 2:], sides])).max(axis=1, keepdims=True)
        beyond = np.maximum(largest - LARGE_PX, 0)  # boxes far outside are exponentials
        allowed = ROW_CORNER_TOLERANCE_PX + 2e-3 * beyond
        lost += rows[~(same & (near < allowed)).any(axis=1)].tolist()
    if not lost:
        return None
    return f"{len(lost)} of {total} do not reappear, for instance {lost[0]}"
