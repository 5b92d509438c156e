"""The published recipes, called as their authors call them: the peers of the speed benchmark."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

C_GRID = np.logspace(-6, 0, 7)


def directions(rows: np.ndarray, is_error: np.ndarray) -> dict[str, Any]:
    """Jain et al. 2022 (arXiv 2206.14754): an SVC per C, scored by 2-fold balanced accuracy, and refitted.

    `rows` (n, d) are the raw features of one class; the recipe whitens and normalises them first.
    Its target is 1 = correct; `coef` and `intercept` are returned pointing toward failure, as ours.
    As in the authors' code every C is refitted on all rows, the winner only being kept; "refits" are
    the seconds that go into the losers, so that a recipe without them can be timed as well.
    """
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    whitened = rows.astype(np.float64)
    whitened = (whitened - whitened.mean(axis=0)) / whitened.std(axis=0, ddof=1)
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
    correct = (~is_error).astype(int)
    scores, fits, refits = [], [], []
    for C in C_GRID:
        svc = SVC(gamma="auto", kernel="linear", C=C, class_weight="balanced")
        scores.append(cross_val_score(svc, whitened, correct, cv=2, scoring="balanced_accuracy").mean())
        begun = time.perf_counter()
        fits.append(svc.fit(whitened, correct))
        refits.append(time.perf_counter() - begun)
    best = int(np.argmax(scores))
    return {
        "C": C_GRID[best],
        "cv_scores": np.array(scores),
        "coefs": np.array([-fit.coef_[0] for fit in fits]),
        "intercepts": np.array([-float(fit.intercept_[0]) for fit in fits]),
        "whitened": whitened,
        "refits": sum(refits) - refits[best],
    }


def spotlight_steps(rows: np.ndarray, losses: np.ndarray, size: float, *, full_matrix: bool) -> Callable[[], float]:
    """One optimiser step of the published Spotlight (arXiv 2107.00758, spherical kernel), ready to be timed.

    With `full_matrix` distances are (x - mu) P (x - mu) with P = exp(log tau) I a d x d matrix, as
    published; without, the same formula written for a spherical kernel.
    """
    import torch

    x, y = torch.from_numpy(rows), torch.from_numpy(losses.astype(rows.dtype))
    n, d = rows.shape
    centre = torch.zeros(d, requires_grad=True)
    log_tau = torch.tensor(math.log(1e-4), requires_grad=True)
    optimizer = torch.optim.Adam([centre, log_tau], lr=1e-2)
    width = n - size

    def step() -> float:
        optimizer.zero_grad()
        difference = x - centre
        if full_matrix:
            precision = torch.eye(d) * torch.exp(log_tau)
            distances = ((difference @ precision) * difference).sum(dim=1)
        else:
            distances = torch.exp(log_tau) * (difference * difference).sum(dim=1)
        kernel = torch.clamp(1.0 - distances, min=0.0)
        weight = kernel.sum()
        objective = kernel @ y / weight
        if weight < size + width:
            objective = objective - (weight - (size + width)) ** 2 / width**2
        (-objective).backward()
        optimizer.step()
        return float(objective.detach())

    return step


def failure_tree(rows: np.ndarray, is_error: np.ndarray, *, n_features: int, max_depth: int) -> tuple[np.ndarray, Any]:
    """Singla et al. 2021 (Barlow, arXiv 2012.01750): features by mutual information, then an entropy tree; seed 0.

    Returns the columns that the tree may choose from, most informative last, and scikit-learn's tree on them.
    """
    from sklearn.feature_selection import mutual_info_classif
    from sklearn.tree import DecisionTreeClassifier

    columns = np.argsort(mutual_info_classif(rows, is_error, random_state=0))[-n_features:]
    weights = {0: 1, 1: np.sum(~is_error) / np.sum(is_error)}
    tree = DecisionTreeClassifier(criterion="entropy", max_depth=max_depth, class_weight=weights, random_state=0)
    return columns, tree.fit(rows[:, columns], is_error)


class MixtureStep:
    """One expectation and one maximisation of Domino (Eyuboglu et al. 2022, arXiv 2203.14960), ready to be timed.

    As in the authors' code the Gaussian part is scikit-learn's `GaussianMixture`, by the steps of its own `fit`, and
    classes enter as one row of probabilities per example, labels as 0 and 1. Without classes it is scikit-learn alone.

    Attributes
    ----------
    weights, means, variances, label_probs, prediction_probs : after the step, whose start is given.
    """

    def __init__(
        self,
        weights: np.ndarray,
        means: np.ndarray,
        variances: np.ndarray,
        reg: float,
        *,
        classes: tuple[tuple[np.ndarray, np.ndarray, float], ...] = (),
    ):
        """`classes`: labels and predictions as probabilities (n, C), their P(c|s) (S, C) and their exponent."""
        from sklearn.mixture import GaussianMixture

        self._before = weights, means, variances, 1 / np.sqrt(variances)
        self._gaussian = GaussianMixture(len(weights), covariance_type="diag", reg_covar=reg)
        self._classes = classes

    def __call__(self, rows: np.ndarray) -> MixtureStep:
        from scipy.special import logsumexp

        gaussian, eps = self._gaussian, np.finfo(np.float64).eps
        gaussian.weights_, gaussian.means_, gaussian.covariances_, gaussian.precisions_cholesky_ = self._before
        if not self._classes:
            gaussian._m_step(rows, gaussian._e_step(rows)[1])
        else:
            logs = gaussian._estimate_weighted_log_prob(rows)
            for probs, of_component, exponent in self._classes:
                logs += exponent * np.log(probs @ of_component.T + eps)
            log_shares = logs - logsumexp(logs, axis=1)[:, None]
            gaussian._m_step(rows, log_shares)
            shares = np.exp(log_shares)
            totals = shares.sum(axis=0)[:, None]
            self.label_probs, self.prediction_probs = (shares.T @ probs / totals for probs, _, _ in self._classes)
        self.weights, self.means, self.variances = gaussian.weights_, gaussian.means_, gaussian.covariances_
        return self
