"""The tables that tools/benchmark_reader.py prints."""

from typing import Optional

_BUSY_ELSEWHERE = 0.9


def report(result: dict) -> str:
    """The result of `benchmark_readers` as text."""
    lines = [f"{result['config']}: {result['cores']} cores, OpenCV {result['opencv']}, one thread"]
    for name, reader in result["readers"].items():
        lines += ["", *_reader_lines(name, reader)]
    lines += [
        "",
        f"whole run: {result['wall_s']:.1f} s on the clock, {result['cpu_s']:.1f} s of processor "
        "time (all processes)",
    ]
    lines += _shared_machine(result)
    return "\n".join(lines)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [header, *rows]
    ]


def _reader_lines(name: str, reader: dict) -> list[str]:
    lines = [
        f"{name} reader: {reader['images']} images, {reader['batches']} batches of "
        f"{reader['batch_size']}, {reader['images_per_sample']:.2f} images decoded per sample",
    ]
    if reader["rendered_by"]:
        lines.append(
            f"rendered early, in the middle of the list, because of: "
            f"{', '.join(reader['rendered_by'])}"
        )
    else:
        lines.append("every image is rendered once: no entry of the lists breaks the fusion")
    cache = reader["cache"]
    if cache is not None:
        lines.append(
            f"cache {cache['kind']}, filled before: {cache['images']} images, "
            f"{cache['bytes'] / 2**20:.0f} MB"
        )
    return [
        *lines,
        "",
        *table(
            [
                *("normalized on", "workers", "samples/s", "ms/sample", "decode", "ratio"),
                "CPU ratio",
                *("speed-up", "cores used"),
            ],
            [_run_row(run) for run in reader["runs"]],
        ),
        "",
        *table(
            ["step (one process)", "ms/sample", "share", "calls"],
            [_step_row(step) for step in reader["steps"]],
        ),
        "",
        *table(
            ["memory in MB", "peak", "PSS", "USS"],
            [row for entry in reader["memory"] for row in _memory_rows(entry)],
        ),
    ]


def _run_row(run: dict) -> list[str]:
    return [
        run["normalize"],
        str(run["workers"]),
        f"{run['samples_per_s']:.1f}",
        f"{run['ms_per_sample']:.2f}",
        f"{run['decode_ms_per_sample']:.2f}",
        _number(run["ratio"]),
        _number(run["cpu_ratio"]),
        _number(run["speedup"]),
        _number(run["cpu_per_wall"]),
    ]


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.2f}"


def _step_row(step: dict) -> list[str]:
    return [
        step["step"],
        f"{step['ms_per_sample']:.3f}",
        f"{100 * step['share']:.1f}%",
        f"{step['calls_per_sample']:.2f}",
    ]


def _memory_rows(entry: dict) -> list[list[str]]:
    rows = [_memory_row(f"{entry['workers']} workers: parent", entry["parent"])]
    if entry["largest_worker"] is not None:
        rows.append(_memory_row("  largest worker", entry["largest_worker"]))
    return rows


def _memory_row(label: str, memory: dict) -> list[str]:
    values = (memory[f"{key}_bytes"] for key in ("peak", "pss", "uss"))
    return [label, *("-" if value is None else f"{value / 2**20:.0f}" for value in values)]


def _shared_machine(result: dict) -> list[str]:
    """A warning when this process did not get the processor that it wanted."""
    alone = [
        run["cpu_per_wall"]
        for reader in result["readers"].values()
        for run in reader["runs"]
        if run["workers"] == 0
    ]
    if not alone or min(alone) >= _BUSY_ELSEWHERE:
        return []
    return [
        f"the machine was busy with other work: the reader got {100 * min(alone):.0f}% of a core; "
        "trust the CPU ratio, not samples/s and speed-up"
    ]
