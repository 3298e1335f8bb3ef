"""The tables that tools/benchmark_reader.py prints."""

from typing import Any, Optional

from ppdet_lite.benchmark.tables import aligned_table, decimals, megabytes, percent

_BUSY_ELSEWHERE = 0.9


def report(result: dict[str, Any]) -> str:
    """The result of `benchmark_readers` as text."""
    lines = [f"{result['config']}: {result['cores']} cores, OpenCV {result['opencv']}, one thread"]
    for name, reader in result["readers"].items():
        lines += ["", *_about(name, reader), "", *_runs(reader["runs"])]
        lines += ["", *_steps(reader["steps"]), "", *_memory(reader["memory"])]
    lines += [
        "",
        f"whole run: {result['wall_s']:.1f} s on the clock, {result['cpu_s']:.1f} s of processor "
        "time (all processes)",
    ]
    runs = [run for reader in result["readers"].values() for run in reader["runs"]]
    share = min((run["cpu_per_wall"] for run in runs if run["workers"] == 0), default=1)
    if share < _BUSY_ELSEWHERE:  # this process did not get the processor that it wanted
        lines.append(
            f"the machine was busy with other work: the reader got {share:.0%} of a core; trust "
            "the CPU ratio, not samples/s and speed-up"
        )
    return "\n".join(lines)


def _about(name: str, reader: dict[str, Any]) -> list[str]:
    early, cache = reader["rendered_by"], reader["cache"]
    lines = [
        f"{name} reader: {reader['images']} images, {reader['batches']} batches of "
        f"{reader['batch_size']}, {reader['images_per_sample']:.2f} images decoded per sample",
        f"rendered early, in the middle of the list, because of: {', '.join(early)}"
        if early
        else "every image is rendered once: no entry of the lists breaks the fusion",
    ]
    if cache is not None:
        held = f"{cache['images']} images, {megabytes(cache['bytes'])} MB"
        lines.append(f"cache {cache['kind']}, filled before: {held}")
    return lines


def _runs(runs: list[dict[str, Any]]) -> list[str]:
    header = ["normalized on", "workers", "samples/s", "ms/sample", "decode", "ratio", "CPU ratio"]
    numbers = ("ms_per_sample", "decode_ms_per_sample", "ratio", "cpu_ratio", "speedup")
    rows = [
        [
            run["normalize"],
            str(run["workers"]),
            decimals(run["samples_per_s"], 1),
            *(decimals(run[key]) for key in (*numbers, "cpu_per_wall")),
        ]
        for run in runs
    ]
    return aligned_table([*header, "speed-up", "cores used"], rows)


def _steps(steps: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            step["step"],
            decimals(step["ms_per_sample"], 3),
            percent(step["share"]),
            decimals(step["calls_per_sample"]),
        ]
        for step in steps
    ]
    return aligned_table(["step (one process)", "ms/sample", "share", "calls"], rows)


def _memory(entries: list[dict[str, Any]]) -> list[str]:
    rows: list[list[str]] = []

    def add(label: str, memory: Optional[dict[str, Any]]) -> None:
        if memory is not None:
            values = (memory[f"{key}_bytes"] for key in ("peak", "pss", "uss"))
            rows.append([label, *map(megabytes, values)])

    for entry in entries:
        add(f"{entry['workers']} workers: parent", entry["parent"])
        add("  largest worker", entry["largest_worker"])
    return aligned_table(["memory in MB", "peak", "PSS", "USS"], rows)
