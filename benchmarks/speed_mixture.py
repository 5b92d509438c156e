"""One iteration of the error mixture: ours beside the formula, the published code's way and scikit-learn alone."""

from __future__ import annotations

import numpy as np
from machine import Limits, alternate
from published import MixtureStep
from record import Record

from failviz.discovery.mixture_em import EPS, Examples, Mixture, first_mixture, iteration

EXPONENTS = (10.0, 10.0)
REG = 1e-6
TOLERANCE = 1e-8
_FORMULA_ROWS = 256


def clustered_examples(n: int, k: int, n_classes: int, *, soft: bool) -> Examples:
    """Rows (n, k) in forty clusters, labels of which four in five go by the cluster, predictions near the labels."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 40, n)
    rows = rng.normal(size=(40, k))[cluster] + rng.normal(size=(n, k))
    labels = np.where(rng.random(n) < 0.8, cluster % n_classes, rng.integers(0, n_classes, n))
    probs = 0.5 * rng.dirichlet(np.full(n_classes, 0.4), n) + 0.5 * np.eye(n_classes)[labels]
    return Examples(rows - rows.mean(axis=0), labels, probs if soft else probs.argmax(axis=1))


def by_the_formula(examples: Examples, before: Mixture, soft: np.ndarray) -> Mixture:
    """One iteration with all densities (x - mu)^2 / v formed, for a few rows at a time; predictions `soft` (n, C)."""
    n, k = examples.rows.shape
    n_components, n_classes = before.label_probs.shape
    log_normal = np.log(before.weights) - 0.5 * np.log(2 * np.pi * before.variances).sum(axis=1)
    log_labels = np.log(before.label_probs + EPS)
    predicted = before.prediction_probs + EPS
    shares, counts = np.empty((n, n_components)), np.zeros((n_components, n_classes))
    for start in range(0, n, _FORMULA_ROWS):
        part = slice(start, start + _FORMULA_ROWS)
        away = examples.rows[part, None] - before.means
        logs = log_normal - 0.5 * (away**2 / before.variances).sum(axis=2)
        logs += EXPONENTS[0] * log_labels[:, examples.labels[part]].T
        joint = soft[part, None] * predicted  # of prediction and class, (rows, S, C)
        marginal = joint.sum(axis=2)
        logs += EXPONENTS[1] * np.log(marginal)
        share = np.exp(logs - logs.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        shares[part] = share
        counts += np.einsum("ns,nsc->sc", share, joint / marginal[:, :, None])
    totals = shares.sum(axis=0)[:, None]
    means, variances = shares.T @ examples.rows / totals, np.zeros((n_components, k))
    for start in range(0, n, _FORMULA_ROWS):
        part = slice(start, start + _FORMULA_ROWS)
        variances += np.einsum("ns,nsk->sk", shares[part], (examples.rows[part, None] - means) ** 2)
    labels = shares.T @ np.eye(n_classes)[examples.labels] / totals
    return Mixture(totals[:, 0] / n, means, variances / totals + REG, labels, counts / totals)


def bench_mixture(
    record: Record, limits: Limits, n: int, k: int, *, n_components: int = 25, n_classes: int = 10, soft: bool
) -> None:
    """One iteration from the same start. scikit-learn alone does less: it has no labels and no predictions.

    The floor is four products of n, components and k (densities and moments) at full dgemm speed.
    """
    examples = clustered_examples(n, k, n_classes, soft=soft)
    shares = np.random.default_rng(1).dirichlet(np.full(n_components, 0.5), n)
    before = first_mixture(examples, shares, n_classes, REG)
    predictions = examples.predictions if soft else np.eye(n_classes)[examples.predictions]
    classes = (
        (np.eye(n_classes)[examples.labels], before.label_probs, EXPONENTS[0]),
        (predictions, before.prediction_probs, EXPONENTS[1]),
    )
    start = before.weights, before.means, before.variances, REG
    timing = alternate(
        {
            "ours": lambda: iteration(examples, before, EXPONENTS, REG)[0],
            "formula": lambda: by_the_formula(examples, before, predictions),
            "published": lambda: MixtureStep(*start, classes=classes)(examples.rows),
            "scikit-learn, no classes": lambda: MixtureStep(*start)(examples.rows),
        }
    )
    ours = timing["ours"]
    floor = 8 * n * n_components * k / 1e9 / limits.dgemm
    kind = "soft" if soft else "hard"
    for peer, measured in timing.items():
        record.line(
            f"mixture {n}x{k} {kind}",
            f"{peer}: {measured.words(1e3)} ms per iteration, {measured.median / ours.median:.1f}x ours; "
            f"its products at full dgemm speed take {floor / measured.median:.0%} of it",
            peer=peer, ms_per_iteration=measured.median * 1e3, seconds=measured.seconds,
            ratio=measured.median / ours.median, share_of_limit=floor / measured.median,
        )  # fmt: skip
    # With soft predictions the published maximisation of P(yhat|s) is another one, see `mixture_em`.
    for peer, other in (("formula", None), ("published", "prediction_probs" if soft else None)):
        names = ("weights", "means", "variances", "label_probs", "prediction_probs")
        result = timing[peer].result
        gap = max(float(abs(getattr(ours.result, x) - getattr(result, x)).max()) for x in names if x != other)
        record.line(
            f"mixture {n}x{k} {kind}", f"largest difference of a parameter from {peer}: {gap:.1e}", peer=peer, gap=gap
        )
        record.expect(gap <= TOLERANCE, f"mixture {n}x{k} {kind}: {gap:.1e} from {peer}")
