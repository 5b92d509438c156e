"""How fast failviz is beside the published recipes, and whether it gives the same or better answers.

    python benchmarks/speed.py --size small        # about six minutes on one core
    python benchmarks/speed.py --size full --json speed.jsonl

Peers run side by side in one process (A B A B), after a warm-up, on one BLAS thread; a line shows median
[min, max] (runs). A wrong answer ends in exit code 1; a slow one never does.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from machine import measure_limits, name
from record import Record
from speed_directions import bench_directions, bench_large_class
from speed_finder import CASES, bench_finder
from speed_lookalikes import bench_lookalikes
from speed_mixture import bench_mixture
from speed_spotlight import bench_spotlight_quality, bench_spotlight_step
from speed_tree import bench_tree
from threadpoolctl import threadpool_limits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--json", metavar="PATH", help="write one JSON object per line as well")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    record = Record(arguments.json)
    with threadpool_limits(limits=1):
        limits = measure_limits()
        record.line(
            "machine",
            f"{name()}; one core: copy {limits.copy:.1f} GB/s, read {limits.read:.1f} GB/s, "
            f"sgemm {limits.sgemm:.0f} GFLOP/s, dgemm {limits.dgemm:.0f} GFLOP/s",
            **asdict(limits),
        )
        bench_directions(record, limits, 1000, 512, published_once=False)
        bench_spotlight_step(record, limits, 50_000, 512)
        bench_spotlight_quality(record, limits, 5000, 128, faint=False)
        bench_spotlight_quality(record, limits, 4000, 512, faint=True)
        bench_lookalikes(record, limits, 100_000, 512)
        bench_mixture(record, limits, 50_000, 128, soft=True)
        bench_tree(record, 5000, 128, max_depth=1)
        bench_tree(record, 5000, 128, max_depth=3)
        bench_directions(record, limits, 5000, 512, published_once=True)
        if arguments.size == "full":
            bench_directions(record, limits, 1000, 1024, published_once=False)
            bench_directions(record, limits, 1280, 512, published_once=False)
            bench_directions(record, limits, 1280, 1024, published_once=False)
            bench_directions(record, limits, 5000, 1024, published_once=True)
            bench_large_class(record, limits, 20_000, 512)
            bench_lookalikes(record, limits, 1_000_000, 512)
            bench_spotlight_step(record, limits, 50_000, 2048)
            bench_spotlight_quality(record, limits, 20_000, 512, faint=True)
            bench_mixture(record, limits, 50_000, 128, soft=False)
            bench_tree(record, 20_000, 512, max_depth=1)
            bench_tree(record, 20_000, 512, max_depth=3)
            for case in CASES:
                bench_finder(record, case)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main())
