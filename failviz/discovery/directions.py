"""Failure directions: for each class, the direction in embedding space along which the model fails.

Jain, Lawrence, Moitra & Madry 2022, *Distilling Model Failures as Directions in Latent Space*, arXiv 2206.14754.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from failviz import _checks
from failviz._parallel import parallel_map
from failviz.discovery.base import SliceFinder, canonical_order, status_of
from failviz.discovery.direction_fit import Direction, fit_direction
from failviz.discovery.direction_lda import error_groups
from failviz.discovery.svm import Hyperplane
from failviz.discovery.whitening import Whitening
from failviz.evaluation import Evaluation
from failviz.slices import Slice

METHOD = "failure direction"
LARGEST_C = 1000.0
C_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MOST_DIRECTIONS = 4
CENTRES = ("difference", "paper")


class FailureDirections(SliceFinder):
    """Find, for each class, which of its examples the model gets wrong, as a direction in embedding space.

    Embeddings are whitened per dimension and scaled to unit rows; per class a linear SVM separates
    errors from correct examples; its normal is the failure direction. **Larger score = more likely to
    fail** (the paper's sign is the opposite). The label of an example is needed to know which
    direction applies to it; for an unlabelled pool give the assumed label.

    Parameters
    ----------
    C_grid : sequence of float, default 7 values from 1e-6 to 1
        Inverse regularisations to choose from, increasing; of the SVM.
    cv : int, default 2
        Stratified folds of the choice.
    selection : "auroc" or "balanced_accuracy"
        What chooses C. At small C the intercept of this SVM is not unique, so the paper's balanced
        accuracy scores an arbitrary number there; the area under the ROC curve of held-out errors does
        not depend on it. "balanced_accuracy" repeats the paper's recipe: for comparison.
    estimator : "svm", "lda" or "mlp"
        What separates errors from correct examples: the paper's linear SVM; the linear discriminant, in closed form
        (`direction_lda.py`), far quicker and sometimes the better ranking; or the paper's network with hidden layers
        (d, 100), which has a score and no direction. Only the SVM has a C to select.
    n_directions : int, default 1
        At most how many directions a class may have, 1 to 4: a class can fail in several ways. Its errors are divided
        so that each lies along its best direction, and each part is fitted against all correct examples. The division
        sees all errors, so cross-validated scores are then too good by a little; `verify` is not concerned.
    space : str or None
        Embedding space; None = the first.
    shuffle : bool, default True
        Shuffle the folds. False takes rows in the order given, as the paper's code does; the result
        then depends on that order.
    passes : 1 or 2
        How often rows are whitened; the paper's training script does it twice.
    random_state : int, RandomState or None
        Of the shuffle, of the start of several directions, and of the network.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    coef_ : float64 (n_classes, d)
        Toward failure, in whitened unit-row coordinates; the SVM's not rescaled, the discriminant's of unit length;
        NaN rows where there is no direction. With
        `n_directions` above 1, one row per column of `decision_function` instead, as in the three below.
    intercept_, C_ : float64 (n_classes,)
    cv_scores_ : float64 (n_classes, n_C)
        Mean held-out score of `selection` for each C; of "lda" and "mlp" one held-out AUROC.
    status_ : list of str
        Per class "fitted", "too_few_errors", "too_few_correct" (fewer than `cv`) or "empty".
    classes_ : int64 (n_classes,)
    order_ : int64 (k,)
        The class of each direction, most important first: by errors in the fit x how far their
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
        C_grid: Sequence[float] = C_GRID,
        *,
        cv: int = 2,
        selection: str = "auroc",
        estimator: str = "svm",
        n_directions: int = 1,
        space: str | None = None,
        shuffle: bool = True,
        passes: int = 1,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.C_grid = C_grid
        self.cv = cv
        self.selection = selection
        self.estimator = estimator
        self.n_directions = n_directions
        self.space = space
        self.shuffle = shuffle
        self.passes = passes
        self.random_state = random_state
        self.progress = progress

    def fit(self, evaluation: Evaluation, reference: Evaluation | np.ndarray | None = None) -> FailureDirections:
        """Learn the directions of each class that has enough errors and enough correct examples.

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
        self._given_reference = reference
        self.mean_, self.scale_ = self._whitening.mean, self._whitening.scale
        self.is_constant_ = self._whitening.is_constant

        self.classes_ = np.arange(evaluation.n_classes)
        rows = [order[labels[order] == c] for c in self.classes_]
        self.status_ = [status_of(errors[members], self.cv) for members in rows]
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=len(self.classes_))
        settings = {"C_grid": C_grid, "cv": self.cv, "selection": self.selection, "estimator": self.estimator}

        fitted = [c for c, status in enumerate(self.status_) if status == "fitted"]
        pieces = [
            (embeddings, rows[c], errors[rows[c]], self._whitening, seeds[c], self.shuffle, self.n_directions, settings)
            for c in fitted
        ]
        fits = parallel_map(_fit_class, pieces, desc="failure directions", progress=self.progress)
        self._store([(c, *fit) for c, found in zip(fitted, fits, strict=True) for fit in found])
        return self

    def _refitted(self, evaluation: Evaluation) -> FailureDirections:
        copy: FailureDirections = clone(self).set_params(progress=False)
        return copy.fit(evaluation, reference=self._given_reference)

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k), one column per direction of `order_`: positive = in the slice, larger = more likely to
        fail, -inf for examples of other classes."""
        embeddings = self._embeddings(evaluation)
        labels = evaluation.labels
        assert labels is not None
        decision = np.full((len(embeddings), len(self.order_)), -np.inf)
        for c in np.unique(self.order_):
            columns = np.flatnonzero(self.order_ == c)
            for rows in np.array_split(np.flatnonzero(labels == c), max(1, int((labels == c).sum()) // 65536)):
                whitened = self._whitening(embeddings[rows])
                for column in columns:
                    decision[rows, column] = self._scorers[column](whitened) if len(rows) else 0.0
        return decision

    def score_differences(
        self, differences: np.ndarray, *, centre: str = "difference", column: int | None = None
    ) -> np.ndarray:
        """How much a change of the embedding, as from one text to another, leads toward failure.

        Parameters
        ----------
        differences : array (m, d)
            Between two embeddings of the finder's space each.
        centre : "difference" or "paper"
            "difference" whitens without subtracting a mean, as a difference has none left. "paper" subtracts the mean
            of the *images* from the difference all the same, as the reference code does: that moves every one by the
            same vector before lengths become one, and so changes their order. Dimensions in which images do not differ
            count in neither.
        column : int, optional
            Of `decision_function`: the one direction to score along; default all.

        Returns
        -------
        float64 (m, k), or (m,) with `column`
            One column per direction of `order_`: decision values, larger = toward failure (the paper's sign is the
            opposite). The intercept, which belongs to examples, is in all of a column alike.

        Raises
        ------
        ValueError, TypeError
            When shapes do not fit, or values are no finite numbers.
        """
        check_is_fitted(self)
        rows = _checks.finite(_checks.numeric(differences, "differences"), "differences").astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
            raise ValueError(f"differences must have shape (m, {self.n_features_in_}) as the fit, not {rows.shape}.")
        if centre not in CENTRES:
            raise ValueError(f'centre must be "difference" or "paper", not {centre!r}.')
        scorers = self._scorers if column is None else [self._scorers[column]]
        scores = np.empty((len(rows), len(scorers)))
        if len(rows):
            rows = np.where(self.is_constant_, self.mean_ if centre == "paper" else 0.0, rows)
            whitened = self._whitening.of_differences(rows) if centre == "difference" else self._whitening(rows)
            for place, scorer in enumerate(scorers):
                scores[:, place] = scorer(whitened)
        return scores if column is None else scores[:, 0]

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per direction, most important first; weight 1 where the score is positive.

        `stats` are facts of the fit; the keys say which are in-sample and which cross-validated.
        """
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, column],
                weights=(decision[:, column] > 0).astype(np.float64),
                scope=("label", int(c)),
                name=f"{evaluation.class_name(int(c))}: hardest{self._numbers[column]}",
                method=METHOD,
                direction=self.direction_of(column),
                stats=self._stats[column],
            )
            for column, c in enumerate(self.order_)
        ]

    def direction_of(self, column: int) -> np.ndarray | None:
        """Toward failure, (d,) in whitened unit-row coordinates, of a column of `decision_function`; the network has
        none."""
        return getattr(self._scorers[column], "coef", None)

    def _store(self, found: list[tuple[int, Direction, int, int]]) -> None:
        """Learned attributes from (class, direction, rows, errors) of each fit."""
        found = sorted(found, key=lambda one: (-_importance(*one[1:]), one[0]))  # stable: larger groups first
        self.order_ = np.array([c for c, *_ in found], dtype=np.int64)
        self._scorers = [fit.plane for _, fit, _, _ in found]
        self._stats = [self._facts(*one[1:]) for one in found]
        ranks = [int((self.order_[:column] == c).sum()) + 1 for column, c in enumerate(self.order_)]
        is_alone = [int((self.order_ == c).sum()) == 1 for c in self.order_]
        self._numbers = ["" if alone else f", {rank}" for alone, rank in zip(is_alone, ranks, strict=True)]

        places = self.order_ if self.n_directions == 1 else range(len(found))
        n_rows = len(self.classes_) if self.n_directions == 1 else len(found)
        n_scores = len(self.C_grid) if self.estimator == "svm" else 1
        self.coef_ = np.full((n_rows, self.n_features_in_), np.nan)
        self.intercept_, self.C_ = np.full(n_rows, np.nan), np.full(n_rows, np.nan)
        self.cv_scores_ = np.full((n_rows, n_scores), np.nan)
        for place, (_, fit, _, _) in zip(places, found, strict=True):
            if isinstance(fit.plane, Hyperplane):
                self.coef_[place], self.intercept_[place] = fit.plane.coef, fit.plane.intercept
            self.C_[place], self.cv_scores_[place] = fit.C, fit.cv_scores

    def _facts(self, fit: Direction, n: int, n_errors: int) -> dict[str, Any]:
        facts = {"fit_n": n, "fit_errors": n_errors, "fit_error_rate": n_errors / n}
        best = float(fit.cv_scores.max())
        if self.estimator != "svm":
            return {**facts, "cross_validated_auroc": best}
        return {**facts, f"cross_validated_{self.selection}": best, "C": fit.C, "saturated": fit.is_saturated}

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
        if self.estimator not in ("svm", "lda", "mlp"):
            raise ValueError(f'estimator must be "svm", "lda" or "mlp", not {self.estimator!r}.')
        if self.estimator != "svm" and self.selection != "auroc":
            raise ValueError('selection="balanced_accuracy" repeats the paper\'s choice of C, which only "svm" has.')
        if self.estimator != "svm" and tuple(grid) != C_GRID:
            raise ValueError(f'C_grid is for "svm": estimator="{self.estimator}" has no C, so leave it out.')
        if _checks.whole_number(self.n_directions, "n_directions", least=1) > MOST_DIRECTIONS:
            raise ValueError(f"n_directions must be at most {MOST_DIRECTIONS}, not {self.n_directions}.")
        _checks.whole_number(self.cv, "cv", least=2)
        if isinstance(self.passes, bool) or self.passes not in (1, 2):
            raise ValueError(f"passes must be 1, or 2 to repeat the paper's training script, not {self.passes!r}.")
        return grid

    def _reference(self, reference: Evaluation | np.ndarray) -> np.ndarray:
        rows = reference.space(self.space_) if isinstance(reference, Evaluation) else reference
        rows = _checks.embedding(rows, "reference")
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"reference must have {self.n_features_in_} dimensions as the fit, not {rows.shape[1]}.")
        return rows


def _importance(fit: Direction, n: int, n_errors: int) -> float:
    return max(0.0, float(fit.cv_scores.max()) - 0.5) * n_errors


def _fit_class(
    embeddings: np.ndarray,
    rows: np.ndarray,
    is_error: np.ndarray,
    whitening: Whitening,
    seed: int,
    shuffle: bool,
    n_directions: int,
    settings: dict[str, Any],
) -> list[tuple[Direction, int, int]]:
    """Each direction of one class, and how many rows and errors it was fitted on."""
    rng = np.random.RandomState(seed)
    whitened = whitening(embeddings[rows])
    groups = [np.flatnonzero(is_error)]
    if n_directions > 1:
        groups = error_groups(whitened, is_error, n_directions, settings["cv"], rng) or groups
    found = []
    for group in groups:
        part = ~is_error
        part[group] = True
        direction = fit_direction(whitened[part], is_error[part], rng=rng, shuffle=shuffle, **settings)
        found.append((direction, int(part.sum()), len(group)))
    return found
