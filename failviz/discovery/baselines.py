"""What every method has to beat: cells of the confusion matrix, and the model's own lack of confidence.

Both read the outcome of the rows they score, so `verify` shows their rates and never confirms them. Ranking a class
by confidence in the true label is the baseline of Jain et al. 2022 (arXiv 2206.14754); confusion cells
weighted by probability are that of Eyuboglu et al. 2022 (arXiv 2203.14960).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from failviz import _checks
from failviz.discovery.base import SliceFinder
from failviz.evaluation import Evaluation
from failviz.slices import Slice


class ConfusionCells(SliceFinder):
    """Group mistakes by what was taken for what: "sneaker taken for sandal".

    On any Evaluation the score of an example in cell (a, b) is the probability that the model gives b, for examples
    of label a: **larger score = more likely to fail**. It is also the weight, so members are those that the model
    takes for b with at least half of its confidence.

    Parameters
    ----------
    n_slices : int, default 10
        The cells with the most mistakes; fewer where there are fewer.
    space : str or None
        Embedding space by which rows of the fit are known again; None = the first.

    Attributes
    ----------
    cells_ : int64 (k, 2)
        Label and prediction, most mistakes first; ties by label, then prediction.
    counts_ : int64 (k,)
        Mistakes of each cell in the fit.

    Notes
    -----
    Without probs, predictions count as certain. `weights` of the Evaluation are not used.

    Examples
    --------
    >>> ev = Evaluation([[0.0], [1.0], [2.0]], labels=[0, 0, 1], predictions=[0, 1, 1], class_names=["cat", "dog"])
    >>> [one.name for one in ConfusionCells().fit(ev).slices(ev)]
    ['cat taken for dog']
    """

    requires = ("labels", "predictions")
    requires_to_apply = ("labels", "predictions")
    uses_outcome = True

    def __init__(self, n_slices: int = 10, *, space: str | None = None):
        self.n_slices = n_slices
        self.space = space

    def fit(self, evaluation: Evaluation) -> ConfusionCells:
        """Count the mistakes of an Evaluation."""
        _checks.whole_number(self.n_slices, "n_slices", least=1)
        self._start_fit(evaluation)
        labels, predictions = evaluation.labels, evaluation.predictions
        assert labels is not None and predictions is not None
        wrong = evaluation.errors
        pairs = np.column_stack([labels[wrong], predictions[wrong]])
        cells, counts = np.unique(pairs, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")[: self.n_slices]
        self.cells_, self.counts_ = cells[order].astype(np.int64), counts[order].astype(np.int64)
        self._n_of_label = np.bincount(labels)
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k): the probability of being taken for b, -inf for labels other than a."""
        self._embeddings(evaluation)
        return _within_labels(evaluation, self.cells_, 1.0)

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per cell, most mistakes in the fit first."""
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, column],
                weights=np.maximum(0.0, decision[:, column]),
                scope=("label", int(label)),
                name=f"{evaluation.class_name(int(label))} taken for {evaluation.class_name(int(prediction))}",
                method="confusion cell",
                stats={"fit_errors": int(count), "fit_share_of_class": float(count / self._n_of_label[label])},
            )
            for column, ((label, prediction), count) in enumerate(zip(self.cells_, self.counts_, strict=True))
        ]


class ConfidenceRank(SliceFinder):
    """Rank the examples of each class by how little the model believes in their label.

    The score is minus the probability of the label: **larger score = more likely to fail**. Weights are one minus
    that probability, so members are the examples in whose label the model does not believe.

    Parameters
    ----------
    space : str or None
        Embedding space by which rows of the fit are known again; None = the first.

    Attributes
    ----------
    order_ : int64 (k,)
        Classes in which the fit has errors, most errors first; ties by class number.

    Notes
    -----
    `weights` of the Evaluation are not used.

    Examples
    --------
    >>> ev = Evaluation([[0.0], [1.0]], labels=[0, 0], probs=[[0.9, 0.1], [0.2, 0.8]], class_names=["cat", "dog"])
    >>> one = ConfidenceRank().fit(ev).slices(ev)[0]
    >>> one.name, one.members.tolist()
    ('cat: least confident', ['1'])
    """

    requires = ("labels", "probs")
    requires_to_apply = ("labels", "probs")
    uses_outcome = True

    def __init__(self, *, space: str | None = None):
        self.space = space

    def fit(self, evaluation: Evaluation) -> ConfidenceRank:
        """Remember in which classes an Evaluation has errors."""
        self._start_fit(evaluation)
        labels = evaluation.labels
        assert labels is not None
        self._n = np.bincount(labels, minlength=evaluation.n_classes)
        self._n_errors = np.bincount(labels[evaluation.errors], minlength=evaluation.n_classes)
        order = np.argsort(-self._n_errors, kind="stable")
        self.order_ = order[self._n_errors[order] > 0].astype(np.int64)
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k), one column per class of `order_`: minus the probability of the label, else -inf."""
        self._embeddings(evaluation)
        return _within_labels(evaluation, np.column_stack([self.order_, self.order_]), -1.0)

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per class, most errors in the fit first."""
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, column],
                weights=np.clip(1.0 + decision[:, column], 0.0, 1.0),
                scope=("label", int(label)),
                name=f"{evaluation.class_name(int(label))}: least confident",
                method="confidence",
                stats=self._facts(int(label)),
            )
            for column, label in enumerate(self.order_)
        ]

    def _facts(self, label: int) -> dict[str, Any]:
        n, wrong = int(self._n[label]), int(self._n_errors[label])
        return {"fit_n": n, "fit_errors": wrong, "fit_error_rate": wrong / n}


def _within_labels(evaluation: Evaluation, pairs: np.ndarray, sign: float) -> np.ndarray:
    """float64 (n, k): for pairs (k, 2) of a label and a class, sign x the probability of the class; -inf elsewhere."""
    scores = np.full((evaluation.n_examples, len(pairs)), -np.inf)
    for column, (label, c) in enumerate(pairs):
        rows = evaluation.labels == label
        scores[rows, column] = sign * _probability(evaluation, int(c))[rows]
    return scores


def _probability(evaluation: Evaluation, c: int) -> np.ndarray:
    """float64 (n,) in [0, 1]: what the model gives class c; 1 or 0 where there are no probs."""
    if evaluation.probs is None:
        return np.equal(np.asarray(evaluation.predictions), c).astype(np.float64)
    if c >= evaluation.probs.shape[1]:
        return np.zeros(evaluation.n_examples)
    return np.clip(evaluation.probs[:, c].astype(np.float64), 0.0, 1.0)
