"""What the Retrain view offers for a slice, and the plan that follows from what a person chose there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from failviz.annotations import fingerprint
from failviz.evaluation import Evaluation
from failviz.interventions.plan import RetrainPlan
from failviz.interventions.selection import select
from failviz.interventions.weighting import upweight
from failviz.slices import Slice, scope_mask
from failviz.verification import Verdicts
from failviz.widget.catalogue import Catalogue, Item
from failviz.widget.protocol import Refusal

BUDGET_OF_ONE, BUDGET_OF_EACH = 100, 50
_FEWEST_NEIGHBOURS = 50


@dataclass(frozen=True)
class Remedy:
    """One way to mend a slice, in the words of the screen."""

    key: str
    label: str
    does: str
    uses_budget: bool = True


REMEDIES = (
    Remedy("direction", "Highest score", "Adds the pool {unit} that this search expects to fail most."),
    Remedy("nearest", "Look-alikes", "Adds the pool {unit} most like the ones the model gets wrong here."),
    Remedy("confidence", "Least sure", "Adds the pool {unit} the model is least sure of."),
    Remedy("loss", "Highest loss", "Adds the pool {unit} the model contradicts most, wrong labels among them."),
    Remedy("random", "Random", "Adds pool {unit} drawn at random: the yardstick for the others."),
    Remedy("upweight", "Count twice", "Adds nothing: training {unit} of this group count twice.", uses_budget=False),
)
OWN = "own"
_OWN = Remedy(OWN, "From the notebook", "Follows the plan that your notebook has set: {plan}.", uses_budget=False)


class Remedies:
    """Plans for the slices of an Explorer.

    Parameters
    ----------
    evaluation : Evaluation
        What the Explorer shows.
    things : fitted finder, Slice, Verdicts, or nested sequence of these
        What the Explorer was given: a finder can find its slices again in pool and training data.
    catalogue : Catalogue
    pool, train : Evaluation or None
        What can be added; what the model was trained on.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        things: Any,
        catalogue: Catalogue,
        pool: Evaluation | None,
        train: Evaluation | None,
    ):
        for name, other in (("pool", pool), ("train", train)):
            if other is None:
                continue
            if not isinstance(other, Evaluation):
                raise TypeError(f"{name} must be an Evaluation, not {type(other).__name__}: see failviz.evaluate.")
            if other.labels is None:
                raise ValueError(f"{name} has no labels, and nothing can be learnt from it without: give it weak ones.")
            if _names(other) != _names(evaluation):
                raise ValueError(f"{name} has other classes than the Evaluation on the screen: use one model for both.")
            if other.hash == evaluation.hash:
                raise ValueError(
                    f"{name} is the Evaluation on the screen: what is trained on cannot judge, so give other examples."
                )
        self._evaluation, self._catalogue = evaluation, catalogue
        self.pool, self.train = pool, train
        self.own: RetrainPlan | None = None  # what the notebook has set, whatever the screen shows
        self._finders = list(_finders(things))
        self._again: dict[str, dict[str, Slice]] = {}

    # -- what is offered -------------------------------------------------------------------

    def targets(self, target: str, key: str | None) -> list[Item]:
        """The slices to mend: the one in hand, or all that are confirmed."""
        if target == "confirmed":
            found = [item for item in self._catalogue.items() if item.verdict is not None and item.verdict.confirmed]
            if not found:
                raise Refusal("no slice is confirmed: choose one, and mend that.")
            return found
        if key is None:
            raise Refusal("there is no slice in hand: choose one, or draw one on the map.")
        return [self._catalogue.get(key)]

    def offered(self, target: str, key: str | None, unit: str) -> list[dict[str, Any]]:
        """Every remedy, and why it cannot be had where it cannot."""
        try:
            items, problem = self.targets(target, key), None
        except Refusal as refusal:
            items, problem = [], str(refusal)
        rows, name = [], "" if self.own is None else self.own.name
        offered = [remedy for remedy in REMEDIES if remedy.key != "upweight" or self.train is not None]
        for remedy in offered if self.own is None else [_OWN, *offered]:
            why = None if remedy is _OWN else problem or self._why_not(remedy.key, items)
            row = {"key": remedy.key, "label": remedy.label, "does": remedy.does.format(unit=unit, plan=name)}
            rows.append({**row, "uses_budget": remedy.uses_budget, "available": why is None, "why": why})
        return rows

    def budget(self, target: str, key: str | None) -> int:
        """How many additions to suggest: at most a quarter of what the pool has for these slices."""
        try:
            items = self.targets(target, key)
        except Refusal:
            return BUDGET_OF_ONE
        if self.pool is None:
            return BUDGET_OF_ONE
        in_scope = np.zeros(self.pool.n_examples, dtype=bool)
        for item in items:
            in_scope |= scope_mask(item.slice.scope, self.pool)
        wanted = BUDGET_OF_ONE if len(items) == 1 else BUDGET_OF_EACH * len(items)
        return max(1, min(wanted, int(in_scope.sum()) // 4))

    def _why_not(self, remedy: str, items: Sequence[Item]) -> str | None:
        if remedy == "upweight":
            if self.train is None:
                return "Needs the training examples: Explorer(..., train=evaluation)."
            return self._why_not_again("train", items)
        pool = self.pool
        if pool is None:
            return "Needs a pool to add from: Explorer(..., pool=evaluation)."
        if remedy == "direction":
            return self._why_not_again("pool", items)
        if remedy == "nearest":
            if self._evaluation.labels is None or self._evaluation.predictions is None:
                return "Needs to know which examples are wrong."
            if not set(pool.spaces) & set(self._evaluation.spaces):
                return "The pool was embedded otherwise: use one encoder for both."
            return None if any(len(item.slice) for item in items) else "The group is empty."
        if remedy == "confidence" and pool.probs is None:
            return "Needs the model's probabilities on the pool."
        if remedy == "loss" and pool.losses is None:
            return "Needs the model's losses on the pool."
        return None

    def _why_not_again(self, where: str, items: Sequence[Item]) -> str | None:
        other = self.pool if where == "pool" else self.train
        spaces = {getattr(finder, "space_", None) for finder in self._finders}
        if other is not None and self._finders and not spaces & set(other.spaces):
            return f"The {where} was embedded otherwise: use one encoder for both."
        found = self._found_again(where)
        lost = [item for item in items if item.key not in found]
        if not lost or len(lost) < len(items):
            return None
        if lost[0].kind == "drawn":
            return "You drew this group, so only look-alikes can find more of it."
        return "What found this group is not here to find it again: give the Explorer the fitted finder itself."

    # -- plans -----------------------------------------------------------------------------

    def plan(
        self, target: str, key: str | None, remedy: str, budget: int | None, thrown_out: Iterable[str], control: bool
    ) -> RetrainPlan:
        """The plan that follows from the person's choices; refuses with a sentence where there is none."""
        if remedy == OWN:
            if self.own is None:
                raise Refusal("the notebook has set no plan: explorer.plan = ...")
            out = set(thrown_out)
            return self.own.without([example for example in self.own.additions if example in out])
        items = self.targets(target, key)
        if remedy not in {one.key for one in REMEDIES}:
            raise Refusal(f"there is no remedy {remedy!r}.")
        if (why := self._why_not(remedy, items)) is not None:
            raise Refusal(why)
        names = tuple(item.slice.name for item in items)
        if remedy == "upweight":
            found = self._found_again("train")
            kept = [found[item.key].renamed(item.slice.name) for item in items if item.key in found]
            return upweight(self.train, kept)  # type: ignore[arg-type]
        assert self.pool is not None
        if budget is None:
            raise Refusal("say how many examples to add.")
        common: dict[str, Any] = {
            "by": remedy,
            "budget": budget,
            "exclude": list(thrown_out),
            "held_out": self._evaluation,
        }
        common["controls"] = ("random",) if control and remedy != "random" else ()
        if remedy == "nearest":
            slices = [item.slice for item in items if len(item.slice)]
            # The other half stays to judge by: what chose the additions cannot tell whether they helped.
            sought: dict[str, Any] = {"of": self._evaluation, "k": max(_FEWEST_NEIGHBOURS, budget), "sample": 0.5}
            plan = select(self.pool, slices, **sought, **common)
        elif remedy == "direction":
            found = self._found_again("pool")
            slices = [found[item.key].renamed(item.slice.name) for item in items if item.key in found]
            plan = select(self.pool, slices, **common)
        else:
            plan = select(self.pool, [_scope_of(item.slice, self.pool) for item in items], **common)
        left_out = [item.slice.name for item in items if item.slice.name not in plan.targets]
        if left_out:
            caution = f"nothing is added for {', '.join(left_out)}: it cannot be found again in the pool this way"
            plan = replace(plan, cautions=(*plan.cautions, caution))
        return replace(plan, targets=tuple(name for name in names if name not in left_out))

    def _found_again(self, where: str) -> dict[str, Slice]:
        """By key of the slice on the screen: the same slice of the pool, or of the training data."""
        if where not in self._again:
            other = self.pool if where == "pool" else self.train
            assert other is not None
            found: dict[str, Slice] = {}
            for finder in self._finders:
                if getattr(finder, "space_", None) in other.spaces:
                    pairs = zip(finder.slices(self._evaluation), finder.slices(other), strict=True)
                    found.update({fingerprint(here): there for here, there in pairs})
            self._again[where] = found
        return self._again[where]


def _finders(things: Any) -> Iterable[Any]:
    if isinstance(things, list | tuple) and not isinstance(things, Verdicts):
        for thing in things:
            yield from _finders(thing)
    elif hasattr(things, "slices") and hasattr(things, "fit"):
        yield things


def _names(evaluation: Evaluation) -> list[str]:
    return [evaluation.class_name(c) for c in range(evaluation.n_classes)]


def _scope_of(one: Slice, pool: Evaluation) -> Slice:
    """All pool examples in the scope of a slice, under its name."""
    everyone = np.ones(pool.n_examples)
    return Slice.of(pool, scores=everyone, weights=everyone, scope=one.scope, name=one.name, method=one.method)
