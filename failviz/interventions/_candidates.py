"""Candidates for the training set: for each slice the best pool examples in order, and whose turn it is.

A rule ranks open rows of the pool; groups of ranked rows, one for each slice, then take turns until the budget is
spent. Ties go by id everywhere, so that the order of the pool does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from failviz.evaluation import Evaluation
from failviz.interventions._lookalikes import nearest_in_chunks
from failviz.slices import Slice, scope_mask

CONTROLS = ("random", "confidence", "loss", "all")
"""Rules that can stand beside a plan: they know nothing of its slices."""


@dataclass(frozen=True)
class Choice:
    """The pool as the rules see it."""

    pool: Evaluation
    labels: np.ndarray
    is_open: np.ndarray
    rng: np.random.RandomState

    def ranked(self, rows: np.ndarray, values: np.ndarray, most: int | None) -> np.ndarray:
        """Rows by value, largest first, ties by id; at most `most`."""
        if most is not None and most < len(rows):
            kept = values >= np.partition(values, len(values) - most)[len(values) - most]
            rows, values = rows[kept], values[kept]
        order = np.lexsort((self.pool.ids[rows].astype(str), -values))
        return rows[order[:most]]

    def by_rule(self, rule: str, rows: np.ndarray, most: int | None) -> np.ndarray:
        """Some rows in the order of a rule that knows no slices."""
        if rule in ("random", "all"):
            in_order = rows[np.argsort(self.pool.ids[rows].astype(str))]
            return in_order if rule == "all" else in_order[self.rng.permutation(len(rows))[:most]]
        if rule == "confidence":
            return self.ranked(rows, -self.pool.confidence[rows].astype(np.float64), most)
        assert self.pool.losses is not None
        return self.ranked(rows, self.pool.losses[rows], most)

    def in_scope(self, one: Slice | None) -> np.ndarray:
        """Boolean (n,): open rows in the scope of a slice, by the labels they come with."""
        if one is None or one.scope == "all":
            return self.is_open
        if one.scope[0] == "label":
            return self.is_open & (self.labels == one.scope[1])
        return self.is_open & scope_mask(one.scope, self.pool)


@dataclass(frozen=True)
class Group:
    """The best candidates for one slice, in order, and all of them in any order."""

    best: np.ndarray
    candidates: np.ndarray


def n_distinct(groups: Sequence[Group], n: int) -> int:
    """How many of n pool examples are a candidate for some slice."""
    is_candidate = np.zeros(n, dtype=bool)
    for group in groups:
        is_candidate[group.candidates] = True
    return int(is_candidate.sum())


def group_of(choice: Choice, by: str, one: Slice | None, budget: int | None) -> Group:
    rows = np.flatnonzero(choice.in_scope(one))
    if by in CONTROLS:
        return Group(choice.by_rule(by, rows, budget), rows)
    assert one is not None
    values = one.weights if by == "spotlight" else one.scores
    if by == "spotlight":
        rows = rows[one.weights[rows] > 0]
    elif by == "membership":
        rows = rows[one.is_member[rows]]
    rows = rows[values[rows] > -np.inf]
    return Group(choice.ranked(rows, values[rows], budget), rows)


def lookalike_groups(
    choice: Choice,
    slices: Sequence[Slice],
    of: Evaluation,
    k: int,
    sample: float,
    space: str | None,
    budget: int | None,
    chunk_rows: int,
) -> tuple[list[Group], tuple[str, ...], str]:
    """Candidates near wrong members of each slice; the members looked at; and what was found, in words."""
    of.require("labels", by="select by 'nearest'")
    assert of.labels is not None
    if of.predictions is None:
        raise ValueError("select by 'nearest' needs predictions of `of`, to know which members are wrong.")
    names = [[e.class_name(c) for c in range(e.n_classes)] for e in (of, choice.pool)]
    fewest = min(map(len, names))
    if names[0][:fewest] != names[1][:fewest] or (of.class_names and choice.pool.class_names and names[0] != names[1]):
        raise ValueError("the pool and the slices' Evaluation have different classes: evaluate both with one model.")
    groups, used, n_found, n_chosen = [], [], 0, 0
    for one in slices:
        looked_at = _looked_at(one, of, sample, choice.rng)
        is_wrong = of.errors[looked_at]
        chosen = looked_at[is_wrong] if is_wrong.any() else looked_at
        n_chosen += len(chosen)
        in_space = _space(one, of, choice.pool, space)
        found, gaps = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        for c in np.unique(of.labels[chosen]):
            points = of.space(in_space)[chosen[of.labels[chosen] == c]]
            rows = np.flatnonzero(choice.is_open & (choice.labels == c))
            if len(rows):
                ranks = np.argsort(np.argsort(choice.pool.ids[rows].astype(str)))
                at, distances = nearest_in_chunks(points, choice.pool.space(in_space), rows, ranks, k, chunk_rows)
                found.append(rows[at.ravel()])
                gaps.append(distances.ravel())
        near, gap = np.concatenate(found), np.concatenate(gaps)
        n_found += len(near)
        distinct, where = np.unique(near, return_inverse=True)
        closest = np.full(len(distinct), np.inf)
        np.minimum.at(closest, where, gap)
        groups.append(Group(choice.ranked(distinct, -closest, budget), distinct))
        used += of.ids[looked_at].tolist()
    used = list(dict.fromkeys(used))
    members = "member" if n_chosen == 1 else "members"
    half = "" if sample == 1 else f" ({sample:.0%} of the group was looked at, the rest is left to judge by)"
    reason = (
        f"The pool examples most like {n_chosen:,} {members} of {called(slices)}, with the same label{half}. Their {k} "
        f"nearest each are {n_distinct(groups, choice.pool.n_examples):,} different ones, of {n_found:,}."
    )
    return groups, tuple(used), reason


def _looked_at(one: Slice, of: Evaluation, sample: float, rng: np.random.RandomState) -> np.ndarray:
    """Rows of the members from which look-alikes are sought, ascending: as many of the wrong as of the right ones."""
    rows = np.flatnonzero(one.is_member)
    if sample == 1:
        return rows
    parts: list[np.ndarray] = []
    for stratum in (rows[of.errors[rows]], rows[~of.errors[rows]]):
        stratum = stratum[np.argsort(of.ids[stratum].astype(str))]
        least = 1 if not parts and len(stratum) else 0  # one wrong member at the least
        n = max(least, int(len(stratum) * sample + rng.random_sample()))
        parts.append(stratum[rng.permutation(len(stratum))[:n]])
    return np.sort(np.concatenate(parts))


def _space(one: Slice, of: Evaluation, pool: Evaluation, asked: str | None) -> str:
    shared = [space for space in of.spaces if space in pool.spaces]
    found_in = [space for space in one.seen if space in shared]
    if asked is not None and asked not in shared:
        raise ValueError(
            f"there is no space {asked!r} in both Evaluations, only {', '.join(map(repr, shared)) or 'none'}."
        )
    if not shared:
        raise ValueError(f"the pool and the slices' Evaluation share no space ({pool.spaces}, {of.spaces}).")
    name = asked or (found_in or shared)[0]
    if of.space(name).shape[1] != pool.space(name).shape[1]:
        raise ValueError(f"space {name!r} has different dimensions in the two Evaluations: use one encoder for both.")
    return name


def take_turns(groups: Sequence[Group], budget: int | None, by: str) -> np.ndarray:
    """Rows (budget,): the groups take turns, each with its best row that is not taken yet."""
    taken: dict[int, None] = {}
    waiting: list[Iterator[int]] = [iter(group.best.tolist()) for group in groups]
    while waiting and (budget is None or len(taken) < budget):
        still = []
        for rows in waiting:
            row = next((row for row in rows if row not in taken), None)
            if row is None or (budget is not None and len(taken) >= budget):
                continue
            taken[row] = None
            still.append(rows)
        waiting = still
    if not taken:
        nowhere = {
            "nearest": "has the label of a member",
            "membership": "belongs to a slice",
            "spotlight": "has weight",
        }
        why = nowhere.get(by, "lies in the scope of a slice")
        raise ValueError(f"there is nothing to choose from: no pool example that may be chosen {why}.")
    if budget is not None and len(taken) < budget:
        cure = "ask for fewer (or raise k)" if by == "nearest" else "ask for fewer"
        are = "is 1 example" if len(taken) == 1 else f"are {len(taken):,} examples"
        raise ValueError(f"{budget:,} are asked for, and there {are} to choose from: {cure}.")
    return np.fromiter(taken, dtype=np.int64, count=len(taken))


def called(slices: Sequence[Slice]) -> str:
    return slices[0].name if len(slices) == 1 else f"{len(slices)} slices"
