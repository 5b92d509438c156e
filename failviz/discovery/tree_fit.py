"""The tree of one group of examples: its features, its splits, what its leaves hold, and its paths in words.

Singla, Nushi, Shah, Kamar & Horvitz 2021, *Understanding Failures of Deep Networks via Robust Feature
Extraction* (Barlow), arXiv 2012.01750.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from failviz.discovery.information import mutual_information


class Condition(NamedTuple):
    """One step of a path: feature `feature` of the space (its own number there) is `side` (">" or "<=") `threshold`."""

    feature: int
    threshold: float
    side: str


def most_informative(rows: np.ndarray, is_error: np.ndarray, n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the n columns of `rows` that tell most about errors, most first, and the nats of each; ties go to
    the lower number."""
    information = mutual_information(rows, is_error, seed=seed)
    order = np.argsort(-information, kind="stable")[:n]
    return order, information[order]


def between_floats(threshold: float) -> float:
    """The same cut moved half-way between two neighbouring float32 numbers, so that no value lies on it.

    What is <= the threshold is below it, and what is > the threshold above: a distance to it has the sign of the
    tree's own rule, equality included.
    """
    low = np.float32(threshold)
    if float(low) > threshold:
        low = np.nextafter(low, np.float32(-np.inf))
    return (float(low) + float(np.nextafter(low, np.float32(np.inf)))) / 2


def rule_of(path: list[Condition], space: str, names: Sequence[str] | None = None) -> str:
    """A path as a predicate over the space, thresholds to four digits: "hidden[12] > 0.83 and hidden[3] <= 0.1", by
    names where its dimensions have some: "features[age] > 64.5"."""
    return " and ".join(
        f"{space}[{feature if names is None else names[feature]}] {side} {threshold:.4g}"
        for feature, sides in _bounds(path).items()
        for side, threshold in sides.items()
    )


def words_of(path: list[Condition], names: Sequence[str] | None = None) -> str:
    """A path in words, numbers only where words would not tell: "feature 12 high, feature 3 between 0.1 and 0.4"."""
    return ", ".join(f"{feature_name(feature, names)} {_word(sides)}" for feature, sides in _bounds(path).items())


def feature_name(feature: int, names: Sequence[str] | None) -> str:
    """What a dimension is called, "feature 12" where it has no name."""
    return f"feature {feature}" if names is None else names[feature]


def _word(sides: dict[str, float]) -> str:
    if len(sides) == 2:
        return f"between {sides['>']:.4g} and {sides['<=']:.4g}"
    return "high" if ">" in sides else "low"


def _bounds(path: list[Condition]) -> dict[int, dict[str, float]]:
    """Per feature and side the last threshold of a path, which implies those before it."""
    bounds: dict[int, dict[str, float]] = {}
    for step in path:
        bounds.setdefault(step.feature, {})[step.side] = step.threshold
    return bounds


