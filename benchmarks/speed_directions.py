"""Failure directions beside the published recipe: the whole fit of one class, three ways."""

from __future__ import annotations

import numpy as np
from machine import Limits, alternate
from published import C_GRID, directions
from record import Record

from failviz.discovery import FailureDirections
from failviz.discovery.direction_fit import auroc
from failviz.evaluation import Evaluation


def clustered_class(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) of one class in twenty clusters, and errors (n,): 60% of a shifted eighth, 10% elsewhere."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, d)) * 0.7
    rows = centres[rng.integers(0, 20, n)] + rng.normal(size=(n, d))
    hard = rng.random(n) < 0.12
    rows[hard] += 2.5 * np.ones(d) / np.sqrt(d)
    return rows.astype(np.float32), rng.random(n) < np.where(hard, 0.6, 0.1)


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
