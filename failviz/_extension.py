"""Carry a slice to other examples: a classifier of membership, so that what was drawn by hand can be tested."""

from __future__ import annotations

import math

import numpy as np

from failviz import _fingerprints
from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice, scope_mask

FEWEST = 5
"""Members, and others of the scope, below which membership cannot be learnt."""
_FOLDS = 5


def extended(one: Slice, evaluation: Evaluation, to: Evaluation, scope: Scope, space: str | None) -> Slice:
    """What `Slice.extend` gives."""
    if one.evaluation_hash != evaluation.hash:
        raise ValueError(f"slice {one.name!r} belongs to another Evaluation: give the one it was made on first.")
    if None not in (evaluation.class_names, to.class_names) and evaluation.class_names != to.class_names:
        raise ValueError(
            "the two Evaluations number their classes differently: give both the same class_names, in the same order."
        )
    space = evaluation.spaces[0] if space is None else space
    rows, others = evaluation.space(space), to.space(space)
    if rows.shape[1] != others.shape[1]:
        raise ValueError(
            f"space {space!r} has {rows.shape[1]} dimensions here and {others.shape[1]} there: use the same encoder."
        )
    inside = scope_mask(scope, evaluation)
    member = one.is_member[inside]
    if min(member.sum(), (~member).sum()) < FEWEST:
        raise ValueError(
            f"extend needs {FEWEST} members and as many others in its scope, and {one.name!r} has "
            f"{int(member.sum())} and {int((~member).sum())}: draw more, or give another scope."
        )
    copies = evaluation.row_hashes(space)[inside]
    direction, intercept, agreement = _learnt(rows[inside].astype(np.float64), member, copies)
    scores = others @ direction + intercept
    seen = dict(one.seen)
    mine = evaluation.row_fingerprints(space)
    seen[space] = _fingerprints.together(seen[space], mine) if space in seen else mine
    return Slice.of(
        to,
        scores=scores,
        weights=(scores > 0) * 1.0,
        scope=scope,
        name=one.name,
        method=f"{one.method}, extended",
        caption=one.caption,
        direction=direction,
        stats={"agreement": agreement},
        seen=seen,
    )


def _learnt(rows: np.ndarray, member: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Direction (d,) and intercept of membership, positive inside, and how well it is told on rows left out (kappa;
    NaN where fewer than 5 members, or others, are no copies of each other).

    Fisher's discriminant with the covariance of Ledoit & Wolf 2004. It is cut where as large a share of scores lies
    above as there are members, cross-validated ones where agreement is known: its own intercept takes both sides for
    equally spread clouds.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import cohen_kappa_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    is_copied = len(np.unique(copies)) < len(copies)  # copies stay together, or they would tell each other
    if min(len(np.unique(copies[side])) for side in (member, ~member)) < FEWEST:
        scores, told_apart = model.fit(rows, member).decision_function(rows), False
    else:
        kind = StratifiedGroupKFold if is_copied else StratifiedKFold
        folds = kind(_FOLDS, shuffle=True, random_state=0)
        groups = copies if is_copied else None
        scores = cross_val_predict(model, rows, member, groups=groups, cv=folds, method="decision_function")
        told_apart = True
    cut = float(np.quantile(scores, 1 - member.mean()))
    agreement = float(cohen_kappa_score(member, scores > cut)) if told_apart else math.nan
    model.fit(rows, member)
    return model.coef_[0], float(model.intercept_[0]) - cut, agreement
