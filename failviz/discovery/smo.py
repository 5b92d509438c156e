"""Compiled sequential minimal optimisation for the linear SVM with an unregularised intercept.

The dual of the SVM, solved two variables at a time (Platt 1998) with second-order choice of the
pair (Fan, Chen & Lin 2005). Needs numba; `svm.py` falls back to libsvm without it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FAR = 1e300


@njit(cache=True)
def _bounds(i, signs, upper, alpha, up, low):  # type: ignore[no-untyped-def]
    """Mark whether signs[i] * alpha[i] may still rise (`up`) or fall (`low`): 0 if so, else out of reach."""
    positive = signs[i] > 0
    up[i] = 0.0 if (alpha[i] < upper[i] if positive else alpha[i] > 0) else _FAR
    low[i] = 0.0 if (alpha[i] > 0 if positive else alpha[i] < upper[i]) else -_FAR


@njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def minimise(gram, signs, upper, alpha, margins, tol, max_iter):  # type: ignore[no-untyped-def]
    """Minimise 1/2 v.K.v - sum(alpha), v = signs * alpha, over 0 <= alpha <= upper with sum(v) fixed.

    `alpha` and `margins` = K v - signs are changed in place and must be consistent at the start.

    Parameters
    ----------
    gram : float64 (n, n), C order
        K: inner products of the rows.
    signs : float64 (n,) of +1 and -1
    upper, alpha, margins : float64 (n,)
    tol : float
        Stop when no pair violates the optimality conditions by more.
    max_iter : int

    Returns
    -------
    iterations, floor, ceiling
        At the optimum minus the intercept lies between floor and ceiling.
    """
    n = len(signs)
    up, low, diagonal = np.empty(n), np.empty(n), np.empty(n)
    best, i = _FAR, -1
    for t in range(n):
        _bounds(t, signs, upper, alpha, up, low)
        diagonal[t] = gram[t, t]
        if margins[t] + up[t] < best:
            best, i = margins[t] + up[t], t
    worst = best
    for iteration in range(max_iter):
        row_i, k_ii = gram[i], diagonal[i]
        worst, most, j = -_FAR, 0.0, -1
        for t in range(n):
            value = margins[t] + low[t]
            worst = max(worst, value)
            gap = value - best
            if gap > 0.0:
                curvature = max(k_ii + diagonal[t] - 2.0 * row_i[t], 1e-12)
                gain = gap * gap / curvature
                if gain > most:
                    most, j = gain, t
        if j < 0 or worst - best < tol:
            return iteration, best, worst
        step = (margins[j] - best) / max(k_ii + diagonal[j] - 2.0 * row_i[j], 1e-12)
        room_i = upper[i] - alpha[i] if signs[i] > 0 else alpha[i]
        room_j = alpha[j] if signs[j] > 0 else upper[j] - alpha[j]
        step = min(step, room_i, room_j)
        # Set bounds exactly: a variable left a rounding error short of its bound would count as free.
        alpha[i] = (upper[i] if signs[i] > 0 else 0.0) if step == room_i else alpha[i] + signs[i] * step
        alpha[j] = (0.0 if signs[j] > 0 else upper[j]) if step == room_j else alpha[j] - signs[j] * step
        _bounds(i, signs, upper, alpha, up, low)
        _bounds(j, signs, upper, alpha, up, low)
        row_j = gram[j]
        best, i = _FAR, -1
        for t in range(n):
            value = margins[t] + step * (row_i[t] - row_j[t])
            margins[t] = value
            value += up[t]
            if value < best:
                best, i = value, t
        if i < 0:
            break
    return max_iter, best, worst
