"""How fast failviz is beside the published recipes, and whether it gives the same or better answers.

    python benchmarks/speed.py --size small        # about five minutes on one core
    python benchmarks/speed.py --size full --json speed.jsonl

Peers run side by side in one process (A B A B), after a warm-up, on one BLAS thread; a line shows median
[min, max] (runs). A wrong answer ends in exit code 1; a slow one never does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
from machine import Limits, alternate, measure_limits, name
from published import C_GRID, directions, spotlight_steps
from threadpoolctl import threadpool_limits

from failviz.discovery import FailureDirections, Spotlight
from failviz.discovery.direction_fit import auroc
from failviz.discovery.spotlight_adam import STEPS, ascend_as_published, barrier_widths
from failviz.discovery.spotlight_level import N_STEPS, Cloud, Scaling, level_ascent, squared_distances
from failviz.evaluation import Evaluation
from failviz.interventions._lookalikes import nearest_in_chunks

CHANCE = 0.003
"""Where both find the same group, the unseen loss of a seed differs either way by up to this share, by chance."""


class Record:
    """Lines for a person, the same as JSON for a program, and the misses found on the way."""

    def __init__(self, path: str | None):
        self._file = open(path, "w") if path else None  # noqa: SIM115 (closed in `finish`)
        self.misses: list[str] = []

    def line(self, benchmark: str, text: str, **facts: object) -> None:
        print(f"{benchmark:<34} {text}", flush=True)
        if self._file:
            self._file.write(json.dumps({"benchmark": benchmark, **facts}, default=float) + "\n")
            self._file.flush()

    def expect(self, good: bool, sentence: str) -> None:
        if not good:
            self.misses.append(sentence)
            print(f"{'':<34} MISS: {sentence}", flush=True)

    def finish(self) -> int:
        if self._file:
            self._file.close()
        print(f"\n{len(self.misses)} quality misses" if self.misses else "\nno quality miss")
        return 1 if self.misses else 0


def clustered_class(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) of one class in twenty clusters, and errors (n,): 60% of a shifted eighth, 10% elsewhere."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, d)) * 0.7
    rows = centres[rng.integers(0, 20, n)] + rng.normal(size=(n, d))
    hard = rng.random(n) < 0.12
    rows[hard] += 2.5 * np.ones(d) / np.sqrt(d)
    return rows.astype(np.float32), rng.random(n) < np.where(hard, 0.6, 0.1)


def planted_losses(n: int, d: int, seed: int, *, faint: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (n, d) in thirty clusters, losses (n,) high in one cluster of 3%, and that cluster as a mask.

    Clear: 70% errors there, 8% elsewhere. Faint: 40% and 12%, blurred clusters, rows of unit length.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, d)) / np.sqrt(d)
    cluster = rng.choice(30, n, p=np.r_[0.03, np.full(29, 0.97 / 29)])
    noise = rng.normal(size=(n, d)) / np.sqrt(d) * (1 + 0.3 * np.abs(rng.standard_t(5, size=(n, 1))))
    rows = centres[cluster] + noise + 1 / np.sqrt(d)
    if faint:
        rows += rng.normal(size=(n, d)) / np.sqrt(d)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    inside, outside = (0.4, 0.12) if faint else (0.7, 0.08)
    wrong = rng.random(n) < np.where(cluster == 0, inside, outside)
    return rows.astype(np.float32), np.where(wrong, rng.gamma(4, 0.5, n), rng.gamma(1, 0.1, n)), cluster == 0


def primal(coef: np.ndarray, intercept: float, rows: np.ndarray, is_error: np.ndarray, C: float) -> float:
    """The objective of the balanced SVM."""
    n, n_errors = len(rows), int(is_error.sum())
    share = np.where(is_error, n / (2 * n_errors), n / (2 * (n - n_errors)))
    slack = np.maximum(0.0, 1.0 - np.where(is_error, 1.0, -1.0) * (rows @ coef + intercept))
    return float(coef @ coef / 2 + C * share @ slack)


def bench_directions(record: Record, limits: Limits, n: int, d: int, *, published_once: bool) -> None:
    """One class: the whole fit from raw features (whitening, grid, cross-validation, refit), three ways."""
    rows, is_error = clustered_class(2 * n, d)
    (rows, unseen), (is_error, unseen_error) = np.split(rows, 2), np.split(is_error, 2)
    evaluation = Evaluation(
        rows, labels=np.zeros(n, dtype=int), predictions=is_error.astype(int), class_names=["a", "b"]
    )
    ours = FailureDirections(random_state=0, progress=False)
    parity = FailureDirections(selection="balanced_accuracy", shuffle=False, progress=False)
    if published_once:  # too slow to be its own warm-up: a part of the same rows warms the code and the libraries
        directions(rows[:500], is_error[:500])
    timing = alternate(
        {
            "published": lambda: directions(rows, is_error),
            "default": lambda: ours.fit(evaluation),
            "parity": lambda: parity.fit(evaluation),
        },
        once=("published",) if published_once else (),
    )
    reference = timing["published"].result
    gram = n * n * d / 1e9 / limits.dgemm  # a symmetric product is half a general one
    note = ", run once, after a warm-up on 500 of the rows" if published_once else ""
    lean = timing["published"].median - reference["refits"]
    record.line(
        f"directions n={n} d={d} published",
        f"{timing['published'].words()} s per class{note}; {lean:.3g} s without refits of the C that lose; "
        f"the Gram matrix takes {gram / timing['published'].median:.0%} of it",
        seconds=timing["published"].seconds, without_refits=lean, gram_share=gram / timing["published"].median,
    )  # fmt: skip
    whitened_unseen = _whitened(unseen, rows)
    best = int(np.argmin(np.abs(np.log(C_GRID / reference["C"]))))
    published_auroc = auroc(whitened_unseen @ reference["coefs"][best], unseen_error)
    for mode, finder in (("default", ours), ("parity", parity)):
        C, coef, intercept = finder.C_[0], finder.coef_[0], finder.intercept_[0]
        at = int(np.argmin(np.abs(np.log(C_GRID / C))))
        peer = reference["coefs"][at]
        cosine = float(coef @ peer / np.linalg.norm(coef) / np.linalg.norm(peer))
        objective = primal(coef, intercept, reference["whitened"], is_error, C)
        peer_objective = primal(peer, reference["intercepts"][at], reference["whitened"], is_error, C)
        ranked = auroc(whitened_unseen @ coef, unseen_error)
        ratio = timing["published"].median / timing[mode].median
        share = gram / timing[mode].median
        gap = float(abs(finder.cv_scores_[0] - reference["cv_scores"]).max()) if mode == "parity" else float("nan")
        same = bool(np.isclose(C, reference["C"]))
        scored = f"C as published: {same}, largest gap of CV scores {gap:.1e}; " if mode == "parity" else ""
        record.line(
            f"directions n={n} d={d} {mode}",
            f"{timing[mode].words()} s per class, {ratio:.0f}x ({lean / timing[mode].median:.0f}x without the refits); "
            f"an n x n Gram matrix alone, at full dgemm speed, would take {share:.0%} of it; "
            f"{scored}C {C:.0e}, cosine {cosine:.6f}, objective {objective / peer_objective - 1:+.1e}; "
            f"AUROC on unseen rows {published_auroc:.3f} -> {ranked:.3f}",
            seconds=timing[mode].seconds, ratio=ratio, ratio_without_refits=lean / timing[mode].median,
            gram_share=share, C=C, cosine=cosine, relative_objective=objective / peer_objective - 1,
            published_auroc=published_auroc, auroc=ranked, same_C=same, gap=gap,
        )  # fmt: skip
        record.expect(ranked >= published_auroc - 0.005, f"{mode} n={n} d={d}: unseen errors are ranked worse")
        record.expect(cosine >= 0.999, f"{mode} n={n} d={d}: cosine {cosine:.6f} with SVC at C={C:.0e}")
        record.expect(objective <= peer_objective * (1 + 1e-4), f"{mode} n={n} d={d}: objective above SVC's")
        if mode == "parity":
            close = reference["cv_scores"].max() - reference["cv_scores"][at] < 1e-3
            record.expect(same or bool(close), f"parity n={n} d={d}: C {C:.0e} against {reference['C']:.0e}")


def _whitened(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rows whitened with the statistics of `reference` and scaled to unit length, as the recipe does."""
    reference = reference.astype(np.float64)
    whitened = (rows - reference.mean(axis=0)) / reference.std(axis=0, ddof=1)
    return whitened / np.linalg.norm(whitened, axis=1, keepdims=True)


