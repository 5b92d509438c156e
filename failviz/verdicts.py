"""Verdicts: what held-out data says about slices, as numbers, as words and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from failviz._statistics import percent
from failviz.slices import Slice

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5
"""Members below which nothing is confirmed, however clear the test."""


@dataclass(frozen=True)
class Verdict:
    """What held-out data says about one slice.

    Attributes
    ----------
    slice : Slice
    n, n_errors : int
        Members and wrong members among the examples judged: those that the finder had not seen. (0 wrong where right
        and wrong are not known, and the rates NaN: see mean_loss.)
    error_rate : float
        Of the members, in [0, 1]; NaN when there are none.
    class_error_rate, rest_n : float, int
        Error rate and size of the rest of the scope. For a slice over all classes the rest is
        weighted to the slice's own mix of labels, so that hard classes do not pass for a slice;
        labels of which the slice holds every example have no rest and are left out. NaN where
        nothing is left to compare with.
    lift : float
        Error rate of the members that have a rest, over class_error_rate: what the test compares. Without error rates
        their mean loss over rest_mean_loss.
    low, high : float
        95% Wilson interval of error_rate, else Student's t interval of mean_loss (too narrow for few and skewed
        losses); not adjusted for how the slice was chosen among others.
    p, q : float
        One-sided exact p-value against the scope, and its adjustment for the slices judged
        together (`method` of `verify`); NaN where no test was made.
    confirmed : bool
        q at most the level asked for, on data the finder has not seen, with at least 5 members.
    needs : int or None
        About how many more members of the slice a test would need for 80% power at the difference
        observed, or at 10 points where that is less. None when confirmed, when the members are not
        worse than the rest, when the data would have shown 10 points already, and above 10,000.
    in_sample : bool
        True when these are the data that chose the slice: the rates are then not a test.
    caution : str
        What to keep in mind; empty when nothing.
    shrunken_rate : float
        error_rate drawn toward class_error_rate, the more the fewer the members: the better guess of the rate on yet
        other data. Empirical Bayes, with a beta prior whose strength is estimated from the slices judged together.
        NaN where no test was made.
    mean_loss, rest_mean_loss : float
        Of the members and of the rest of the scope, where an Evaluation has losses and no labels or predictions; else
        NaN.
    stability : float
        Mean best-match Jaccard index over refits on 80% of the data, in [0, 1]; NaN where `verify` was not asked to
        refit (`refit_on=`).
    """

    slice: Slice
    n: int
    n_errors: int
    error_rate: float
    class_error_rate: float
    rest_n: int
    lift: float
    low: float
    high: float
    p: float
    q: float
    confirmed: bool
    needs: int | None
    in_sample: bool = False
    caution: str = ""
    shrunken_rate: float = math.nan
    stability: float = math.nan
    mean_loss: float = math.nan
    rest_mean_loss: float = math.nan

    @property
    def drawn(self) -> bool:
        """True for a slice drawn by hand while looking at these data."""
        return self.slice.is_drawn

    @property
    def by_loss(self) -> bool:
        """True where right and wrong are not known, and losses were compared."""
        return not (math.isnan(self.mean_loss) and math.isnan(self.rest_mean_loss))

    @property
    def words(self) -> str:
        """The verdict as a person reads it."""
        if self.drawn:
            return "drawn on these data"
        if self.slice.uses_outcome:
            return "reads the outcome"
        if self.in_sample:
            return "seen while searching"
        if self.confirmed:
            return "confirmed"
        return f"needs about {self.needs:,} more" if self.needs else "not confirmed"


class Verdicts(Sequence[Verdict]):
    """The verdicts of several slices judged together; prints as a table.

    Attributes
    ----------
    p_any : float
        The chance that the clearest slice would look so clear if no slice were worse than its scope (permutation test
        of the smallest p-value); NaN where `verify` was not asked for it (`n_permutations=`) and in parts of the list.
    q : float
        Of the slices confirmed, the share that is expected to be chance, at most; NaN where nothing was tested and in
        parts of the list, for which it does not hold.
    """

    def __init__(self, verdicts: Iterable[Verdict], p_any: float = math.nan, q: float = math.nan):
        self._verdicts = tuple(verdicts)
        if self._by_loss and any(not math.isnan(v.error_rate) for v in self):
            raise ValueError("verdicts on losses and verdicts on errors do not stand in one table.")
        self.p_any = p_any
        self.q = q

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Verdicts: ...
    def __getitem__(self, index: int | slice) -> Verdict | Verdicts:
        return Verdicts(self._verdicts[index]) if isinstance(index, slice) else self._verdicts[index]

    def __len__(self) -> int:
        return len(self._verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._verdicts)

    @property
    def confirmed(self) -> list[Slice]:
        """The slices that held-out data confirms, in order."""
        return [verdict.slice for verdict in self if verdict.confirmed]

    @property
    def _by_loss(self) -> bool:
        return any(v.by_loss for v in self)

    def to_frame(self) -> pd.DataFrame:
        """One row per slice; rates in [0, 1], or mean losses where there are no rates."""
        import pandas as pd

        rates: tuple[str, ...] = ("error_rate", "shrunken_rate", "class_error_rate")
        rates = ("mean_loss", "rest_mean_loss") if self._by_loss else rates
        names = ("n", *rates, "lift", "low", "high", "p", "q", "stability", "confirmed")
        rows = [
            {"slice": v.slice.name, "method": v.slice.method}
            | {name: getattr(v, name) for name in names}
            | {"needs": v.needs}
            for v in self
        ]
        frame = pd.DataFrame(rows, columns=["slice", "method", *names, "needs"])
        return frame.astype({"needs": "Int64", "confirmed": bool, "n": int})

    def _readable(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(
            {
                "slice": [v.slice.name for v in self],
                "found by": [v.slice.method for v in self],
                **(self._losses_in_words() if self._by_loss else self._rates_in_words()),
                **({} if all(math.isnan(v.stability) for v in self) else {"found again": self._found_again}),
                "verdict": [v.words for v in self],
            }
        )

    def _rates_in_words(self) -> dict[str, list[str]]:
        return {
            "wrong": [f"{v.n_errors} of {v.n}" for v in self],
            "error rate": [
                f"{percent(v.error_rate)} [{percent(v.low)}, {percent(v.high)}]" if v.n else "" for v in self
            ],
            "elsewhere": ["" if math.isnan(v.class_error_rate) else percent(v.class_error_rate) for v in self],
        }

    def _losses_in_words(self) -> dict[str, list[str]]:
        return {
            "n": [str(v.n) for v in self],
            "mean loss": [_with_interval(v) for v in self],
            "elsewhere": ["" if math.isnan(v.rest_mean_loss) else f"{v.rest_mean_loss:.3g}" for v in self],
        }

    @property
    def _found_again(self) -> list[str]:
        return ["" if math.isnan(v.stability) else percent(v.stability) for v in self]

    @property
    def _notes(self) -> list[str]:
        """What the words of the table mean, and what to keep in mind."""
        notes = []
        if not math.isnan(self.q) and any(v.confirmed for v in self):
            notes.append(f"of all slices confirmed, at most {100 * self.q:.3g}% are expected to be chance")
        if any(v.words.startswith("needs") and v.n < FEWEST for v in self):
            notes.append(f"slices with fewer than {FEWEST} members are never confirmed")
        if any(v.words.startswith("needs") and v.n >= FEWEST for v in self):
            notes.append(
                "needs about N more: with so many more members, a slice that is as much worse as this one looks (or 10 "
                "points worse, where it looks less) would be confirmed four times in five"
            )
        return notes + _together(v.caution for v in self)

    @property
    def _at_all(self) -> list[str]:
        """The answer for all slices together, which comes first."""
        if math.isnan(self.p_any):
            return []
        return [f"Any systematic failure at all: p = {self.p_any:.3g} by permutation."]

    def __repr__(self) -> str:
        if not self._verdicts:
            return "no slices"
        notes = [f"note: {words}" for words in self._notes]
        return "\n".join([*self._at_all, self._readable().to_string(index=False), *notes])

    def _repr_html_(self) -> str:
        if not self._verdicts:
            return "<p>no slices</p>"
        first = "".join(f"<p>{words}</p>" for words in self._at_all)
        notes = "".join(f"<p><small>Note: {words}.</small></p>" for words in self._notes)
        return first + self._readable().to_html(index=False, border=0, escape=True) + notes


def _together(cautions: Iterable[str]) -> list[str]:
    """Each caution once: of those that differ in their first number alone, one from the smallest to the largest."""
    numbers: dict[str, list[int]] = {}
    for caution in filter(None, cautions):
        for part in caution.split("; "):
            first, _, rest = part.partition(" ")
            count = first.replace(",", "")
            if count.isdigit():
                numbers.setdefault(rest, []).append(int(count))
            else:
                numbers.setdefault(part, [])
    told = []
    for words, counts in sorted(numbers.items()):
        ends = [f"{number:,}" for number in sorted({min(counts), max(counts)})] if counts else []
        told.append(f"{' to '.join(ends)} {words}".lstrip())
    return told


def _with_interval(verdict: Verdict) -> str:
    """The mean loss in words; of one member without an interval."""
    if not verdict.n:
        return ""
    between = f" [{verdict.low:.3g}, {verdict.high:.3g}]" if verdict.n > 1 else ""
    return f"{verdict.mean_loss:.3g}{between}"
