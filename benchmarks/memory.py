"""How much memory do look-alikes take in a pool that lies on disk?

    python benchmarks/memory.py                 # 1,000,000 x 512: writes 2 GB under --folder and deletes them

The 50 nearest of 100 failures in a memory-mapped pool, float32 and float16: seconds, and by how much the memory of the
process grew at most (anonymous pages; pages of the file itself belong to the system's cache). One thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from failviz.interventions._lookalikes import nearest_in_chunks

K, N_POINTS = 50, 100
BOUND_MB = 128


def anonymous_mb() -> float:
    """Memory of this process that no file stands behind, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def grown(call) -> tuple[float, float]:
    """Seconds of a call, and the most MB by which the process grew meanwhile, looked at every 2 ms."""
    done, most, before = threading.Event(), [0.0], anonymous_mb()

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], anonymous_mb() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return seconds, most[0]


def write(path: Path, n: int, d: int, dtype: type) -> np.ndarray:
    """A pool on disk, mapped."""
    rng = np.random.default_rng(0)
    pool = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n, d))
    for start in range(0, n, 50_000):
        pool[start : start + 50_000] = rng.standard_normal((min(50_000, n - start), d), dtype=np.float32)
    pool.flush()
    del pool
    return np.load(path, mmap_mode="r")


def measure(path: Path, n: int, d: int, dtype: type) -> float:
    """Print a line, and return the MB."""
    pool = write(path, n, d, dtype)
    points, rows = pool[:N_POINTS].astype(np.float32) + 0.1, np.arange(n)
    nearest_in_chunks(points[:2], pool[:2000], rows[:2000], rows[:2000], K)  # loads what it needs
    seconds, most = grown(lambda: nearest_in_chunks(points, pool, rows, rows, K))
    print(f"{n} x {d} {pool.dtype}: {seconds:.1f} s, +{most:.0f} MB at most, a pool of {pool.nbytes / 2**20:.0f} MB")
    return most


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--folder", help="where to put the pool meanwhile")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder, threadpool_limits(limits=1):
        path = Path(folder) / "pool.npy"
        most = max(measure(path, chosen.rows, chosen.dimensions, dtype) for dtype in (np.float32, np.float16))
    failed = most > BOUND_MB
    if failed:
        print(f"MISS: more than {BOUND_MB} MB")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