def bench_large_class(record: Record, limits: Limits, n: int, d: int) -> None:
    """A class too large for a Gram matrix; the published recipe would take hours, so ours stands alone."""
    rows, is_error = clustered_class(n, d)
    evaluation = Evaluation(
        rows, labels=np.zeros(n, dtype=int), predictions=is_error.astype(int), class_names=["a", "b"]
    )
    finder = FailureDirections(random_state=0, progress=False)
    timing = alternate({"ours": lambda: finder.fit(evaluation)}, repeats=3)["ours"]
    share = n * n * d / 1e9 / limits.dgemm / timing.median
    record.line(
        f"directions n={n} d={d} default", f"{timing.words()} s per class; a Gram matrix would take {share:.0%} of it",
        seconds=timing.seconds, gram_share=share,
    )  # fmt: skip


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


def bench_spotlight_step(record: Record, limits: Limits, n: int, d: int) -> None:
    """One step of the optimiser: the formula as published, the same written for a sphere, ours, and a batch."""
    rows = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32) / np.float32(np.sqrt(d))
    losses = np.random.default_rng(1).exponential(size=n)
    size = 0.02 * n
    block = 100  # steps timed together, so that what is done once per fit counts little
    widths = barrier_widths(n, size, STEPS)[:block]
    scaled = Cloud(Scaling.fit(rows)(rows), losses)
    starts = rows[:16].astype(np.float64)
    timing = alternate(
        {
            "published, d x d matrix": spotlight_steps(rows, losses, size, full_matrix=True),
            "published, spherical": spotlight_steps(rows, losses, size, full_matrix=False),
            "ours, adam": lambda: ascend_as_published(rows, losses, size, widths=widths),
            "ours, level, 16 starts": lambda: level_ascent(
                scaled, starts, size, anchors=starts, confine=1.0, shrink=False
            ),
        }
    )
    slowest = timing["published, d x d matrix"].median
    per = {"ours, adam": block, "ours, level, 16 starts": 20 * 16}  # 20 steps without shrinking, 16 centres each
    for peer, measured in timing.items():
        step = measured.median / per.get(peer, 1)
        if "starts" in peer:  # a product of matrices, bound by arithmetic
            speed, unit, limit, work = 4 * rows.size / 1e9 / step, "GFLOP/s", limits.sgemm, "two products with X"
        else:
            speed, unit, limit, work = 2 * rows.nbytes / 1e9 / step, "GB/s", limits.read, "two reads of X"
        ratio = slowest / step
        record.line(
            f"spotlight {n}x{d}",
            f"{peer}: {measured.words(1e3 / per.get(peer, 1))} ms per step"
            f"{' and start' if 'starts' in peer else ''}, {ratio:.1f}x; "
            f"{work} = {speed:.1f} {unit} ({speed / limit:.0%} of the limit)",
            peer=peer, ms_per_step=step * 1e3, ratio=ratio, speed=speed, unit=unit, share_of_limit=speed / limit,
        )  # fmt: skip


