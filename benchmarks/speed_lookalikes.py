"""Look-alikes in a pool: ours beside faiss and scikit-learn."""

from __future__ import annotations

import numpy as np
from machine import Limits, alternate
from record import Record

from failviz.interventions._lookalikes import nearest_in_chunks


def bench_lookalikes(record: Record, limits: Limits, n: int, d: int) -> None:
    """The 50 nearest of 100 failures in a pool: ours, faiss (flat) and scikit-learn (brute), the pool in memory.

    Our answer is exact to float64; recall says how much of it the peers' float32 distances find.
    """
    import faiss
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    pool = rng.normal(size=(n, d)).astype(np.float32)
    points, rows, k = pool[:100] + rng.normal(size=(100, d)).astype(np.float32), np.arange(n), 50
    faiss.omp_set_num_threads(1)

    def flat() -> np.ndarray:
        index = faiss.IndexFlatL2(d)
        index.add(pool)
        return index.search(points, k)[1]

    peers = {
        "ours": lambda: nearest_in_chunks(points, pool, rows, rows, k)[0],
        "faiss flat": flat,
        "scikit-learn brute": lambda: (
            NearestNeighbors(n_neighbors=k, algorithm="brute").fit(pool).kneighbors(points)[1]
        ),
    }
    timing = alternate(peers)
    exact = timing["ours"].result
    work = 2 * n * d * len(points) / 1e9
    for peer, measured in timing.items():
        recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(measured.result, exact, strict=True)])
        speed = work / measured.median
        record.line(
            f"look-alikes {n}x{d}",
            f"{peer}: {measured.words()} s, recall {recall:.4f}; {speed:.0f} GFLOP/s ({speed / limits.sgemm:.0%} of "
            f"sgemm); {timing['faiss flat'].median / measured.median:.2f}x faiss",
            peer=peer, seconds=measured.seconds, recall=recall, share_of_limit=speed / limits.sgemm,
        )  # fmt: skip
        record.expect(recall > 0.999, f"look-alikes {n}x{d}: {peer} finds others than ours")
