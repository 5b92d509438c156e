"""Failure trees: for each class, the few feature values under which the model fails, found by a decision tree.

Singla, Nushi, Shah, Kamar & Horvitz 2021, *Understanding Failures of Deep Networks via Robust Feature
Extraction* (Barlow), arXiv 2012.01750.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._parallel import parallel_map
from failviz.discovery.base import SliceFinder, canonical_order, status_of
from failviz.discovery.tree_fit import GroupTree, grow, rule_of, words_of
from failviz.evaluation import Evaluation
from failviz.slices import Slice, scope_mask

METHOD = "failure tree"
FEWEST = 2
"""Errors, and correct examples, below which a group has no tree: the estimate of information skips a lone one."""


class FailureTree(SliceFinder):
    """Find, for each class, which values of a few features go with failure, as rules that a person can read.

    Per group (all examples predicted as a class, or labelled as it) the features that tell most about errors are
    kept, and a shallow decision tree separates errors from correct examples. Each leaf with an error rate
    above that of its group is a slice. **Larger score = more likely to fail**: positive inside the leaf, the
    distance to its nearest side in standard deviations of the feature.

    Parameters
    ----------
    group_by : "prediction" or "label"
        What makes a group; slices are defined within it, and that column is needed to apply them.
    n_features : int or None, default 20
        Features kept per group, those that tell most about its errors; all where there are fewer. None = all, and
        nothing is ranked: `GroupTree.information` is NaN. Of depth 1 that is quicker, deeper trees take longer.
    max_depth : int, default 1
        Splits on the way to a leaf, the most conditions that a rule has.
    space : str or None
        Embedding space; None = the first. The paper takes the last layer of another, adversarially robust
        network, whose features look like something to people: `failviz.saliency` shows what.
    random_state : int, RandomState or None
        Of the estimate of information and of ties between splits. An int is used as it is in every group, so
        that 0 repeats the paper.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    trees_ : dict of {int: GroupTree}
        Per class that has one; all that a picture of it needs.
    status_ : list of str
        Per class "fitted", "too_few_errors", "too_few_correct" (fewer than 2), "empty", or "no_split": no feature
        parts errors from correct examples, and a whole group is no subpopulation.
    classes_ : int64 (n_classes,)
    leaves_ : int64 (k, 2)
        Class and leaf of each slice, most important first: by error rate x errors; ties by class, then leaf.
        Within a group that is the order of the paper's IV (error rate x share of the group's errors), by which a
        group of two errors would lead. Columns of `decision_function` and `slices` follow it.

    Notes
    -----
    Departures from the paper: leaves with a higher error rate than their group only, features go by their
    number in the space where they have no name (`Evaluation.feature_names`), and a tie in information goes to the
    lower number. Rates of the fit are in-sample, and of deep trees badly so: ask `verify`. Values count as float32, as
    scikit-learn's trees take them. `weights` of the Evaluation are not used.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 8))
    >>> wrong = x[:, 5] > 1
    >>> ev = Evaluation(x, labels=np.zeros(200, int), predictions=wrong.astype(int), class_names=["cat", "dog"])
    >>> finder = FailureTree(group_by="label", random_state=0).fit(ev)
    >>> finder.status_
    ['fitted', 'empty']
    >>> one = finder.slices(ev)[0]
    >>> one.name, one.rule
    ('cat: feature 5 high', 'embedding[5] > 0.9989')
    """

    requires = ("labels", "predictions")

    def __init__(
        self,
        group_by: str = "prediction",
        n_features: int | None = 20,
        max_depth: int = 1,
        *,
        space: str | None = None,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.group_by = group_by
        self.n_features = n_features
        self.max_depth = max_depth
        self.space = space
        self.random_state = random_state
        self.progress = progress

    @property
    def requires_to_apply(self) -> tuple[str, ...]:  # type: ignore[override]  # here a setting decides the column
        group_by = vars(self).get("_group_by", self.group_by)  # of the fit, if there was one
        return ("predictions",) if group_by == "prediction" else ("labels",)

    def fit(self, evaluation: Evaluation) -> FailureTree:
        """Grow a tree per group that has enough errors and enough correct examples (not the model's training data)."""
        seed = self._checked_seed()
        hashes = self._start_fit(evaluation)
        self._group_by = self.group_by
        embeddings, errors = evaluation.space(self.space_), evaluation.errors
        order = canonical_order(embeddings, hashes, errors)
        self.classes_ = np.arange(evaluation.n_classes)
        scopes = [(self.group_by, int(c)) for c in self.classes_]
        rows = [order[scope_mask(scope, evaluation)[order]] for scope in scopes]
        self.status_ = [status_of(errors[members], FEWEST) for members in rows]

        fitted = [c for c, status in enumerate(self.status_) if status == "fitted"]
        settings = {"n_features": self.n_features, "max_depth": self.max_depth, "seed": seed}
        pieces = [(embeddings, rows[c], errors[rows[c]], scopes[c], settings) for c in fitted]
        trees = parallel_map(_fit_group, pieces, desc="failure trees", progress=self.progress)
        self.trees_ = dict(zip(fitted, trees, strict=True))
        for c, tree in self.trees_.items():
            if not len(tree.true_leaves):
                self.status_[c] = "no_split"
        leaves = [(c, int(leaf)) for c, tree in self.trees_.items() for leaf in tree.true_leaves]
        leaves.sort(key=lambda one: (-self._importance(*one), one))
        self.leaves_ = np.array(leaves, dtype=np.int64).reshape(-1, 2)
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k), one column per leaf of `leaves_`: positive = in the leaf, larger = deeper in it, -inf for
        examples of other groups."""
        embeddings = self._embeddings(evaluation)
        decision = np.full((len(embeddings), len(self.leaves_)), -np.inf)
        for column, (c, leaf) in enumerate(self.leaves_):
            tree = self.trees_[c]
            rows = np.flatnonzero(scope_mask(tree.scope, evaluation))
            decision[rows, column] = tree.depths(embeddings, rows, leaf)
        return decision

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per leaf of `leaves_`, most important first; weight 1 where the score is positive.

        `stats` are facts of the fit, in-sample; `stats["path"]` holds the conditions of the leaf from the root.
        """
        decision = self.decision_function(evaluation)
        found = []
        for column, (c, leaf) in enumerate(self.leaves_):
            tree = self.trees_[c]
            path = tree.path(leaf)
            group = ("predicted " if tree.scope[0] == "prediction" else "") + evaluation.class_name(int(c))
            found.append(
                self._slice(
                    evaluation,
                    scores=decision[:, column],
                    weights=(decision[:, column] > 0).astype(np.float64),
                    scope=tree.scope,
                    name=f"{group}: {words_of(path, self.feature_names_in_)}",
                    method=METHOD,
                    rule=rule_of(path, self.space_, self.feature_names_in_),
                    stats={
                        "fit_n": int(tree.sizes[leaf]),
                        "fit_errors": int(tree.fails[leaf]),
                        "fit_error_rate": float(tree.error_rates[leaf]),
                        "fit_error_coverage": float(tree.error_coverages[leaf]),
                        "fit_importance": float(tree.importances[leaf]),
                        "fit_base_error_rate": tree.ber,
                        "path": path,
                    },
                )
            )
        return found

    def _importance(self, c: int, leaf: int) -> float:
        tree = self.trees_[c]
        return float(tree.error_rates[leaf] * tree.fails[leaf])

    def _checked_seed(self) -> int:
        if self.group_by not in ("prediction", "label"):
            raise ValueError(f'group_by must be "prediction" or "label", not {self.group_by!r}.')
        if self.n_features is not None:
            _checks.whole_number(self.n_features, "n_features", least=1)
        _checks.whole_number(self.max_depth, "max_depth", least=1)
        rng = check_random_state(self.random_state)
        is_seed = isinstance(self.random_state, int | np.integer)
        return int(self.random_state) if is_seed else int(rng.randint(2**31 - 1))


def _fit_group(
    embeddings: np.ndarray, rows: np.ndarray, is_error: np.ndarray, scope: tuple[str, int], settings: dict[str, Any]
) -> GroupTree:
    return grow(embeddings[rows].astype(np.float32, copy=False), is_error, scope=scope, **settings)
