"""The RetrainPlan: what a retraining would change, as plain data that can be read, saved and refused."""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from failviz.evaluation import Evaluation
from failviz.interventions._marks import DataMark, outline
from failviz.interventions._plan_fields import plain_fields
from failviz.store import write_json

__all__ = ["PLAN", "DataMark", "RetrainPlan", "outline"]

FORMAT = 1
PLAN = "plan"
"""The name under which a plan itself stands among its arms."""


@dataclass(frozen=True, repr=False)
class RetrainPlan:
    """What a retraining would change: which pool examples join, which training examples count more or change label.

    Plans come from `interventions.select`, `interventions.upweight` and `interventions.relabel`; `+` joins two.
    Ids are those of the Evaluations they were made from, labels are class numbers.

    Attributes
    ----------
    name : str
        What it does, in a few words.
    additions : mapping of str to int
        Pool id to the label with which the example joins the training set.
    added_weight : float
        How many training examples each added one counts as.
    weights : mapping of str to float
        Training id to the factor by which its loss counts; 1 where nothing is said.
    relabels : mapping of str to int
        Training id to its new label.
    class_names : tuple of str
    budget : int or None
        How many additions were asked for; None = as many as there are.
    reason : str
        Why these, in a sentence or two.
    cautions : tuple of str
        What to keep in mind.
    targets : tuple of str
        Names of the slices it is meant to mend.
    used_ids, used_hash : tuple of str, str
        Examples of another Evaluation (its hash) that chose the additions; `compare(..., used=plan)` leaves them out.
    pool, train : DataMark or None
        The data it was made for; others are refused.
    controls : tuple of RetrainPlan
        The same budget spent otherwise, for comparison.

    Raises
    ------
    ValueError, TypeError
        When a weight is negative or not finite, a label is no class, or something is planned for no data.
    """

    name: str
    additions: Mapping[str, int] = field(default_factory=dict)
    added_weight: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    relabels: Mapping[str, int] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    budget: int | None = None
    reason: str = ""
    cautions: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    used_ids: tuple[str, ...] = ()
    used_hash: str = ""
    pool: DataMark | None = None
    train: DataMark | None = None
    controls: tuple[RetrainPlan, ...] = ()

    def __post_init__(self) -> None:
        for name, value in plain_fields(self).items():
            object.__setattr__(self, name, value)
        if not (math.isfinite(self.added_weight) and self.added_weight > 0):
            raise ValueError(f"added_weight must be a finite number above 0, not {self.added_weight}.")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"budget must be at least 1, or None, not {self.budget}.")
        for example, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weights must be finite and 0 or more, and that of {example!r} is {weight}.")
        for name in ("additions", "relabels"):
            for example, label in getattr(self, name).items():
                if not 0 <= label < len(self.class_names):
                    there_are = f"run from 0 to {len(self.class_names) - 1}" if self.class_names else "are not given"
                    raise ValueError(f"{name} gives {example!r} the label {label}, and the classes {there_are}.")
        if self.additions and self.pool is None:
            raise ValueError("a plan with additions needs pool, the DataMark of the pool they come from.")
        if (self.weights or self.relabels) and self.train is None:
            raise ValueError("a plan with weights or relabels needs train, the DataMark of the training data.")
        if self.train is not None and len(self.weights) == self.train.n and not any(self.weights.values()):
            raise ValueError("weights are all zero: at least one training example must count.")
        names = [PLAN, *(control.name for control in self.controls)]
        if len(set(names)) != len(names):
            raise ValueError(f"the arms of a plan need names of their own, not {', '.join(map(repr, names))}.")

    def __hash__(self) -> int:
        return hash(self.hash)

    def __reduce__(self) -> tuple[Any, ...]:
        return RetrainPlan.from_dict, (self.to_dict(),)  # read-only mappings cannot be pickled

    # -- reading ---------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True when a retraining by it would see the training data as they are."""
        return not (self.additions or self.relabels or any(weight != 1 for weight in self.weights.values()))

    @property
    def arms(self) -> dict[str, RetrainPlan]:
        """The plan itself, as "plan", and its controls by name: one retraining each."""
        return {PLAN: replace(self, controls=()), **{control.name: control for control in self.controls}}

    @property
    def by_label(self) -> dict[str, int]:
        """How many additions come with each label, most first."""
        counts = Counter(self.additions.values())
        return {self.class_names[c]: n for c, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))}

    @cached_property
    def hash(self) -> str:
        """Hexadecimal fingerprint of everything that a retraining would do; names and reasons do not count."""
        facts = self.to_dict()
        kept = ("additions", "added_weight", "weights", "relabels", "class_names", "pool", "train")
        return hashlib.sha256(json.dumps({name: facts[name] for name in kept}, sort_keys=True).encode()).hexdigest()

    # -- changing --------------------------------------------------------------------------

    def without(self, ids: Iterable[str]) -> RetrainPlan:
        """The same plan less some additions that a person has thrown out; unknown ids are refused."""
        out = dict.fromkeys([ids] if isinstance(ids, str) else ids)
        unknown = [example for example in out if example not in self.additions]
        if unknown:
            raise ValueError(f"the plan does not add {unknown[0]!r}, so it cannot be thrown out.")
        kept = {example: label for example, label in self.additions.items() if example not in out}
        return replace(self, additions=kept)

    def __add__(self, other: RetrainPlan) -> RetrainPlan:
        """Both plans at once; the controls of either are joined with the whole of the other.

        Raises
        ------
        ValueError
            When they were made for different data, or give one example two labels or two weights.
        """
        if not isinstance(other, RetrainPlan):
            return NotImplemented
        mine, theirs = self.arms, other.arms
        joined = _joined(mine[PLAN], theirs[PLAN], f"{self.name} + {other.name}")
        names = dict.fromkeys([*mine, *theirs])
        controls = [
            _joined(mine.get(name, mine[PLAN]), theirs.get(name, theirs[PLAN]), name) for name in names if name != PLAN
        ]
        return replace(joined, controls=tuple(controls))

    # -- refusing --------------------------------------------------------------------------

    def require(self, *, pool: Evaluation | None = None, train: Evaluation | None = None) -> None:
        """Refuse, in a sentence, Evaluations that this plan was not made for."""
        for what, evaluation in (("pool", pool), ("training data", train)):
            mark = self.pool if what == "pool" else self.train
            if evaluation is not None and mark is not None and mark.hash != evaluation.hash:
                raise ValueError(
                    f"this plan was made for another {what} ({mark.n:,} examples, {mark.hash[:8]}), not for this one "
                    f"({evaluation.n_examples:,}, {evaluation.hash[:8]}): make it again."
                )

    # -- on disk ---------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        facts: dict[str, Any] = {"format": FORMAT}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, MappingProxyType):
                value = dict(value)
            elif isinstance(value, DataMark):
                value = {"n": value.n, "hash": value.hash, "outline": value.outline}
            elif name == "controls":
                value = [control.to_dict() for control in value]
            facts[name] = list(value) if isinstance(value, tuple) else value
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> RetrainPlan:
        """The plan of `to_dict`; anything else is refused."""
        if not isinstance(facts, Mapping) or facts.get("format") != FORMAT:
            found = facts.get("format") if isinstance(facts, Mapping) else type(facts).__name__
            raise ValueError(f"this is no retraining plan of format {FORMAT} (it says {found}): update failviz?")
        unknown = [name for name in facts if name != "format" and name not in cls.__dataclass_fields__]
        if unknown or "name" not in facts:
            raise ValueError(f"this is no retraining plan: it {f'holds {unknown[0]!r}' if unknown else 'has no name'}.")
        parts = {name: value for name, value in facts.items() if name != "format"}
        for name, value in parts.items():
            if name in ("pool", "train") and value is not None:
                parts[name] = DataMark.from_dict(value, name)
            elif name == "controls" and isinstance(value, list | tuple):
                parts[name] = tuple(cls.from_dict(control) for control in value)
        return cls(**parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RetrainPlan:
        """Read what `save` wrote."""
        try:
            facts = json.loads(Path(path).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no retraining plan: it is not JSON ({error}).") from error
        try:
            return cls.from_dict(facts)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    # -- showing ---------------------------------------------------------------------------

    def _lines(self) -> list[tuple[str, str]]:
        lines = []
        if self.additions:
            counts = ", ".join(f"{n:,} {name}" for name, n in self.by_label.items())
            times = f", each counted {self.added_weight:g} times" if self.added_weight != 1 else ""
            lines.append(("adds", f"{len(self.additions):,} of {self.pool.n:,} pool examples ({counts}){times}"))  # type: ignore[union-attr]
        if self.weights:
            low, high = min(self.weights.values()), max(self.weights.values())
            span = f"{low:g} times" if low == high else f"{low:.3g} to {high:.3g} times"
            lines.append(("weighs", f"{len(self.weights):,} of {self.train.n:,} training examples {span}"))  # type: ignore[union-attr]
        if self.relabels:
            noun = "training example" if len(self.relabels) == 1 else "training examples"
            lines.append(("relabels", f"{len(self.relabels):,} {noun}"))
        if self.is_empty:
            lines.append(("changes", "nothing"))
        if self.targets:
            lines.append(("to mend", ", ".join(self.targets)))
        if self.reason:
            lines.append(("because", self.reason))
        lines += [("note", caution) for caution in self.cautions]
        if self.controls:
            arms = ", ".join(f"{control.name} ({len(control.additions):,})" for control in self.controls)
            lines.append(("beside", f"{arms}, for comparison"))
        return lines

    def __repr__(self) -> str:
        return "\n".join([f"RetrainPlan: {self.name}", *(f"  {what:<9} {text}" for what, text in self._lines())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{what}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for what, text in self._lines()
        )
        return f"<table><caption><b>{html.escape(self.name)}</b></caption>{rows}</table>"


def _joined(one: RetrainPlan, other: RetrainPlan, name: str) -> RetrainPlan:
    for what in ("pool", "train"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine is not None and theirs is not None and mine.outline != theirs.outline:
            raise ValueError(f"{one.name!r} and {other.name!r} were made for different {what} data.")
    if one.class_names and other.class_names and one.class_names != other.class_names:
        raise ValueError(f"{one.name!r} and {other.name!r} name their classes differently.")
    if one.used_hash and other.used_hash and one.used_hash != other.used_hash:
        raise ValueError(f"{one.name!r} and {other.name!r} were chosen by examples of different Evaluations.")
    if one.additions and other.additions and one.added_weight != other.added_weight:
        raise ValueError(
            f"additions count {one.added_weight:g} times in one plan, {other.added_weight:g} in the other."
        )
    merged: dict[str, Any] = {}
    for what in ("additions", "weights", "relabels"):
        mine, theirs = getattr(one, what), getattr(other, what)
        clash = [example for example in mine if example in theirs and mine[example] != theirs[example]]
        if clash:
            raise ValueError(f"the {what} of the two plans disagree on {clash[0]!r}.")
        merged[what] = {**mine, **theirs}
    budgets = [plan.budget for plan in (one, other) if plan.budget is not None]
    return RetrainPlan(
        name=name,
        **merged,
        added_weight=one.added_weight if one.additions else other.added_weight,
        class_names=one.class_names or other.class_names,
        budget=sum(budgets) if budgets else None,
        reason=" ".join(reason for reason in (one.reason, other.reason) if reason),
        cautions=tuple(dict.fromkeys([*one.cautions, *other.cautions])),
        targets=tuple(dict.fromkeys([*one.targets, *other.targets])),
        used_ids=tuple(dict.fromkeys([*one.used_ids, *other.used_ids])),
        used_hash=one.used_hash or other.used_hash,
        pool=one.pool or other.pool,
        train=one.train or other.train,
    )
