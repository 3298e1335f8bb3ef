"""Runs the trials of some kinds and prints a table: python -m tests.fuzz coco yolo --count 5000"""

import argparse
import sys

from tests.fuzz.harness import KINDS, child, run_kind


def main() -> int:
    """Returns 1 if any input ended in something else than a result or a clear error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS, help=f"of {', '.join(KINDS)}")
    parser.add_argument("--count", type=int, default=300, help="inputs per kind (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.kinds[0], args.seed, args.first, args.count, args.child)
        return 0
    bad = 0
    print(f"{'kind':14} inputs   fine  clear  faults  peak MB")
    for kind in args.kinds:
        report = run_kind(kind, args.count, args.seed, args.first)
        counts, faults = report.counts, report.faults
        line = f"{kind:14} {sum(counts.values()):6} {counts['fine']:6} {counts['clear']:6}"
        print(f"{line} {len(faults):7} {report.peak_mb:8}", *faults[:20], sep="\n  ", flush=True)
        bad += len(faults)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
