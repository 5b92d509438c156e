"""What this machine can do at best, and fair timing of peers side by side on it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Limits:
    """One core's ceilings: copy and read of memory (GB/s), matrix products (GFLOP/s)."""

    copy: float
    read: float
    sgemm: float
    dgemm: float


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs, and what the last run returned."""

    seconds: tuple[float, ...]
    result: Any

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def words(self, unit: float = 1.0) -> str:
        """Median [min, max] (runs)."""
        low, high = min(self.seconds) * unit, max(self.seconds) * unit
        return f"{self.median * unit:.4g} [{low:.4g}, {high:.4g}] ({len(self.seconds)})"


def name() -> str:
    """The processor, and how many cores this process may use."""
    model = platform.processor() or "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores"


def measure_limits() -> Limits:
    """Best of five, on arrays far larger than the caches."""
    source = np.ones(32_000_000, dtype=np.float32)
    target = np.empty_like(source)
    matrix = np.random.default_rng(0).normal(size=(2000, 2000))
    single = matrix.astype(np.float32)
    flops = 2 * 2000**3 / 1e9
    return Limits(
        copy=2 * source.nbytes / 1e9 / _best(lambda: np.copyto(target, source)),
        read=source.nbytes / 1e9 / _best(source.max),
        sgemm=flops / _best(lambda: single @ single),
        dgemm=flops / _best(lambda: matrix @ matrix),
    )


def alternate(
    peers: dict[str, Callable[[], Any]], *, repeats: int = 5, once: tuple[str, ...] = ()
) -> dict[str, Timing]:
    """Time the peers A B A B ..., after one warm-up each, in this process.

    Peers named in `once` are too slow to repeat: they run a single time, without warm-up.
    """
    seconds: dict[str, list[float]] = {peer: [] for peer in peers}
    results: dict[str, Any] = {}
    for turn in range(-1, repeats):
        for peer, run in peers.items():
            if peer in once and turn != 0:
                continue
            start = time.perf_counter()
            results[peer] = run()
            if turn >= 0:
                seconds[peer].append(time.perf_counter() - start)
    return {peer: Timing(tuple(seconds[peer]), results[peer]) for peer in peers}


def _best(run: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
