"""What a spotlight pays for lying in many classes: the entropy of the labels, or of the predictions, inside it.

d'Eon et al. 2021 (arXiv 2107.00758) name both penalties in their code, where they are commented out. Here the objective
is sum m l / sum m - a H(p), with m = k w the mass of each row, p_c the share of class c in the mass, and
H(p) = - sum p_c log p_c in nats, as losses are.

The penalty is itself a mean under m: of -log p_c. So a row of class c counts as if its loss were l + a log p_c: the
mean of these *charged* losses is the objective, and the derivative of the objective by the mass of a row is its charged
loss less the objective, over sum m (the derivatives of p_c cancel, since the p_c sum to one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LEAST_SHARE = 1e-30  # of a class that no row of the spotlight has


@dataclass(frozen=True, eq=False)
class EntropyPenalty:
    """A coefficient a > 0 and the class of each row, int (n,), numbered 0 to n_classes - 1."""

    coefficient: float
    classes: np.ndarray
    n_classes: int

    @classmethod
    def of(cls, coefficient: float, classes: np.ndarray) -> EntropyPenalty:
        """The penalty on classes numbered in any way; those that no row has are left out."""
        present, numbers = np.unique(classes, return_inverse=True)
        return cls(coefficient, numbers, len(present))

    def take(self, rows: np.ndarray) -> EntropyPenalty:
        return EntropyPenalty(self.coefficient, self.classes[rows], self.n_classes)

    def charges(self, mass: np.ndarray) -> np.ndarray:
        """a log p_c, float64 (s, n_classes), of spotlights with mass (s, n)."""
        totals = np.array([np.bincount(self.classes, one, minlength=self.n_classes) for one in mass])
        shares = totals / np.maximum(totals.sum(axis=1, keepdims=True), _LEAST_SHARE)
        charges: np.ndarray = self.coefficient * np.log(np.maximum(shares, _LEAST_SHARE))
        return charges


def charged(losses: np.ndarray, mass: np.ndarray, penalties: Sequence[EntropyPenalty]) -> np.ndarray:
    """Losses (n,) as the objective counts them in spotlights of mass (s, n): the same, or (s, n) with penalties."""
    for penalty in penalties:
        losses = losses + penalty.charges(mass).astype(losses.dtype)[:, penalty.classes]
    return losses


def discounted(losses: np.ndarray, mass: np.ndarray, penalties: Sequence[EntropyPenalty]) -> np.ndarray:
    """The same for a pull, which cannot be negative: the most frequent class keeps its losses, others have less."""
    for penalty in penalties:
        charges = penalty.charges(mass)
        behind = charges - charges.max(axis=1, keepdims=True)
        losses = losses + behind.astype(losses.dtype)[:, penalty.classes]
    return np.maximum(losses, 0.0) if penalties else losses


def objective(losses: np.ndarray, mass: np.ndarray, penalties: Sequence[EntropyPenalty] = ()) -> float:
    """sum m l / sum m - sum of a H, of one spotlight with mass (n,); 0 where it covers nothing."""
    total = float(mass.sum())
    counted = charged(losses, mass[None], penalties).reshape(-1)
    return float(mass @ counted / total) if total > 0 else 0.0
