#!/usr/bin/env python3
"""Writes ppdet_lite/api/models.csv: parameters and multiply-adds of every shipped configuration.

Networks whose configuration has not changed keep their row; `--all` measures all of them again.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

COLUMNS = ("name", "network", "height", "width", "params", "multiply_adds")


def measured(name: str, digest: str) -> dict:
    """The row of one configuration; builds its network and runs it once."""
    from ppdet_lite.benchmark.model_info import measure
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.export.options import input_size
    from ppdet_lite.modeling.build_detector import build_detector

    cfg = load_config(name)
    height, width = input_size(cfg)
    total = measure(build_detector(cfg), height, width).total
    values = (name, digest, height, width, total.values, total.multiply_adds)
    return dict(zip(COLUMNS, map(str, values)))


def main() -> None:
    from ppdet_lite.api.models import TABLE, network_digest, read_table
    from ppdet_lite.core.shipped import shipped_configs
    from ppdet_lite.core.workspace import load_config

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="measure every network again")
    known = {} if parser.parse_args().all or not TABLE.is_file() else read_table()
    by_network = {row["network"]: row for row in known.values()}
    rows = []
    for name in shipped_configs():
        digest = network_digest(load_config(name, validate=False))
        if digest not in by_network:
            print(f"measuring {name}", flush=True)
            by_network[digest] = measured(name, digest)
        rows.append({**by_network[digest], "name": name})
    with open(TABLE, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
