"""Tables and numbers as text, for all reports of this room."""

from typing import Optional, Sequence

Row = Sequence[str]


def markdown_table(header: Row, rows: Sequence[Row], text_columns: int = 1) -> list[str]:
    """Lines of a Markdown table; columns after the first `text_columns` are set to the right."""
    rule = ["---" if i < text_columns else "---:" for i in range(len(header))]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def aligned_table(header: Row, rows: Sequence[Row], text_columns: int = 1) -> list[str]:
    """Lines of a table for a terminal; columns after the first `text_columns` to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return [
        "  ".join(
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in (header, *rows)
    ]


def decimals(value: Optional[float], digits: int = 2) -> str:
    """The number with so many digits after the point; "-" where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def megabytes(count: Optional[float]) -> str:
    """Bytes in units of 2**20; "-" where they are not known."""
    return decimals(None if count is None else count / 2**20, 0)


def percent(part: float, whole: float = 1.0, digits: int = 1) -> str:
    """A share in percent; "-" of nothing."""
    return f"{part / whole:.{digits}%}" if whole else "-"
