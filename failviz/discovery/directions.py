"""Failure directions: for each class, the direction in embedding space along which the model fails.

Jain, Lawrence, Moitra & Madry 2022, *Distilling Model Failures as Directions in Latent Space*, arXiv 2206.14754.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._parallel import parallel_map
from failviz.discovery.base import SliceFinder, canonical_order
from failviz.discovery.direction_fit import Direction, fit_direction
from failviz.discovery.whitening import Whitening
from failviz.evaluation import Evaluation
from failviz.slices import Slice

METHOD = "failure direction"
LARGEST_C = 1000.0


class FailureDirections(SliceFinder):
    """Find, for each class, which of its examples the model gets wrong, as a direction in embedding space.

    Embeddings are whitened per dimension and scaled to unit rows; per class a linear SVM separates
    errors from correct examples; its normal is the failure direction. **Larger score = more likely to
    fail** (the paper's sign is the opposite). The label of an example is needed to know which
    direction applies to it; for an unlabelled pool give the assumed label.

    Parameters
    ----------
    C_grid : sequence of float, default 7 values from 1e-6 to 1
        Inverse regularisations to choose from, increasing.
    cv : int, default 2
        Stratified folds of the choice.
    selection : "auroc" or "balanced_accuracy"
        What chooses C. At small C the intercept of this SVM is not unique, so the paper's balanced
        accuracy scores an arbitrary number there; the area under the ROC curve of held-out errors does
        not depend on it. "balanced_accuracy" repeats the paper's recipe: for comparison.
    space : str or None
        Embedding space; None = the first.
    shuffle : bool, default True
        Shuffle the folds. False takes rows in the order given, as the paper's code does; the result
        then depends on that order.
    passes : 1 or 2
        How often rows are whitened; the paper's training script does it twice.
    random_state : int, RandomState or None
        Of the shuffle.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    coef_ : float64 (n_classes, d)
        Toward failure, in whitened unit-row coordinates, not rescaled; NaN rows where there is no direction.
    intercept_, C_ : float64 (n_classes,)
    cv_scores_ : float64 (n_classes, n_C)
        Mean held-out score of `selection` for each C.
    status_ : list of str
        Per class "fitted", "too_few_errors", "too_few_correct" (fewer than `cv`) or "empty".
    classes_ : int64 (n_classes,)
    order_ : int64 (k,)
        The classes with a direction, most important first: by errors in the fit x how far their
        cross-validated score is above chance. Columns of `decision_function` and `slices` follow it.
    mean_, scale_, is_constant_ : arrays (d,)
        Whitening statistics; a constant dimension has scale 1.

    Notes
    -----
    `weights` of the Evaluation (how many examples a row stands for) are not used.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 8))
    >>> wrong = x[:, 0] > 1
    >>> ev = Evaluation(x, labels=np.zeros(200, int), predictions=wrong.astype(int), class_names=["cat", "dog"])
    >>> finder = FailureDirections(random_state=0).fit(ev)
    >>> finder.status_
    ['fitted', 'empty']
    >>> finder.slices(ev)[0].name
    'cat: hardest'
    """

    requires = ("labels", "predictions")
    requires_to_apply = ("labels",)

    def __init__(
        self,
        C_grid: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        *,
        cv: int = 2,
        selection: str = "auroc",
        space: str | None = None,
        shuffle: bool = True,
        passes: int = 1,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.C_grid = C_grid
        self.cv = cv
        self.selection = selection
        self.space = space
        self.shuffle = shuffle
        self.passes = passes
        self.random_state = random_state
        self.progress = progress

    def fit(self, evaluation: Evaluation, reference: Evaluation | np.ndarray | None = None) -> FailureDirections:
        """Learn one direction per class that has enough errors and enough correct examples.

        Parameters
        ----------
        evaluation : Evaluation
            With labels and predictions (or probs): held-out data, not what the model was trained on.
        reference : Evaluation or array (m, d), optional
            Where whitening statistics come from: the paper takes the training data. Default `evaluation`.

        Returns
        -------
        self
        """
        C_grid = self._checked_grid()
        hashes = self._start_fit(evaluation)
        embeddings = evaluation.space(self.space_)
        labels, errors = evaluation.labels, evaluation.errors
        assert labels is not None
        order = canonical_order(embeddings, hashes, errors) if self.shuffle else np.arange(evaluation.n_examples)
        if reference is None:
            self._whitening = Whitening.fit(embeddings, order=order, passes=self.passes)
        else:
            self._whitening = Whitening.fit(self._reference(reference), passes=self.passes)
        self.mean_, self.scale_ = self._whitening.mean, self._whitening.scale
        self.is_constant_ = self._whitening.is_constant

        self.classes_ = np.arange(evaluation.n_classes)
        rows = [order[labels[order] == c] for c in self.classes_]
        self.status_ = [self._status(errors[members]) for members in rows]
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=len(self.classes_))
        settings = {"C_grid": C_grid, "cv": self.cv, "selection": self.selection}

        fitted = [c for c, status in enumerate(self.status_) if status == "fitted"]
        pieces = [
            (embeddings, rows[c], errors[rows[c]], self._whitening, seeds[c] if self.shuffle else None, settings)
            for c in fitted
        ]
        fits = parallel_map(_fit_class, pieces, desc="failure directions", progress=self.progress)
        self._store(dict(zip(fitted, fits, strict=True)), {c: errors[rows[c]] for c in fitted}, len(C_grid))
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k), one column per class of `order_`: positive = in the slice, larger = more likely to
        fail, -inf for examples of other classes."""
        embeddings = self._embeddings(evaluation)
        labels = evaluation.labels
        assert labels is not None
        decision = np.full((len(embeddings), len(self.order_)), -np.inf)
        for column, c in enumerate(self.order_):
            for rows in np.array_split(np.flatnonzero(labels == c), max(1, int((labels == c).sum()) // 65536)):
                decision[rows, column] = self._whitening(embeddings[rows]) @ self.coef_[c] + self.intercept_[c]
        return decision

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per class with a direction, most important first; weight 1 where the score is positive.

        `stats` are facts of the fit; the keys say which are in-sample and which cross-validated.
        """
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, column],
                weights=(decision[:, column] > 0).astype(np.float64),
                scope=("label", int(c)),
                name=f"{evaluation.class_name(int(c))}: hardest",
                method=METHOD,
                direction=self.coef_[c],
                stats=self._stats[c],
            )
            for column, c in enumerate(self.order_)
        ]

    def _store(self, fits: dict[int, Direction], outcomes: dict[int, np.ndarray], n_C: int) -> None:
        n_classes = len(self.classes_)
        self.coef_ = np.full((n_classes, self.n_features_in_), np.nan)
        self.intercept_, self.C_ = np.full(n_classes, np.nan), np.full(n_classes, np.nan)
        self.cv_scores_ = np.full((n_classes, n_C), np.nan)
        self._stats: dict[int, dict[str, Any]] = {}
        importance: dict[int, float] = {}
        for c, fit in fits.items():
            self.coef_[c], self.intercept_[c] = fit.plane.coef, fit.plane.intercept
            self.C_[c], self.cv_scores_[c] = fit.C, fit.cv_scores
            n_errors, best = int(outcomes[c].sum()), float(fit.cv_scores.max())
            importance[c] = max(0.0, best - 0.5) * n_errors
            self._stats[c] = {
                "fit_n": len(outcomes[c]),
                "fit_errors": n_errors,
                "fit_error_rate": n_errors / len(outcomes[c]),
                f"cross_validated_{self.selection}": best,
                "C": fit.C,
                "saturated": fit.is_saturated,
            }
        self.order_ = np.array(sorted(fits, key=lambda c: (-importance[c], c)), dtype=np.int64)

    def _status(self, errors: np.ndarray) -> str:
        if len(errors) == 0:
            return "empty"
        if errors.sum() < self.cv:
            return "too_few_errors"
        return "too_few_correct" if (~errors).sum() < self.cv else "fitted"

    def _checked_grid(self) -> np.ndarray:
        grid = np.asarray(self.C_grid)
        if grid.dtype.kind not in "iuf" or grid.ndim != 1 or len(grid) == 0:
            raise ValueError(f"C_grid must be a list of numbers, not {self.C_grid!r}.")
        grid = grid.astype(np.float64)
        if not ((grid > 0) & (grid <= LARGEST_C)).all() or (np.diff(grid) <= 0).any():
            raise ValueError(
                f"C_grid must increase from above 0 to {LARGEST_C:.0f} at most, where rows of unit length are hardly "
                f"regularised any more: {self.C_grid!r} does not."
            )
        if self.selection not in ("auroc", "balanced_accuracy"):
            raise ValueError(f'selection must be "auroc" or "balanced_accuracy", not {self.selection!r}.')
        _checks.whole_number(self.cv, "cv", least=2)
        if self.passes not in (1, 2):
            raise ValueError(f"passes must be 1, or 2 to repeat the paper's training script, not {self.passes!r}.")
        return grid

    def _reference(self, reference: Evaluation | np.ndarray) -> np.ndarray:
        rows = reference.space(self.space_) if isinstance(reference, Evaluation) else reference
        rows = _checks.embedding(rows, "reference")
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"reference must have {self.n_features_in_} dimensions as the fit, not {rows.shape[1]}.")
        return rows


def _fit_class(
    embeddings: np.ndarray,
    rows: np.ndarray,
    is_error: np.ndarray,
    whitening: Whitening,
    seed: int | None,
    settings: dict[str, Any],
) -> Direction:
    rng = None if seed is None else np.random.RandomState(seed)
    return fit_direction(whitening(embeddings[rows]), is_error, rng=rng, **settings)
