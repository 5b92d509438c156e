"""Failure trees beside scikit-learn called as the paper's recipe: the whole fit of one group."""

from __future__ import annotations

import numpy as np
from machine import alternate
from published import failure_tree
from record import Record

from failviz.discovery import FailureTree
from failviz.discovery.base import canonical_order
from failviz.evaluation import Evaluation

N_FEATURES = 20


def group_of_rules(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) of one group, and errors (n,), one in six, that depend on six of them by step or slope."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, d)).astype(np.float32)
    odds = 2.0 * (rows[:, 3] > 1) + 1.5 * (rows[:, 11] < -0.5) + np.abs(rows[:, 17]) + rows[:, 20:23].sum(axis=1) - 4
    return rows, rng.random(n) < 1 / (1 + np.exp(-odds))


def bench_tree(record: Record, n: int, d: int, *, max_depth: int) -> None:
    """One group from raw features to its tree, the same seed; the published recipe gets the rows in the same order.

    The floor is to sort each feature once, of which all else is made.
    """
    rows, is_error = group_of_rules(n, d)
    evaluation = Evaluation(
        rows, labels=np.zeros(n, dtype=int), predictions=is_error.astype(int), class_names=["a", "b"]
    )
    order = canonical_order(rows, evaluation.row_hashes(), is_error)
    ordered, errors = rows[order], is_error[order]
    columns = np.array(ordered.T, dtype=np.float64, order="C")
    common = {"max_depth": max_depth, "random_state": 0, "progress": False}
    timing = alternate(
        {
            "published": lambda: failure_tree(ordered, errors, n_features=N_FEATURES, max_depth=max_depth),
            "ours": lambda: FailureTree("label", N_FEATURES, **common).fit(evaluation).trees_[0],
            "ours, all features": lambda: FailureTree("label", None, **common).fit(evaluation).trees_[0],
            "sorting alone": lambda: np.argsort(columns, axis=1),
        }
    )
    sorting = timing.pop("sorting alone")
    where = f"tree {n}x{d} depth {max_depth}"
    for peer, measured in timing.items():
        ratio = timing["published"].median / measured.median
        share = sorting.median / measured.median
        record.line(
            where, f"{peer}: {measured.words()} s per group, {ratio:.1f}x; sorting its features takes {share:.0%}",
            peer=peer, seconds=measured.seconds, ratio=ratio, share_of_limit=share,
        )  # fmt: skip
    (chosen, grown), ours = timing["published"].result, timing["ours"].result
    nodes, inner = grown.tree_, np.flatnonzero(grown.tree_.children_left >= 0)
    same = {
        "features to choose from": np.array_equal(ours.selected, chosen[::-1]),
        "shape": np.array_equal(ours.left, nodes.children_left) and np.array_equal(ours.right, nodes.children_right),
    }
    if same["shape"]:
        same["features"] = np.array_equal(ours.features[inner], chosen[nodes.feature[inner]])
        same["thresholds"] = np.array_equal(ours.thresholds[inner], nodes.threshold[inner])
    told = ", ".join(f"{what} {'the same' if good else 'differ'}" for what, good in same.items())
    record.line(where, f"{len(inner)} splits: {told}", splits=len(inner), **same)
    record.expect(all(same.values()), f"{where}: not the tree of scikit-learn ({told})")
