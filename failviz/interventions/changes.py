"""What retraining changed, as numbers, as words and as a table: the rows that `compare` returns."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, overload

from failviz._statistics import percent
from failviz.slices import Slice

if TYPE_CHECKING:
    import pandas as pd

BEFORE = "before"
"""What the arms of a Comparison stand against, unless it is another arm."""

BETTER, WORSE, UNCLEAR = "better", "worse", "no clear change"

_TENTHS_FROM = 1_000  # examples: from here on a tenth of a point is more than one of them


class Paired(Protocol):
    """Outcomes of every example in every arm, from which any two can be compared."""

    def compared(self, arms: tuple[str, ...], baseline: str | None = None) -> Comparison:
        """The arms against before, or against another arm."""


@dataclass(frozen=True)
class Change:
    """What one retrained model changed for one group of examples.

    Attributes
    ----------
    arm : str
        The retrained model.
    group : "overall", "slice" or "class"
    name : str
    slice : Slice or None
        The slice itself, where the group is one.
    n : int
        Examples compared.
    before, after : float
        Error rates in [0, 1]; NaN when n is 0, as are change, low and high.
    change : float
        after - before, in [-1, 1]: negative = better.
    low, high : float
        95% bootstrap interval of the change; too narrow where few examples changed, unlike the test.
    fixed, broken : int
        Examples that turned from wrong to right, and from right to wrong.
    p, q : float
        Exact two-sided McNemar probability, 1 where nothing changed, and its adjustment for the rows of this arm.
    verdict : "better", "worse" or "no clear change"
        The first two where q is at most the level asked for.
    held_out : bool
        False where these examples chose the group or, by their outcome, what was left out of it.
    caution : str
        What to keep in mind; empty when nothing.
    """

    arm: str
    group: str
    name: str
    slice: Slice | None
    n: int
    before: float
    after: float
    change: float
    low: float
    high: float
    fixed: int
    broken: int
    p: float
    q: float
    verdict: str
    held_out: bool = True
    caution: str = ""

    @property
    def words(self) -> str:
        """The change as a person reads it."""
        if not self.n:
            return "no examples"
        digits = 1 if self.n >= _TENTHS_FROM else 0
        change, low, high = (signed_points(value, digits) for value in (self.change, self.low, self.high))
        rates = f"{percent(self.before, digits)} → {percent(self.after, digits)}"
        return f"{rates} ({'±0' if change == '0' else change} pts [{low}, {high}]), {self.verdict}"


def signed_points(change: float, digits: int = 0) -> str:
    """A change of a rate in percentage points, with its sign.

    >>> signed_points(-0.216), signed_points(0.031, 1), signed_points(-0.001)
    ('−22', '+3.1', '0')
    """
    size = percent(abs(change), digits).removesuffix("%")
    if not float(size):
        return "0"
    return f"{'−' if change < 0 else '+'}{size}"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Sequence[Change]):
    """The changes of every group in every arm, in the order of reading; prints as a table.

    All examples first, then the slices, then the classes, each with what got worse in the first arm first. The rows of
    one group stand together.

    Attributes
    ----------
    changes : tuple of Change
    arms : tuple of str
        The retrained models, in the order given.
    note : str
        What holds for all rows; empty when nothing.
    baseline : str
        What the arms are compared with: "before", or another arm.
    """

    changes: tuple[Change, ...]
    arms: tuple[str, ...]
    note: str
    baseline: str
    _paired: Paired

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Comparison: ...
    def __getitem__(self, index: int | slice) -> Change | Comparison:
        return replace(self, changes=self.changes[index]) if isinstance(index, slice) else self.changes[index]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    @property
    def worse(self) -> list[Change]:
        """The rows that got clearly worse, in order."""
        return [change for change in self if change.verdict == WORSE]

    @property
    def better(self) -> list[Change]:
        """The rows that got clearly better, in order."""
        return [change for change in self if change.verdict == BETTER]

    def of(self, arm: str) -> Comparison:
        """The rows of one arm."""
        self._require_arm(arm)
        return replace(self, changes=tuple(change for change in self if change.arm == arm), arms=(arm,))

    def between(self, one_arm: str, other_arm: str) -> Comparison:
        """Whether the other arm is better than the first: `between("random", "plan")`, paired as well.

        Every group is compared again with the first arm in the place of before; negative = the other arm is better.
        How a slice was drawn favours neither arm, so nothing is said of chance gains here.

        Raises
        ------
        ValueError
            When there is no such arm.
        """
        for arm in (one_arm, other_arm):
            self._require_arm(arm)
        return self._paired.compared((other_arm,), baseline=one_arm)

    def _require_arm(self, arm: str) -> None:
        if arm not in self.arms:
            raise ValueError(f"there is no arm {arm!r} in this Comparison, only {', '.join(map(repr, self.arms))}.")

    def to_frame(self) -> pd.DataFrame:
        """One row per group and arm; rates in [0, 1], changes in [-1, 1], negative = better."""
        import pandas as pd

        names = [name for name in Change.__dataclass_fields__ if name != "slice"]
        return pd.DataFrame([{name: getattr(change, name) for name in names} for change in self], columns=names)

    def by_group(self) -> list[dict[str, Change]]:
        """The rows of each group by arm, in order."""
        groups: list[dict[str, Change]] = []
        latest: tuple[str, str, Slice | None] | None = None
        for change in self:
            group = (change.group, change.name, change.slice)
            if group != latest or change.arm in groups[-1]:
                groups.append({})
            groups[-1][change.arm] = change
            latest = group
        return groups

    def _readable(self) -> pd.DataFrame:
        import pandas as pd

        groups = self.by_group()
        first = [next(iter(arms.values())) for arms in groups]
        columns = {
            "group": [change.group for change in first],
            "name": [change.name for change in first],
            "n": [f"{change.n:,}" for change in first],
        }
        for arm in self.arms:
            words = [arms[arm].words if arm in arms else "" for arms in groups]
            columns[f"error rate, {self.baseline} → {arm}"] = words
        return pd.DataFrame(columns | {"examples": [change.caution or "held out" for change in first]})

    def __repr__(self) -> str:
        if not self.changes:
            return "no groups"
        return "\n".join([self._readable().to_string(index=False), *([f"note: {self.note}"] if self.note else [])])

    def _repr_html_(self) -> str:
        import pandas as pd

        if not self.changes:
            return "<p>no groups</p>"
        note = f"<p><small>Note: {html.escape(self.note)}.</small></p>" if self.note else ""
        with pd.option_context("display.max_colwidth", None):  # to_html would cut the cautions short
            return self._readable().to_html(index=False, border=0, escape=True) + note
