"""SliceLine: the conjunctions of metadata predicates where a model errs most, searched exactly.

Sagadeeva & Boehm 2021, *SliceLine: Fast, Linear-Algebra-based Slice Finding for ML Model Debugging*, SIGMOD 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from failviz import _checks
from failviz.discovery.base import SliceFinder
from failviz.discovery.lattice import Conjunction, best_conjunctions
from failviz.discovery.predicates import NOTHING, Column, Predicate, predicates_of, why_unusable
from failviz.evaluation import Evaluation
from failviz.slices import Slice

METHOD = "metadata rule"
FEWEST = 32
"""Rows below which the paper's default support never goes."""


class SliceLine(SliceFinder):
    """Find which facts about the examples, alone or together, mark those that the model gets wrong.

    A slice is a rule such as "ground is grass and size 0.3 to 1.2", over metadata and all classes at once. Its score

        alpha (mean error in S / mean error - 1) - (1 - alpha) (n / |S| - 1)

    is positive where it is worse than the whole by more than its small size costs. All rules of at most
    `max_predicates` predicates on different columns are searched; the best `n_slices` are exact.

    Parameters
    ----------
    n_slices : int, default 5
        At most so many are found. None at all is an answer too: no rule scores above 0.
    alpha : float in (0, 1], default 0.95
        Weight of the error against the size; larger = smaller and worse slices.
    min_support : int or None
        Fewest examples of the fit in a slice; None = 32 or a hundredth of the examples, whichever is more.
    max_predicates : int, default 4
    columns : list of str or None
        Metadata columns to make rules of, each of which must be usable; None = all that are.
    n_bins : int, default 5
        Numbers and dates of more distinct values than this are cut at their quantiles into at most so many intervals,
        closed above (low < x <= high) and open-ended outside; else they are compared for equality.
    max_categories : int, default 50
        Columns of text, categories and the like with more distinct values (names, files, captions) are left out.
    errors : "wrong" or "loss"
        The error of an example: 1 if it is wrong and else 0, or its loss, which then must be 0 or more.
    space : str or None
        Embedding space by which rows are recognised again, which is all it is for; None = the first.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    rules_ : list of tuples of Predicate
        `Equals`, `Between` and `Missing` of `failviz.discovery.predicates`, best first.
    scores_ : float64 (k,)
        Of the rules, in the data of the fit, rounded to 9 decimals.
    columns_ : list of str
        The columns that were searched.
    left_out_ : dict of {column: reason}
    min_support_ : int

    Notes
    -----
    Equal scores go by larger size, then fewer predicates, then the rule in the order of the alphabet. Of several rules
    with exactly the same examples of the fit only the first is returned, a departure from the paper; how numbers become
    predicates is ours too, an edge being the number with the fewest digits between two examples. A missing value is a
    value of its own. Dates are ordered like numbers.

    On another Evaluation only the columns that the rules read are needed; a value that the fit has not seen satisfies
    no equality. Metadata from which the outcome can be read off make rules that say no more than that: name the
    `columns` then. Where no short rule stands out the bounds cut little, and a search over many columns is long: name
    fewer, or lower `max_predicates`. `weights` of the Evaluation are not used.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> ground, is_night = rng.choice(["grass", "sand"], 800), rng.random(800) < 0.3
    >>> wrong = rng.random(800) < np.where((ground == "grass") & is_night, 0.6, 0.05)
    >>> evaluation = Evaluation(
    ...     rng.normal(size=(800, 4)),
    ...     labels=np.zeros(800, int),
    ...     predictions=wrong.astype(int),
    ...     metadata={"ground": ground, "night": is_night},
    ... )
    >>> SliceLine(n_slices=1).fit(evaluation).slices(evaluation)[0].rule
    "ground == 'grass' and night == True"
    """

    requires = ("labels", "predictions", "metadata")
    requires_to_apply = ("metadata",)

    def __init__(
        self,
        n_slices: int = 5,
        alpha: float = 0.95,
        min_support: int | None = None,
        max_predicates: int = 4,
        *,
        columns: Sequence[str] | None = None,
        n_bins: int = 5,
        max_categories: int = 50,
        errors: str = "wrong",
        space: str | None = None,
        progress: bool = True,
    ):
        self.n_slices = n_slices
        self.alpha = alpha
        self.min_support = min_support
        self.max_predicates = max_predicates
        self.columns = columns
        self.n_bins = n_bins
        self.max_categories = max_categories
        self.errors = errors
        self.space = space
        self.progress = progress

    def fit(self, evaluation: Evaluation) -> SliceLine:
        """Learn the rules with the highest scores from an Evaluation (not the model's training data).

        Raises
        ------
        ValueError
            When a setting is wrong, or a column named in `columns` is missing or unusable, or none is usable.
        """
        self._check_settings()
        self._start_fit(evaluation)
        errors = self._errors(evaluation)
        columns = self._usable(evaluation)
        predicates: list[Predicate] = []
        codes = np.empty((evaluation.n_examples, len(columns)), dtype=np.int32)
        for j, column in enumerate(columns):
            found, which = predicates_of(column, self.n_bins)
            codes[:, j] = len(predicates) + which
            predicates += found
        self.columns_ = [column.name for column in columns]
        self._kinds = {column.name: column.kind for column in columns}
        n = evaluation.n_examples
        self.min_support_ = max(FEWEST, -(-n // 100)) if self.min_support is None else int(self.min_support)
        best = best_conjunctions(
            codes,
            errors,
            [predicate.rule for predicate in predicates],
            k=self.n_slices,
            alpha=self.alpha,
            min_support=self.min_support_,
            max_predicates=self.max_predicates,
            progress=self.progress,
        )
        self.rules_ = [tuple(predicates[p] for p in one.predicates) for one in best]
        self.scores_ = np.array([one.score for one in best], dtype=np.float64)
        held = [np.isin(codes, one.predicates).sum(axis=1) == len(one.predicates) for one in best]
        self._stats = [self._facts(evaluation, *facts) for facts in zip(best, held, strict=True)]
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k): 1 where all predicates of a rule hold, else minus the share that does not, in [-1, 0)."""
        self._embeddings(evaluation)
        holds = self._holds(evaluation)
        shares = [np.mean([holds[predicate] for predicate in rule], axis=0) for rule in self.rules_]
        decision = np.array(shares, dtype=np.float64).reshape(len(self.rules_), evaluation.n_examples).T
        return np.where(decision == 1, 1.0, decision - 1)

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per rule, best first; weight 1 where all its predicates hold. `stats` are facts of the fit."""
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, j],
                weights=(decision[:, j] > 0).astype(np.float64),
                scope="all",
                name=" and ".join(predicate.name for predicate in rule),
                rule=" and ".join(predicate.rule for predicate in rule),
                method=METHOD,
                stats=self._stats[j],
            )
            for j, rule in enumerate(self.rules_)
        ]

    def _errors(self, evaluation: Evaluation) -> np.ndarray:
        if self.errors == "wrong":
            return evaluation.errors.astype(np.float64)
        evaluation.require("losses", by='SliceLine with errors="loss"')
        assert evaluation.losses is not None
        if evaluation.losses.min() < 0:
            raise ValueError("SliceLine needs losses of 0 or more, as it compares their means by ratio.")
        return evaluation.losses

    def _usable(self, evaluation: Evaluation) -> list[Column]:
        """The columns to search; says in `left_out_` which are not, and why."""
        metadata = evaluation.metadata
        assert metadata is not None
        names = list(metadata.columns) if self.columns is None else _checks.unique_names(self.columns, "columns")
        unknown = [name for name in names if name not in metadata.columns]
        if unknown:
            known = ", ".join(map(repr, metadata.columns)) or "none"
            raise ValueError(f"columns names {unknown[0]!r}, and the metadata columns are {known}.")
        columns = [Column.of(metadata[name], name) for name in names]
        reasons = {column.name: why_unusable(column, self.max_categories) for column in columns}
        self.left_out_ = {name: reason for name, reason in reasons.items() if reason is not None}
        told = "; ".join(f"{name!r} {reason}" for name, reason in list(self.left_out_.items())[:3])
        if self.columns is not None and told:
            raise ValueError(f"columns names what SliceLine cannot use: {told}.")
        if len(self.left_out_) == len(columns):
            raise ValueError(f"SliceLine needs a metadata column to make rules of: {told or 'there are no columns'}.")
        return [column for column in columns if column.name not in self.left_out_]

    def _holds(self, evaluation: Evaluation) -> dict[Predicate, np.ndarray]:
        """Where each predicate of the rules holds, boolean (n,)."""
        metadata = evaluation.metadata
        assert metadata is not None
        predicates = {predicate for rule in self.rules_ for predicate in rule}
        names = [name for name in self.columns_ if any(name == predicate.column for predicate in predicates)]
        missing = [name for name in names if name not in metadata.columns]
        if missing:
            raise ValueError(
                f"SliceLine found rules over metadata {', '.join(map(repr, missing))}, which this Evaluation lacks: "
                "give it the columns of the fit."
            )
        columns = {name: Column.of(metadata[name], name) for name in names}
        for name, column in columns.items():
            if column.kind not in (self._kinds[name], NOTHING):
                raise ValueError(
                    f"metadata {name!r} holds {column.kind}, and in the fit of SliceLine it held {self._kinds[name]}: "
                    "give both the same type."
                )
        return {predicate: predicate.holds(columns[predicate.column]) for predicate in predicates}

    def _facts(self, evaluation: Evaluation, one: Conjunction, member: np.ndarray) -> dict[str, Any]:
        facts = {
            "fit_n": int(member.sum()),
            "fit_errors": int(evaluation.errors[member].sum()),
            "fit_error_rate": float(evaluation.errors[member].mean()),
            "fit_score": one.score,
            "fit_predicates": len(one.predicates),
        }
        if self.errors == "loss":
            assert evaluation.losses is not None
            facts["fit_mean_loss"] = float(evaluation.losses[member].mean())
            facts["fit_mean_loss_of_all"] = float(evaluation.losses.mean())
        return facts

    def _check_settings(self) -> None:
        fewest = {"n_slices": 1, "min_support": 1, "max_predicates": 1, "n_bins": 2, "max_categories": 2}
        for name, least in fewest.items():
            value = getattr(self, name)
            if name == "min_support" and value is None:
                continue
            _checks.whole_number(value, name, least=least)
        if not isinstance(self.alpha, int | float | np.number) or not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must be a number above 0 and at most 1, not {self.alpha!r}.")
        if self.errors not in ("wrong", "loss"):
            raise ValueError(f'errors must be "wrong" or "loss", not {self.errors!r}.')
