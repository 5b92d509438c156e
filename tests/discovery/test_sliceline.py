"""SliceLine: exact against brute force, the score by hand, predicates of every kind of column, the obvious case."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from discovery_cases import planted
from hypothesis import given, settings
from hypothesis import strategies as st

from failviz.discovery.lattice import Score, best_conjunctions
from failviz.discovery.predicates import Between, Column, Equals, Missing, predicates_of
from failviz.discovery.sliceline import SliceLine
from failviz.evaluation import Evaluation
from failviz.verification import verify


def table(metadata, wrong, losses=None):
    """An Evaluation of one class with these facts, wrong where told."""
    wrong = np.asarray(wrong, dtype=int)
    x = np.random.default_rng(0).normal(size=(len(wrong), 3))
    names = ["a", "b"]
    return Evaluation(
        x, labels=np.zeros_like(wrong), predictions=wrong, losses=losses, metadata=metadata, class_names=names
    )


def fitted(metadata, wrong, **settings):
    return SliceLine(**{"min_support": 1, "progress": False, **settings}).fit(table(metadata, wrong))


def rules(finder):
    return [" and ".join(predicate.rule for predicate in rule) for rule in finder.rules_]


def random_table(seed, n, m, n_values, is_repetitive):
    """Text columns, some of them copies of or implied by others when `is_repetitive`."""
    rng = np.random.default_rng(seed)
    columns = {f"c{j}": rng.integers(0, rng.integers(1, n_values + 1), n) for j in range(m)}
    if is_repetitive:
        for j in range(1, m, 2):
            columns[f"c{j}"] = columns[f"c{j - 1}"] // rng.integers(1, 3)
    return {name: np.array(list("uvwx"), dtype=object)[values] for name, values in columns.items()}, rng


def by_brute_force(metadata, errors, *, k, alpha, min_support, max_predicates):
    """(score, size, rule) of the best k, by measuring every conjunction."""
    best, n = {}, len(errors)
    for level in range(1, max_predicates + 1):
        for names in combinations(metadata, level):
            for values in product(*(sorted(set(metadata[name])) for name in names)):
                member = np.logical_and.reduce([metadata[c] == v for c, v in zip(names, values, strict=True)])
                size = int(member.sum())
                if size < min_support or errors.mean() == 0:
                    continue
                score = alpha * (errors[member].mean() / errors.mean() - 1) - (1 - alpha) * (n / size - 1)
                rule = " and ".join(f"{c} == {v!r}" for c, v in zip(names, values, strict=True))
                key = (-np.round(score, 9), -size, level, rule)
                if key[0] < 0:
                    best[member.tobytes()] = min(best.get(member.tobytes(), key), key)
    return [(-key[0], -key[1], key[3]) for key in sorted(best.values())[:k]]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(40, 4, 4), (12, 5, 2), (80, 3, 4), (6, 9, 3), (5, 8, 2), (30, 1, 4)]),
    alpha=st.sampled_from([0.3, 0.5, 0.8, 0.95, 1.0]),
    min_support=st.sampled_from([1, 2, 4, 10]),
    max_predicates=st.integers(1, 4),
    k=st.sampled_from([1, 2, 5, 20]),
    kind=st.sampled_from(["wrong", "rarely wrong", "loss", "tied losses"]),
    is_repetitive=st.booleans(),
)
def test_search_is_exact(seed, shape, alpha, min_support, max_predicates, k, kind, is_repetitive):
    metadata, rng = random_table(seed, *shape, is_repetitive)
    wrong = rng.random(shape[0]) < (0.1 if kind == "rarely wrong" else 0.4)
    losses = rng.gamma(0.5, size=shape[0]) if kind == "loss" else rng.integers(0, 4, shape[0]) / 4
    errors = "loss" if kind.endswith(("loss", "losses")) else "wrong"
    finder = SliceLine(k, alpha, min_support, max_predicates, errors=errors, progress=False)
    evaluation = table(metadata, wrong, losses)
    expected = by_brute_force(
        metadata,
        losses if errors == "loss" else wrong,
        k=k,
        alpha=alpha,
        min_support=min_support,
        max_predicates=max_predicates,
    )
    found = finder.fit(evaluation).slices(evaluation)
    assert rules(finder) == [rule for _, _, rule in expected] == [one.rule for one in found]
    assert [len(one) for one in found] == [size for _, size, _ in expected]
    np.testing.assert_allclose(finder.scores_, [score for score, _, _ in expected], atol=1e-8)


def test_score_by_hand():
    # 5 of 20 rows hold 3 of 4 errors: 0.9 (0.6 / 0.2 - 1) - 0.1 (20 / 5 - 1) = 1.5
    here, wrong = np.arange(20) < 5, np.isin(np.arange(20), [0, 1, 2, 19])
    finder = fitted({"place": np.where(here, "here", "there")}, wrong, alpha=0.9)
    assert finder.scores_.tolist() == [1.5]
    stats = finder.slices(table({"place": ["here"]}, [0]))[0].stats
    facts = {"fit_n": 5, "fit_errors": 3, "fit_error_rate": 0.6, "fit_score": 1.5, "fit_predicates": 1}
    assert stats == facts
    # The same with losses: 2 in the slice on average, 1 in all.
    losses = np.where(here, 2.0, 2 / 3)
    evaluation = table({"place": np.where(here, "here", "there")}, wrong, losses)
    finder = SliceLine(alpha=0.9, min_support=5, errors="loss").fit(evaluation)
    assert finder.scores_ == pytest.approx([0.9 * 1 - 0.1 * 3])
    assert finder.slices(evaluation)[0].stats["fit_mean_loss"] == 2.0


@pytest.mark.parametrize("alpha", [0.2, 0.6, 0.95, 1.0])
@pytest.mark.parametrize(("size", "error", "largest"), [(30, 12.0, 1.0), (30, 2.5, 0.5), (9, 40.0, 3.0), (5, 0.1, 7.0)])
def test_bound_is_reached_and_never_exceeded(alpha, size, error, largest):
    score = Score(n=100, total=20.0, alpha=alpha, min_support=4)
    sizes = np.linspace(4, size, 20_001)
    best = score(sizes, np.minimum(error, sizes * largest)).max()
    bound = score.bound(*(np.array([float(value)]) for value in (size, error, largest)))[0]
    assert best <= bound <= best + 1e-3
    assert score.bound(np.array([3.0]), np.array([error]), np.array([largest]))[0] == -np.inf


def test_result_does_not_depend_on_the_order_of_sums():
    """Added one by one as they come, 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1."""
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, 3, 300), 3 + rng.integers(0, 3, 300), 6 + rng.integers(0, 2, 300)])
    errors = rng.integers(0, 10, 300) / 10
    given = {"k": 8, "alpha": 1.0, "min_support": 5, "max_predicates": 3}
    first = best_conjunctions(codes, errors, list("abcdefgh"), **given)
    assert len(first) == 8
    for _ in range(5):
        order = rng.permutation(300)
        assert best_conjunctions(codes[order], errors[order], list("abcdefgh"), **given) == first


def test_planted_slice_is_found_and_confirmed_on_unseen_rows():
    rng = np.random.default_rng(0)
    n = 3000
    metadata = {
        "ground": rng.choice(["grass", "sand", "snow"], n),
        "light": rng.choice(["day", "night"], n),
        "size": rng.normal(size=n),
    }
    here = (metadata["ground"] == "grass") & (metadata["light"] == "night")
    train, test = table(metadata, rng.random(n) < np.where(here, 0.5, 0.05)).split(0.5, random_state=0)
    finder = SliceLine(n_slices=1, progress=False).fit(train)
    assert rules(finder) == ["ground == 'grass' and light == 'night'"]
    assert finder.min_support_ == 32
    assert verify(finder, test).confirmed
    with pytest.raises(ValueError, match="used to find"):
        verify(finder, train)


def test_shared_case_is_found():
    first, second = planted(1200)[0].split(0.5, random_state=0)
    one = SliceLine(n_slices=1, progress=False).fit(first).slices(second)[0]
    assert (one.name, one.rule, one.method) == ("ground is grass", "ground == 'grass'", "metadata rule")


def test_the_same_members_are_found_once():
    wrong = np.arange(40) < 10
    place = np.where(np.arange(40) < 12, "here", "there")
    metadata = {"b": place, "a": place, "half": np.where(np.arange(40) < 12, "left", "right")}
    finder = fitted(metadata, wrong, n_slices=10)
    assert rules(finder) == ["a == 'here'"]


def test_scores_tell_near_misses_from_far_ones():
    wrong = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    metadata = {"a": list("xxxxyyyy"), "b": list("uuvvuuvv")}
    finder = fitted(metadata, wrong, n_slices=1, alpha=1.0)
    evaluation = table({"a": list("xxyz"), "b": list("uvuw")}, [0, 0, 0, 0])
    assert finder.decision_function(evaluation).tolist() == [[1.0], [-0.5], [-0.5], [-1.0]]
    assert finder.slices(evaluation)[0].weights.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("wrong", [np.zeros(50), np.ones(50)])
def test_no_difference_gives_no_slice(wrong):
    finder = fitted({"a": np.arange(50) % 2}, wrong)
    evaluation = table({"other": np.arange(3)}, np.zeros(3))
    assert finder.rules_ == [] == finder.slices(evaluation)
    assert finder.decision_function(evaluation).shape == (3, 0)
    assert finder.score(evaluation) == 1.0


def test_fewer_rows_than_the_support_give_no_slice():
    assert fitted({"a": list("xxy")}, [1, 0, 0], min_support=None).rules_ == []


# -- predicates ------------------------------------------------------------------------------


def predicates(values, n_bins=4):
    """The predicates of one column, having checked that exactly the coded one holds of each row."""
    column = Column.of(pd.Series(values), "it")
    found, codes = predicates_of(column, n_bins)
    held = np.column_stack([predicate.holds(column) for predicate in found])
    assert (held.sum(axis=1) == 1).all()
    assert (held.argmax(axis=1) == codes).all()
    assert held.any(axis=0).all()
    assert len({predicate.rule for predicate in found}) == len(found)
    return found


def test_numbers_are_cut_at_quantiles_into_open_ended_bins():
    found = predicates(np.arange(100.0))
    expected = ["it <= 24", "24 < it <= 49", "49 < it <= 74", "it > 74"]
    assert [predicate.rule for predicate in found] == expected
    assert [predicate.name for predicate in found] == ["it up to 24", "it 24 to 49", "it 49 to 74", "it above 74"]
    far = Column.of(pd.Series([-np.inf, -1e9, 24.0, 24.5, 49.0, np.inf]), "it")
    assert found[0].holds(far).tolist() == [True, True, True, False, False, False]
    assert found[1].holds(far).tolist() == [False, False, False, True, True, False]
    assert found[3].holds(far).tolist() == [False, False, False, False, False, True]


def test_edges_have_no_more_digits_than_they_need():
    values = np.array([0.1234567, 0.13987, 2.3456, 2.9876, 123.456, 456.789], dtype=np.float32)
    assert [p.rule for p in predicates(values, n_bins=3)] == ["it <= 1", "1 < it <= 60", "it > 60"]
    assert predicates([1.0, 1.0 + 2e-16, 5.0], n_bins=2)[0].rule == "it <= 3"


@pytest.mark.parametrize("most", ["first", "last", "infinite", "tiny"])
def test_repeated_and_extreme_numbers_leave_no_bin_empty(most):
    rare = np.arange(1, 11) / 10
    values = {
        "first": np.r_[np.zeros(200), rare],
        "last": np.r_[np.full(200, 7.0), rare],
        "infinite": np.r_[np.full(50, np.inf), np.full(50, -np.inf), rare, 1e308, -1e308],
        "tiny": np.r_[rare * 5e-323, -5e-324],
    }[most]
    found = predicates(values)
    assert 2 <= len(found) <= 4
    assert all(np.isfinite([end for end in (p.low, p.high) if end is not None]).all() for p in found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32) | st.integers(-9, 9).map(float), min_size=1, max_size=40),
    st.integers(2, 6),
)
def test_each_number_has_one_predicate(values, n_bins):
    if not np.isnan(values).all():
        assert len(predicates(values, n_bins)) <= n_bins + 1


def test_few_numbers_are_equalities():
    found = predicates([3, 1, 2, 1, 1])
    assert found == [Equals("it", 1), Equals("it", 2), Equals("it", 3)]
    assert [(p.name, p.rule) for p in predicates(np.array([0.1, 2.5], dtype=np.float32))] == [
        ("it is 0.1", "it == 0.10000000149011612"),
        ("it is 2.5", "it == 2.5"),
    ]


def test_missing_is_a_value_of_its_own():
    assert predicates(["missing", None, "there"])[-1] == Missing("it")
    assert [p.rule for p in predicates(["missing", None])] == ["it == 'missing'", "it is missing"]
    assert [p.name for p in predicates([1.0, np.nan, 2.0])] == ["it is 1", "it is 2", "it is missing"]
    assert predicates(pd.array([True, None, False], dtype="boolean"))[0].name == "it is False"
    assert predicates(pd.array([1, None], dtype="Int64")) == [Equals("it", 1), Missing("it")]
    undefined = pd.Series([0.0, 1.0], dtype="Float64") / 0
    assert [p.rule for p in predicates(undefined)] == ["it == inf", "it is missing"]


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a", "b"],
        pd.array(["b", "a", None], dtype="string"),
        pd.Categorical([2, 1, 1], categories=[1, 2, 3]),
        [True, False, True],
        [(1, 2), (3, 4), (1, 2)],
        [1, "1", 2.5],
        [b"x", b"y", b"x"],
    ],
    ids=["text", "string", "category", "bool", "tuples", "mixed", "bytes"],
)
def test_anything_with_names_can_be_told_apart(values):
    assert len(predicates(values, n_bins=2)) == len(pd.Series(values).astype(object).unique())


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_dates_are_ordered_like_numbers(zone):
    days = pd.Series(pd.date_range("2024-03-01", periods=40, tz=zone))
    found = predicates(days, n_bins=2)
    assert all(isinstance(predicate, Between) for predicate in found)
    if zone is None:
        assert [p.rule for p in found] == ["it <= 2024-03-20", "it > 2024-03-20"]
        assert predicates(days.dt.date.tolist(), n_bins=2) == found
    assert predicates(days.iloc[[0, 1, 0]])[0].rule.startswith("it == 2024-0")
    later = days + pd.Timedelta(hours=1, microseconds=5)
    assert predicates(later, n_bins=2)[0].rule.endswith(":00:00.000005")
    assert predicates([pd.Timestamp("2024-03-01"), pd.NaT])[-1] == Missing("it")


def test_values_that_the_fit_has_not_seen():
    """An unknown category satisfies no equality; a number falls between the edges of the fit."""
    finder = fitted({"kind": pd.Categorical(list("aabb") * 5)}, [1, 1, 0, 0] * 5, n_slices=1)
    other = table({"kind": ["a", "c", None, "b"]}, np.zeros(4))
    assert finder.slices(other)[0].is_member.tolist() == [True, False, False, False]
    nothing = table({"kind": [None, np.nan]}, np.zeros(2))
    assert not finder.slices(nothing)[0].is_member.any()
    finder = fitted({"size": np.arange(20)}, np.arange(20) < 5, n_slices=1, n_bins=4)
    assert rules(finder) == ["size <= 4"]
    other = table({"size": [-100.0, 4.0, 4.5, np.nan]}, np.zeros(4))
    assert finder.slices(other)[0].is_member.tolist() == [True, True, False, False]


def test_columns_without_predicates_are_left_out_with_the_reason():
    metadata = {
        "place": list("ab") * 50,
        "file": [f"{i}.jpg" for i in range(100)],
        "tags": [["x"]] * 100,
        "gone": [None] * 100,
        "same": ["one"] * 100,
    }
    finder = fitted(metadata, np.arange(100) % 2)
    assert finder.columns_ == ["place", "same"]
    assert finder.left_out_ == {
        "file": "holds 100 different values, more than max_categories=50",
        "tags": "does not hold single values (unhashable type: 'list')",
        "gone": "holds no values",
    }
    assert rules(finder) == ["place == 'b'"]
    named = fitted(metadata, np.arange(100) % 2, columns=["same"])
    assert named.columns_ == ["same"]
    assert named.rules_ == []
    assert fitted(metadata, np.arange(100) % 2, max_categories=100, n_slices=1).columns_[1] == "file"


@pytest.mark.parametrize(
    ("columns", "metadata", "words"),
    [
        (["light"], {"a": [1, 2]}, "columns names 'light', and the metadata columns are 'a'"),
        (["a"], {"a": [None, None]}, "columns names what SliceLine cannot use: 'a' holds no values"),
        (None, {"a": [{}, {}]}, "needs a metadata column to make rules of: 'a' does not hold single values"),
        (None, {}, "needs a metadata column to make rules of: there are no columns"),
        ([], {"a": [1, 2]}, "needs a metadata column to make rules of: there are no columns"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(columns, metadata, words):
    with pytest.raises(ValueError, match=words):
        fitted(metadata, [0, 1], columns=columns)


def test_other_evaluations_need_the_columns_that_rules_read():
    finder = fitted({"kind": list("aabb") * 5, "size": range(20)}, [1, 1, 0, 0] * 5, n_slices=1)
    assert len(finder.slices(table({"kind": ["a", "b"]}, [0, 0]))[0]) == 1
    with pytest.raises(ValueError, match="rules over metadata 'kind', which this Evaluation lacks"):
        finder.slices(table({"size": [1, 2]}, [0, 0]))
    with pytest.raises(ValueError, match="'kind' holds numbers, and in the fit of SliceLine it held text"):
        finder.slices(table({"kind": [1, 2]}, [0, 0]))
    with pytest.raises(ValueError, match="SliceLine needs metadata"):
        finder.slices(table(None, [0, 0]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_slices": 0}, "n_slices must be a whole number of at least 1, not 0"),
        ({"min_support": 0}, "min_support must"),
        ({"min_support": 0.1}, "min_support must"),
        ({"max_predicates": "all"}, "max_predicates must"),
        ({"n_bins": 1}, "n_bins must be a whole number of at least 2"),
        ({"max_categories": None}, "max_categories must"),
        ({"alpha": 0}, "alpha must"),
        ({"alpha": 1.01}, "alpha must"),
        ({"alpha": np.nan}, "alpha must"),
        ({"alpha": "high"}, "alpha must"),
        ({"errors": "all"}, 'errors must be "wrong" or "loss"'),
    ],
)
def test_wrong_settings_are_refused_at_fit(settings, words):
    with pytest.raises(ValueError, match=words) as refusal:
        SliceLine(**settings).fit(planted()[0])
    assert "\n" not in str(refusal.value)


def test_losses_are_needed_and_must_not_be_negative():
    with pytest.raises(ValueError, match="needs losses, and this Evaluation has none"):
        SliceLine(errors="loss").fit(table({"a": [1, 2]}, [0, 1]))
    with pytest.raises(ValueError, match="losses of 0 or more"):
        SliceLine(errors="loss").fit(table({"a": [1, 2]}, [0, 1], losses=[-1.0, 1.0]))
    with pytest.raises(TypeError, match="columns must be a list"):
        SliceLine(columns="a").fit(table({"a": [1, 2]}, [0, 1]))
