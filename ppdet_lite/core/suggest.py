"""Guesses what the user meant."""

import difflib
from typing import Iterable


def nearest_hint(found: str, allowed: Iterable[str]) -> str:
    """`; did you mean X?` for the allowed name X nearest to `found`, or an empty text."""
    names = [name for name in allowed if isinstance(name, str)]
    by_lower_case = {name.lower(): name for name in names}
    match = difflib.get_close_matches(str(found).lower(), by_lower_case, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower_case[match[0]]}'?" if match else ""
