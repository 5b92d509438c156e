"""SliceLine (Sagadeeva & Boehm 2021) beside an enumeration of all conjunctions: at the paper's own settings, its bounds
one by one, and where more predicates than rows made a known implementation prune what it was looking for.
"""

from itertools import combinations, product

import numpy as np
import pytest

from failviz.discovery import SliceLine
from failviz.discovery.lattice import Score, best_conjunctions
from failviz.evaluation import Evaluation


def conjunctions(codes, max_predicates):
    """Every conjunction that holds of a row: its predicates, ascending, and where it holds, bool (n,)."""
    found = {}
    for level in range(1, max_predicates + 1):
        for columns in combinations(range(codes.shape[1]), level):
            for values in product(*(np.unique(codes[:, column]) for column in columns)):
                member = (codes[:, columns] == values).all(axis=1)
                if member.any():
                    found[tuple(int(value) for value in values)] = member
    return found


def score_of(member, errors, alpha):
    """The paper's formula."""
    n, size = len(errors), member.sum()
    return alpha * (errors[member].mean() / errors.mean() - 1) - (1 - alpha) * (n / size - 1)


def coded(values):
    """Columns of small numbers, (n, m), as numbers of predicates that ascend with the column."""
    columns, n_before = [], 0
    for column in values.T:
        kinds, numbers = np.unique(column, return_inverse=True)
        columns.append(n_before + numbers)
        n_before += len(kinds)
    return np.column_stack(columns), n_before


@pytest.mark.parametrize("errors", ["wrong", "loss"])
@pytest.mark.parametrize("seed", range(3))
def test_best_five_at_the_settings_of_the_paper(seed, errors):
    rng = np.random.default_rng(seed)
    n = 900
    values = rng.integers(0, 3, (n, 6))
    is_hard = (values[:, 0] == 1) & (values[:, 3] == 2)
    wrong = rng.random(n) < np.where(is_hard, 0.5, 0.1)
    losses = np.where(wrong, 1.0, 0.1) + rng.gamma(1.0, 0.1, n)
    metadata = {f"c{j}": np.array(["x", "y", "z"])[column] for j, column in enumerate(values.T)}
    evaluation = Evaluation(
        rng.normal(size=(n, 2)),
        labels=np.zeros(n, int),
        predictions=wrong.astype(int),
        losses=losses,
        metadata=metadata,
        class_names=["a", "b"],
    )
    finder = SliceLine(errors=errors, progress=False).fit(evaluation)
    assert (finder.n_slices, finder.alpha, finder.max_predicates, finder.min_support_) == (5, 0.95, 4, 32)
    codes, _ = coded(values)
    error = losses if errors == "loss" else wrong.astype(float)
    scores = {
        " and ".join(f"c{p // 3} == '{'xyz'[p % 3]}'" for p in predicates): score_of(member, error, 0.95)
        for predicates, member in conjunctions(codes, 4).items()
        if member.sum() >= 32
    }
    best = sorted(scores, key=lambda rule: -scores[rule])[:5]
    assert [one.rule for one in finder.slices(evaluation)] == best
    np.testing.assert_allclose(finder.scores_, [scores[rule] for rule in best], atol=1e-8)
    assert best[0].startswith("c0 == 'y' and c3 == 'z'")


@pytest.mark.parametrize(("n", "support"), [(40, 32), (3200, 32), (3201, 33), (5000, 50)])
def test_the_least_support_is_thirty_two_or_a_hundredth(n, support):
    rng = np.random.default_rng(0)
    sizes = {"just enough": support, "one less": support - 1}
    group = np.repeat(["just enough", "one less", "rest"], [*sizes.values(), max(0, n - sum(sizes.values()))])[:n]
    wrong = group != "rest"
    evaluation = Evaluation(
        rng.normal(size=(n, 2)),
        labels=np.zeros(n, int),
        predictions=wrong.astype(int),
        metadata={"group": group, "one": np.arange(n) % 2},
        class_names=["a", "b"],
    )
    finder = SliceLine(alpha=1.0, max_predicates=1, progress=False).fit(evaluation)
    assert finder.min_support_ == support
    found = [one.rule for one in finder.slices(evaluation)]
    assert ("group == 'just enough'" in found) == (n > 40)
    assert "group == 'one less'" not in found


@pytest.mark.parametrize("alpha", [0.5, 0.95])
@pytest.mark.parametrize(("n", "m", "n_values"), [(60, 4, 3), (14, 6, 5), (9, 9, 4)])
def test_no_slice_scores_above_the_bound_of_what_it_extends(n, m, n_values, alpha):
    n_bounds = n_tight = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        codes, _ = coded(rng.integers(0, n_values, (n, m)))
        errors = rng.integers(0, 3, n) / 2 if seed % 2 else (rng.random(n) < 0.3).astype(float)
        score = Score(n, float(errors.sum()), alpha, min_support=2)
        slices = {key: member for key, member in conjunctions(codes, 3).items() if member.sum() >= 2}
        for key, member in slices.items():
            own = score_of(member, errors, alpha)
            assert score(np.array(member.sum()), np.array(errors[member].sum())) == pytest.approx(own, abs=1e-8)
            for level in range(1, len(key)):
                for part in combinations(key, level):
                    parent = slices[part]
                    if not errors[parent].any():  # never extended
                        continue
                    facts = parent.sum(), errors[parent].sum(), errors[parent].max()
                    (bound,) = score.bound(*(np.array([float(fact)]) for fact in facts))
                    assert own <= bound + 1e-8
                    n_bounds, n_tight = n_bounds + 1, n_tight + (own > bound - 1e-8)
    assert n_bounds > 100
    assert n_tight > 0


RIGHT = Score.bound


def bound_that_takes_for_rows(n):
    """The bound with another number where that of the rows belongs, in the price of a small size."""

    def bound(score, *facts):
        return RIGHT(Score(n, score.total * n / score.n, score.alpha, score.min_support), *facts)

    return bound


@pytest.mark.parametrize("seed", range(4))
def test_more_predicates_than_rows_prune_nothing_that_counts(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    n, alpha = 24, 0.6
    values = np.column_stack([rng.integers(0, 2, (n, 3)), rng.integers(0, 12, (n, 6))])
    errors = ((values[:, 0] == 1) & (values[:, 1] == 1)).astype(float)
    codes, n_predicates = coded(values)
    assert n_predicates > 2 * n
    rules = [f"p{number:03d}" for number in range(n_predicates)]
    settings = {"k": 3, "alpha": alpha, "min_support": 3, "max_predicates": 3}
    found = best_conjunctions(codes, errors, rules, **settings)
    scores = {  # each set of rows counts once
        member.tobytes(): score_of(member, errors, alpha)
        for member in conjunctions(codes, 3).values()
        if member.sum() >= 3
    }
    best = [score for score in sorted(scores.values(), reverse=True) if score > 1e-9][:3]
    np.testing.assert_allclose([one.score for one in found], best, atol=1e-8)
    assert found[0].predicates == (1, 3)  # both of the first two columns
    assert found[0].score == pytest.approx(score_of(errors > 0, errors, alpha))

    monkeypatch.setattr(Score, "bound", bound_that_takes_for_rows(n_predicates))
    assert best_conjunctions(codes, errors, rules, **settings) != found
    monkeypatch.setattr(Score, "bound", bound_that_takes_for_rows(n))
    assert best_conjunctions(codes, errors, rules, **settings) == found