def bench_spotlight_quality(record: Record, limits: Limits, n: int, d: int, *, faint: bool) -> None:
    """At equal total weight: training loss, loss on other data and purity, published schedule against ours.

    Shares of the limit: the published schedule must read X twice in each of its 5000 steps; ours must form the
    two products of 16 centres with half of X in each step of its two climbs.

    The published schedule is run by our analytic gradient (tests/discovery prove the same trajectory)
    on rows scaled to unit rms radius, since on rows as they are it depends on their scale.
    """
    family = f"{'faint' if faint else 'clear'} {n}x{d}"
    results = []
    for seed in range(5):
        rows, losses, hard = planted_losses(2 * n, d, seed, faint=faint)
        train, test = Evaluation(rows[:n], losses=losses[:n]), Evaluation(rows[n:], losses=losses[n:])
        published, seconds = _timed(
            lambda rows=rows, losses=losses: published_spotlight(rows[:n], losses[:n], 0.02 * n)
        )
        kernel, unseen = published(rows[:n]), published(rows[n:])
        weight = float(kernel.sum())
        ours = Spotlight(n_slices=1, min_weight=weight, random_state=seed, progress=False)
        _, our_seconds = _timed(lambda ours=ours, train=train: ours.fit(train))
        our_kernel, our_unseen = (np.maximum(0.0, ours.decision_function(part)[:, 0]) for part in (train, test))
        facts = {
            "weight": weight,
            "our_weight": our_kernel.sum(),
            "published_training": kernel @ losses[:n] / weight,
            "training": our_kernel @ losses[:n] / our_kernel.sum(),
            "published_unseen": unseen @ losses[n:] / max(unseen.sum(), 1e-30),
            "unseen": our_unseen @ losses[n:] / our_unseen.sum(),
            "published_purity": _purity(unseen, kernel.max(), hard[n:]),
            "purity": _purity(our_unseen, our_kernel.max(), hard[n:]),
            "published_seconds": seconds,
            "seconds": our_seconds,
            "published_share_of_limit": STEPS * 2 * 4 * n * d / 1e9 / limits.read / seconds,
            "share_of_limit": 1.5 * N_STEPS * 16 * 4 * (n // 2) * d / 1e9 / limits.sgemm / our_seconds,
        }
        results.append(facts)
        record.line(f"spotlight {family} seed {seed}", _comparison(facts), **facts)
        record.expect(facts["training"] >= facts["published_training"], f"{family} seed {seed}: training loss lower")
        near = facts["published_unseen"] * (1 - CHANCE)
        record.expect(facts["unseen"] >= near, f"{family} seed {seed}: unseen loss lower")
        record.expect(abs(facts["our_weight"] / weight - 1) < 1e-6, f"{family} seed {seed}: weights differ")
    means = {key: float(np.mean([facts[key] for facts in results])) for key in results[0]}
    record.line(f"spotlight {family} mean", _comparison(means), **means)
    record.expect(means["unseen"] >= means["published_unseen"], f"{family}: mean unseen loss lower")


def published_spotlight(rows: np.ndarray, losses: np.ndarray, size: float) -> Callable[[np.ndarray], np.ndarray]:
    """The published schedule on scaled rows; gives its kernel on any rows."""
    scaling = Scaling.fit(rows)
    widths = barrier_widths(len(rows), size, STEPS)
    centre, tau = ascend_as_published(scaling(rows), losses, size, widths=widths)
    return lambda others: np.maximum(0.0, 1.0 - tau * squared_distances(scaling(others), centre))


def _purity(kernel: np.ndarray, peak: float, hard: np.ndarray) -> float:
    """Share of the planted cluster among the members: at least half the peak weight."""
    member = kernel >= peak / 2
    return float(hard[member].mean()) if member.any() else 0.0


def _comparison(facts: dict[str, float]) -> str:
    return (
        f"W {facts['weight']:.1f} and {facts['our_weight']:.1f}: "
        + ", ".join(
            f"{key} {facts[f'published_{key}']:.3f} -> {facts[key]:.3f}" for key in ("training", "unseen", "purity")
        )
        + f"; {facts['published_seconds']:.1f} s ({facts['published_share_of_limit']:.0%} of the read limit)"
        + f" -> {facts['seconds']:.1f} s ({facts['share_of_limit']:.0%} of sgemm)"
    )


def _timed(run):  # type: ignore[no-untyped-def]
    timing = alternate({"it": run}, repeats=1, once=("it",))["it"]
    return timing.result, timing.median


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
    return record.finish()


if __name__ == "__main__":
    sys.exit(main())
