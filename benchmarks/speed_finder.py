"""The whole search, FailureFinder, against the time that a person waits for: seconds of a fit and its peak memory.

    python benchmarks/speed_finder.py demo         # one case in this process, as one line of JSON

Every fit runs in a process of its own, so that its peak is its own; workers are processes too, and are told beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from record import Record

import failviz.discovery
from failviz.evaluation import Evaluation

FINDER = "FailureFinder"
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """Data to fit, on how many cores, and the bars: seconds, and GB of memory at most."""

    words: str
    data: Callable[[], Evaluation]
    n_jobs: int
    bar: float
    most: float | None = None
    repeats: int = REPEATS


def demo() -> Evaluation:
    """The validation split of the demo scenes, as the shipped classifier sees it."""
    from failviz import datasets

    scenes = datasets.load_fashion_scenes()
    model, encoder = datasets.load_demo_classifier(), datasets.load_demo_encoder()
    return failviz.evaluate(model, scenes.val, encoders=encoder, progress=False)


def planted_classes(n: int, d: int, n_classes: int) -> Evaluation:
    """Classes around centres of their own; in each a tenth lies to one side and fails in 6 of 10, else 1 in 10 does."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % n_classes
    rows = rng.normal(size=(n_classes, d))[labels] + rng.normal(size=(n, d))
    hard = rng.random(n) < 0.1
    rows[hard] += 3.0 * rng.normal(size=(n_classes, d))[labels[hard]] / np.sqrt(d)
    wrong = rng.random(n) < np.where(hard, 0.6, 0.1)
    probs = np.full((n, n_classes), 0.2 / n_classes)
    predictions = np.where(wrong, (labels + rng.integers(1, n_classes, n)) % n_classes, labels)
    probs[np.arange(n), predictions] += 0.8
    return Evaluation(rows.astype(np.float32), labels=labels, predictions=predictions, probs=probs.astype(np.float32))


CASES = {
    "demo": Case("demo validation, two cores", demo, n_jobs=2, bar=20.0),  # the start of the workers included
    "demo, one core": Case("demo validation, one core", demo, n_jobs=1, bar=20.0),
    "two classes": Case("2000x128, 2 classes, one core", lambda: planted_classes(2000, 128, 2), n_jobs=1, bar=10.0),
    "many classes": Case(
        "50000x512, 100 classes, one core",
        lambda: planted_classes(50_000, 512, 100),
        n_jobs=1, bar=300.0, most=4.0, repeats=1,
    ),
}  # fmt: skip


def measure(case: Case) -> dict[str, float]:
    """Fit once in this process: seconds, what it found, and the most memory (GB) before, after and of a worker."""
    import joblib
    from joblib.externals.loky import get_reusable_executor

    evaluation = case.data()
    before = peak_gb(resource.RUSAGE_SELF)
    finder = getattr(failviz.discovery, FINDER)(random_state=0, progress=False)
    started = time.perf_counter()
    with joblib.parallel_config(backend="loky", n_jobs=case.n_jobs):
        finder.fit(evaluation)
    seconds = time.perf_counter() - started
    if case.n_jobs > 1:  # only workers that have ended are counted
        get_reusable_executor().shutdown(wait=True)
    return {
        "seconds": seconds,
        "n_slices": len(finder.slices(evaluation)),
        "before_gb": before,
        "peak_gb": peak_gb(resource.RUSAGE_SELF),
        "worker_gb": peak_gb(resource.RUSAGE_CHILDREN),
    }


def peak_gb(who: int) -> float:
    """The most memory that this process, or the largest of its children that have ended, has held (Linux: in KB)."""
    return resource.getrusage(who).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e9 / 1024)


def bench_finder(record: Record, case: str) -> None:
    """Fits in fresh processes; slower than the bar is said, more memory than the bar is a miss."""
    chosen = CASES[case]
    where = f"finder {chosen.words}"
    if not hasattr(failviz.discovery, FINDER):
        record.line(where, f"left out: failviz.discovery has no {FINDER} yet", left_out=True)
        return
    one_thread = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    fits = []
    for _ in range(chosen.repeats):
        done = subprocess.run([sys.executable, __file__, case], env=one_thread, check=True, stdout=subprocess.PIPE)
        fits.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = sorted(fit["seconds"] for fit in fits)
    median, peak = float(np.median(seconds)), max(fit["peak_gb"] for fit in fits)
    worker = max(fit["worker_gb"] for fit in fits)
    record.line(
        where,
        f"{median:.3g} [{seconds[0]:.3g}, {seconds[-1]:.3g}] ({len(seconds)}) s, the bar is {chosen.bar:.0f} s"
        f"{'' if median <= chosen.bar else ' (OVER)'}; peak {peak:.2f} GB ({fits[-1]['before_gb']:.2f} GB before it"
        f"{f', {worker:.2f} GB in a worker' if chosen.n_jobs > 1 else ''}); {fits[-1]['n_slices']:.0f} slices",
        seconds=seconds, bar=chosen.bar, peak_gb=peak, worker_gb=worker, n_slices=fits[-1]["n_slices"],
    )  # fmt: skip
    if chosen.most is not None:
        record.expect(peak <= chosen.most, f"{where}: {peak:.2f} GB of memory, the bar is {chosen.most:.0f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=CASES)
    print(json.dumps(measure(CASES[parser.parse_args().case])))
