"""Small Evaluations with a planted failure, for all discovery tests."""

import numpy as np

from failviz.discovery import (
    ConfidenceRank,
    ConfusionCells,
    ErrorMixture,
    FailureDirections,
    FailureFinder,
    FailureTree,
    PlaneSpot,
    SliceLine,
    Spotlight,
)
from failviz.evaluation import Evaluation

FINDERS = [
    FailureDirections(random_state=0, progress=False),
    FailureDirections(estimator="lda", n_directions=2, random_state=0, progress=False),
    FailureDirections(n_directions=3, random_state=0, progress=False),
    FailureDirections(selection="balanced_accuracy", random_state=0, progress=False),
    FailureDirections(estimator="mlp", random_state=0, progress=False),
    Spotlight(n_slices=2, min_weight=0.05, random_state=0, progress=False),
    Spotlight(n_slices=2, min_weight=0.05, kernel="full", size="at_least", random_state=0, progress=False),
    Spotlight(n_slices=2, min_weight=0.05, solver="adam", progress=False),
    Spotlight(n_slices=2, min_weight=0.05, flip=True, random_state=0, progress=False),
    Spotlight(n_slices=2, min_weight=0.05, group_by="label", random_state=0, progress=False),
    Spotlight(
        n_slices=2,
        min_weight=0.05,
        group_by="prediction",
        kernel="full",
        label_entropy=0.1,
        random_state=0,
        progress=False,
    ),
    FailureTree(group_by="label", n_features=5, random_state=0, progress=False),
    FailureTree(n_features=5, random_state=0, progress=False),
    PlaneSpot(n_slices=2, n_components=8, random_state=0, progress=False),
    ErrorMixture(n_slices=2, n_components=8, random_state=0, progress=False),
    SliceLine(n_slices=2, min_support=20, progress=False),
    SliceLine(n_slices=2, min_support=20, errors="loss", progress=False),
    FailureFinder(q=0.5, max_slices=4, random_state=0, progress=False),
    FailureFinder(q=1, max_slices=4, random_state=0, progress=False),
    ConfusionCells(n_slices=3),
    ConfidenceRank(),
]
"""One of each, as the contract tries them."""


def planted(n=600, d=12, seed=0, shift=3.0, n_classes=3):
    """An Evaluation whose class 1 fails on a shifted quarter of it, and that quarter as a mask."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    x = rng.normal(size=(n, d)) + 0.5 * labels[:, None]
    hard = (labels == 1) & (rng.random(n) < 0.25)
    x[hard, 0] += shift
    wrong = rng.random(n) < np.where(hard, 0.8, 0.08)
    predictions = np.where(wrong, (labels + 1) % n_classes, labels)
    losses = np.where(wrong, 0.8 + rng.gamma(3.0, 0.6, n), np.minimum(0.6, rng.gamma(1.0, 0.1, n)))
    probs = np.zeros((n, n_classes))
    probs[np.arange(n), (labels + 1) % n_classes] = 1 - np.exp(-losses)
    probs[np.arange(n), labels] = np.exp(-losses)
    ground = np.where(hard ^ (rng.random(n) < 0.05), "grass", rng.choice(["sand", "snow", "brick"], n))
    evaluation = Evaluation(
        x,
        labels=labels,
        predictions=predictions,
        probs=probs,
        losses=losses,
        metadata={"ground": ground, "size": rng.normal(size=n)},
        class_names=[f"kind {c}" for c in range(n_classes)],
    )
    return evaluation, hard


def one_class(n=200, d=16, seed=0, n_errors=None):
    """Rows (n, d), errors (n,) that depend on them, and the Evaluation of this single class."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    is_error = x[:, 0] + rng.normal(size=n) > 1
    if n_errors is not None:
        is_error = np.arange(n) < n_errors
    evaluation = Evaluation(
        x,
        labels=np.zeros(n, int),
        predictions=is_error.astype(int),
        probs=np.where(is_error[:, None], [0.2, 0.8], [0.9, 0.1]),
        losses=is_error * 2.0 + 0.1,
        metadata={"side": np.where(x[:, 0] > 0, "left", "right")},
        class_names=["a", "b"],
    )
    return x, is_error, evaluation