@dataclass(frozen=True, eq=False)
class GroupTree:
    """The tree of one group and what the data of the fit say about its nodes, which are numbered from the root, 0.

    Attributes
    ----------
    scope : ("prediction", c) or ("label", c)
        The group.
    selected : int64 (K,)
        Features that the tree could choose from, most informative first, by their numbers in the space; all, in
        their own order, where they were not ranked.
    information : float64 (K,)
        Mutual information of each with the errors, in nats; NaN where they were not ranked.
    features : int64 (m,)
        The feature that each node splits on, by its number in the space; -1 at leaves.
    thresholds, scales : float64 (m,)
        Of the split, in units of the feature, and its standard deviation over the group; NaN at leaves.
    left, right : int64 (m,)
        Child with value <= threshold, child with value > threshold; -1 at leaves.
    sizes, fails : int64 (m,)
        Examples and errors in each node.
    """

    scope: tuple[str, int]
    selected: np.ndarray
    information: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    scales: np.ndarray
    left: np.ndarray
    right: np.ndarray
    sizes: np.ndarray
    fails: np.ndarray

    @property
    def ber(self) -> float:
        """Base error rate: errors over examples of the group."""
        return float(self.error_rates[0])

    @property
    def aler(self) -> float:
        """Average leaf error rate: sum over leaves of coverage x error rate. Not below `ber`, 1 = errors alone."""
        return float(self.importances[0])

    @property
    def leaves(self) -> np.ndarray:
        """int64: numbers of the leaves."""
        return np.flatnonzero(self.left < 0)

    @property
    def true_leaves(self) -> np.ndarray:
        """int64: leaves with more weighted errors than weighted correct examples: those with a rate above `ber`."""
        n, n_fails = int(self.sizes[0]), int(self.fails[0])  # in whole numbers, so that a tie is a tie
        return self.leaves[self.fails[self.leaves] * n > self.sizes[self.leaves] * n_fails]

    @property
    def error_rates(self) -> np.ndarray:
        """float64 (m,): ER, errors over examples of the node itself."""
        return self.fails / self.sizes

    @property
    def error_coverages(self) -> np.ndarray:
        """float64 (m,): EC, share of the errors of the group."""
        return self.fails / self.fails[0]

    @property
    def importances(self) -> np.ndarray:
        """float64 (m,): IV = ER x EC of a leaf; above, the sum of IV over the leaves below."""
        importances = self.error_rates * self.error_coverages
        return _summed(np.where(self.left < 0, importances, 0.0), self.left, self.right)

    @property
    def mean_leaf_er(self) -> np.ndarray:
        """float64 (m,): mean ER of the leaves below, by coverage; above the leaves not the node's own error rate."""
        coverages = self.error_coverages
        means = self.importances / np.where(coverages > 0, coverages, 1.0)
        return np.where(self.left < 0, self.error_rates, means)

    def path(self, leaf: int) -> list[Condition]:
        """The conditions from the root to a leaf, as plain data."""
        return [
            Condition(int(self.features[node]), float(self.thresholds[node]), side) for node, side in self._steps(leaf)
        ]

    def depths(self, embeddings: np.ndarray, rows: np.ndarray, leaf: int) -> np.ndarray:
        """float64 (n_rows,): how deep each row of `embeddings` (n, d) lies in the box of a leaf, above 0 inside it.

        The distance to the nearest side that the path sets, in standard deviations of its feature.
        """
        depths = np.full(len(rows), np.inf)
        for node, side in self._steps(leaf):
            values = np.asarray(embeddings[rows, self.features[node]], dtype=np.float64)
            above = (values - between_floats(self.thresholds[node])) / self.scales[node]
            depths = np.minimum(depths, above if side == ">" else -above)
        return depths

    def _steps(self, leaf: int) -> list[tuple[int, str]]:
        steps: list[tuple[int, str]] = []
        node = int(leaf)
        while node:
            parent = int(np.flatnonzero((self.left == node) | (self.right == node))[0])
            steps.append((parent, "<=" if self.left[parent] == node else ">"))
            node = parent
        return steps[::-1]


def grow(
    rows: np.ndarray, is_error: np.ndarray, *, scope: tuple[str, int], n_features: int | None, max_depth: int, seed: int
) -> GroupTree:
    """The tree of one group from its rows, float32 (n, d), with at least two errors and two correct examples: an
    entropy tree on its most informative features (None: on all), in which all errors weigh as much as all correct
    examples."""
    if n_features is None:
        selected = columns = np.arange(rows.shape[1])
        information = np.full(len(selected), np.nan)
    else:
        selected, information = most_informative(rows, is_error, n_features, seed=seed)
        # The paper's code has the most informative column last; their order decides between equally good splits.
        columns = selected[::-1]
    kept = np.ascontiguousarray(rows[:, columns])
    n_errors = int(is_error.sum())
    weights = {0: 1, 1: (len(rows) - n_errors) / n_errors}
    grown = DecisionTreeClassifier(criterion="entropy", max_depth=max_depth, class_weight=weights, random_state=seed)
    nodes = grown.fit(kept, is_error.astype(np.int64)).tree_
    left, right = nodes.children_left.astype(np.int64), nodes.children_right.astype(np.int64)
    is_leaf = left < 0
    split = np.where(is_leaf, 0, nodes.feature)
    return GroupTree(
        scope=scope,
        selected=selected,
        information=information,
        features=np.where(is_leaf, -1, columns[split]),
        thresholds=np.where(is_leaf, np.nan, nodes.threshold),
        scales=np.where(is_leaf, np.nan, kept.std(axis=0, dtype=np.float64)[split]),
        left=left,
        right=right,
        sizes=nodes.n_node_samples.astype(np.int64),
        fails=_summed(np.bincount(grown.apply(kept)[is_error], minlength=len(left)), left, right),
    )


def _summed(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Values (m,) of the leaves, added up toward the root; a child has a higher number than its parent."""
    total = values.copy()
    for node in np.flatnonzero(left >= 0)[::-1]:
        total[node] = total[left[node]] + total[right[node]]
    return total
