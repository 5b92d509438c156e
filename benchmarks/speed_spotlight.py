"""Spotlights beside the published optimiser: one step of each, and what both find at equal total weight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from machine import Limits, alternate
from published import spotlight_steps
from record import Record
from scoring import interval

from failviz.discovery import Spotlight
from failviz.discovery.spotlight_adam import STEPS, ascend_as_published, barrier_widths
from failviz.discovery.spotlight_level import N_STEPS, Cloud, Scaling, level_ascent, squared_distances
from failviz.evaluation import Evaluation

CHANCE = 0.003
"""Where both find the same group, the unseen loss of a seed differs either way by up to this share, by chance."""
SEEDS, SEEDS_CLOSE = 5, 24
"""How many data sets are drawn, and where both find the same group: the mean of five says little there."""


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
    for seed in range(SEEDS if faint else SEEDS_CLOSE):
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
    gain, low, high = interval(np.array([facts["unseen"] / facts["published_unseen"] - 1 for facts in results]))
    means |= {"unseen_gain": gain, "unseen_gain_low": low, "unseen_gain_high": high}
    n_lower = sum(facts["unseen"] < facts["published_unseen"] for facts in results)
    words = f"unseen loss {gain:+.2%} [{low:+.2%}, {high:+.2%}], lower on {n_lower} of {len(results)} seeds"
    record.line(f"spotlight {family} mean of {len(results)} seeds", f"{_comparison(means)}; {words}", **means)
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
