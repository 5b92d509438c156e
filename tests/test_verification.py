from dataclasses import replace

import numpy as np
import pytest

from failviz import Evaluation, FailureDirections, Slice, verify
from failviz._fingerprints import recognised
from failviz._statistics import stratified_hypergeometric
from failviz.discovery.base import SliceFinder
from failviz.verdicts import Verdicts
from failviz.verification import GAP_WORTH_FINDING, measure, share_seen


def world(seed=0, n=900, gap=0.5):
    """Three classes; examples of class 1 whose first coordinate is positive fail `gap` more often."""
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, 3)), np.arange(n) % 3
    base = np.array([0.1, 0.2, 0.5])[labels]
    wrong = rng.random(n) < base + gap * ((labels == 1) & (x[:, 0] > 0))
    return Evaluation(x, labels=labels, predictions=(labels + wrong) % 3)


def group(ev, member, scope="all", **facts):
    return Slice.of(ev, scores=member * 1.0, weights=member * 1.0, scope=scope, name="group", method="test", **facts)


def test_a_true_slice_is_confirmed_and_its_numbers_are_counts():
    ev = world()
    member = (ev.labels == 1) & (ev.space()[:, 0] > 0)
    (v,) = verify(group(ev, member, ("label", 1)), ev)
    rest = (ev.labels == 1) & ~member
    assert v.confirmed and v.n == member.sum() and v.n_errors == ev.errors[member].sum() and v.rest_n == rest.sum()
    assert v.class_error_rate == pytest.approx(ev.errors[rest].mean())
    assert v.low < v.error_rate < v.high and v.lift == pytest.approx(v.error_rate / v.class_error_rate)
    assert v.needs is None and v.words == "confirmed"


def test_a_hard_class_is_not_a_slice_over_all_classes():
    ev = world(gap=0.0)
    rng = np.random.default_rng(1)
    member = (ev.labels == 2) & (rng.random(len(ev)) < 0.5)  # errors 50%, as every example of class 2
    (v,) = verify(group(ev, member), ev)
    assert not v.confirmed and abs(v.error_rate - v.class_error_rate) < 0.15


def test_errors_without_cause_are_confirmed_at_most_at_the_level():
    confirmed = 0
    for seed in range(60):
        ev = world(seed=seed, n=300, gap=0.0)
        rng = np.random.default_rng(1000 + seed)
        groups = [group(ev, rng.random(300) < 0.2, ("label", c)) for c in range(3)]
        groups += [group(ev, rng.random(300) < 0.1) for _ in range(3)]
        confirmed += any(v.confirmed for v in verify(groups, ev, q=0.1))
    assert confirmed <= 12  # 60 runs at 10%: six expected


def test_a_slice_too_small_to_decide_says_how_many_more():
    ev = world(gap=0.3)
    rows = np.flatnonzero((ev.labels == 1) & (ev.space()[:, 0] > 0))
    wrong, right = rows[ev.errors[rows]][:3], rows[~ev.errors[rows]][:3]
    member = np.isin(np.arange(len(ev)), [*wrong, *right])
    (v,) = verify(group(ev, member, ("label", 1)), ev, q=0.05)
    assert not v.confirmed and v.needs and v.words == f"needs about {v.needs:,} more"


def test_rows_alike_by_chance_are_left_out_of_a_small_test_and_do_not_forbid_it():
    """Raw columns of unlike size: two rows of 569 that differ in the small ones have one fingerprint."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    rows, labels = data.data, data.target
    predictions = np.where(np.arange(569) % 3 == 0, 1 - labels, labels)
    ev = Evaluation(rows, labels=labels, predictions=predictions)
    fit, held = ev.take(np.arange(150, 360)), ev.take(np.arange(516, 542))
    is_seen = recognised(held.row_fingerprints(), fit.row_fingerprints()).is_seen
    assert held.ids[is_seen].tolist() == ["533"]
    one = group(held, held.labels == 1, ("label", 1), seen={"embedding": fit.row_fingerprints()})
    (v,) = verify(one, held)
    assert "1 example is left out, as identical (or nearly)" in v.caution
    copies = ev.take(np.r_[np.arange(356, 360), np.arange(516, 538)])  # four of 26 that were seen
    with pytest.raises(ValueError, match="19% of these examples are identical"):
        verify(group(copies, copies.labels == 1, seen={"embedding": fit.row_fingerprints()}), copies)


def test_rows_that_chose_the_slice_cannot_test_it():
    ev = world()
    fit, held = ev.split(0.5, random_state=0)
    seen = {"embedding": fit.row_fingerprints()}
    mask = lambda e: (e.labels == 1) & (e.space()[:, 0] > 0)  # noqa: E731
    with pytest.raises(ValueError, match="100% of these examples are identical to examples used to find 'group'"):
        verify(group(fit, mask(fit), seen=seen), fit)
    with pytest.raises(ValueError, match="50% of these"):
        verify(group(ev, mask(ev), seen=seen), ev)
    assert verify(group(held, mask(held), seen=seen), held)[0].confirmed
    assert measure(group(fit, mask(fit), seen=seen), fit)[0].words == "seen while searching"


def test_drawn_and_outcome_reading_slices_are_shown_and_never_confirmed():
    ev = world()
    drawn = Slice.drawn(ev, ev.ids[ev.errors])
    reads = group(ev, ev.errors, uses_outcome=True)
    good = group(ev, (ev.labels == 1) & (ev.space()[:, 0] > 0), ("label", 1))
    verdicts = verify([drawn, reads, good], ev)
    assert [v.confirmed for v in verdicts] == [False, False, True]
    assert [v.words for v in verdicts] == ["drawn on these data", "reads the outcome", "confirmed"]
    assert np.isnan(verdicts[0].p) and verdicts[2].p == verdicts[2].q  # only one slice was tested
    assert verdicts.confirmed == [good]


def test_defined_answers_at_the_edges():
    ev = world()
    nobody, everybody = group(ev, np.zeros(len(ev))), group(ev, np.ones(len(ev)))
    empty, whole = verify([nobody, everybody], ev)
    assert empty.n == 0 and np.isnan(empty.error_rate) and empty.p == 1 and (empty.low, empty.high) == (0, 1)
    assert whole.p == 1 and np.isnan(whole.class_error_rate) and not whole.confirmed
    perfect = Evaluation(np.eye(4), labels=[0, 1, 0, 1], predictions=[0, 1, 0, 1])
    (v,) = verify(group(perfect, np.array([1, 0, 0, 0])), perfect)
    assert v.error_rate == 0 and not v.confirmed and v.needs is None
    assert len(verify([], ev)) == 0 and repr(verify([], ev)) == "no slices"


def test_refusals_are_sentences():
    ev = world()
    with pytest.raises(ValueError, match="belongs to another Evaluation"):
        verify(group(ev, np.ones(len(ev))), ev.take(np.arange(5)))
    with pytest.raises(ValueError, match="strictly between"):
        verify([], ev, q=1.5)
    with pytest.raises(TypeError, match="fitted finder or slices"):
        verify(3, ev)
    with pytest.raises(ValueError, match="judging a slice needs labels"):
        bare = Evaluation(np.eye(3))
        verify(group(bare, np.array([1, 0, 0])), bare)
    with pytest.raises(TypeError, match="not the class FailureDirections"):
        verify(FailureDirections, ev)
    with pytest.raises(TypeError, match="slices or their finder first, and then the Evaluation: these are swapped"):
        verify(world(), group(world(), np.ones(len(world()))))
    with pytest.raises(TypeError, match="verify judges slices on an Evaluation, not NoneType"):
        verify(group(ev, np.ones(len(ev))), None)


def test_tables_for_people_and_for_code():
    ev = world()
    verdicts = verify(group(ev, (ev.labels == 1) & (ev.space()[:, 0] > 0), ("label", 1)), ev)
    columns = [
        "slice",
        "method",
        "n",
        "error_rate",
        "shrunken_rate",
        "class_error_rate",
        "lift",
        "low",
        "high",
        "p",
        "q",
    ]
    assert list(verdicts.to_frame().columns) == [*columns, "stability", "confirmed", "needs"]
    assert "confirmed" in repr(verdicts) and "<table" in verdicts._repr_html_()
    named = verify(group(ev, ev.errors * 0 == 1).renamed("<b>x</b>"), ev)
    assert "<b>x</b>" not in named._repr_html_()


def test_the_models_own_layer_is_said_beside_the_verdict():
    ev = world()
    seen = {"backbone": np.zeros((1, 3), dtype=np.uint64)}
    for layers, said in (("backbone",), True), ((), False):
        of_model = Evaluation(
            {"backbone": ev.space()}, labels=ev.labels, predictions=ev.predictions, model_spaces=layers
        )
        verdicts = verify(group(of_model, of_model.labels == 1, seen=seen), of_model)
        assert ("model's own layer" in repr(verdicts)) == said


# -- rows that the search has seen -------------------------------------------------------------


def test_the_few_rows_seen_are_left_out_of_members_and_scope():
    ev = world(n=900)
    rows = np.flatnonzero(ev.errors & (ev.labels == 2))[:8]  # under 1% of the data, half of the slice
    member = np.isin(np.arange(900), [*rows, *np.flatnonzero((ev.labels == 2) & ev.correct)[:8]])
    seen = {"embedding": ev.take(rows).row_fingerprints()}
    for scope, size in (("all", 900), (("label", 2), 300)):
        (v,) = verify(group(ev, member, scope, seen=seen), ev)
        assert (v.n, v.n_errors, v.rest_n) == (8, 0, size - 16)
        assert "8 examples are left out" in v.caution
        assert verify(group(ev, member, scope), ev)[0].n == 16


@pytest.mark.parametrize("d", [2, 96, 512])
def test_rounded_copies_are_known_again_and_other_rows_are_not(d):
    rng = np.random.default_rng(d)
    x = rng.normal(size=(1000, d)).astype(np.float32)
    noisy = x * (1 + 1e-5 * rng.normal(size=x.shape)).astype(np.float32)
    outcome = {"labels": np.zeros(1000, int), "predictions": np.arange(1000) % 2}
    seen = {"embedding": Evaluation(x).row_fingerprints()}
    for copy in (x, x.astype(np.float16), noisy):
        ev = Evaluation(copy, **outcome)
        one = group(ev, np.arange(1000) < 300, seen=seen)
        assert share_seen(one, ev) > 0.985
        with pytest.raises(ValueError, match="identical to examples used to find"):
            verify(one, ev)
    fresh = Evaluation(rng.normal(size=(1000, d)).astype(np.float32), **outcome)
    one = group(fresh, np.arange(1000) < 300, seen=seen)
    assert share_seen(one, fresh) <= 0.001 and verify(one, fresh)[0].n >= 298
    assert d == 2 or verify(one, fresh)[0].caution == ""


def test_rows_of_zeros_and_of_any_length_have_fingerprints():
    odd = np.array([[0, 0], [1e-30, 0], [3e38, -3e38], [1, 2], [2, 4]], dtype=np.float32)
    prints = Evaluation(odd).row_fingerprints()
    assert all(len(np.unique(column)) == 5 for column in prints.T)
    assert np.array_equal(prints[2:4], Evaluation(odd[2:4]).row_fingerprints())


TABLES = {
    "five columns of three values": lambda rng, n: rng.integers(0, 3, (n, 5)),
    "one-hot": lambda rng, n: np.eye(7)[rng.integers(0, 7, n)],
    "dead units": lambda rng, n: rng.normal(size=(n, 8)) * (rng.random(n) < 0.7)[:, None],
    "two hundred rows again and again": lambda rng, n: np.arange(200)[rng.integers(0, 200, (n, 1))] + np.ones(2),
}


@pytest.mark.parametrize("n_fit", [60, 200, 600, 3000])
@pytest.mark.parametrize("name", TABLES)
def test_rows_that_repeat_by_nature_are_not_taken_for_seen(name, n_fit):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        fit, test = (Evaluation(TABLES[name](rng, n)) for n in (n_fit, 500))
        ev = Evaluation(test.space(), labels=np.zeros(500, int), predictions=rng.integers(0, 2, 500))
        (v,) = verify(group(ev, rng.random(500) < 0.3, seen={"embedding": fit.row_fingerprints()}), ev)
        if n_fit >= 200:  # with fewer rows, some repeat too seldom to be blind and are left out instead
            assert ("cannot be told" in v.caution) == (name != "dead units")


def test_a_copy_is_seen_through_repeated_rows():
    rng = np.random.default_rng(0)
    x = TABLES["dead units"](rng, 500)
    ev = Evaluation(x, labels=np.zeros(500, int), predictions=rng.integers(0, 2, 500))
    with pytest.raises(ValueError, match="used to find"):
        verify(group(ev, np.arange(500) < 100, seen={"embedding": ev.row_fingerprints()}), ev)


def test_finders_remember_fingerprints_whatever_the_order():
    class Nothing(SliceFinder):
        def fit(self, evaluation):
            self._start_fit(evaluation)
            return self

        def decision_function(self, evaluation):
            return np.empty((evaluation.n_examples, 0))

        def slices(self, evaluation):
            return []

    ev = world()
    shuffled = ev.take(np.random.default_rng(0).permutation(len(ev)))
    assert np.array_equal(Nothing().fit(ev).seen_rows_, Nothing().fit(shuffled).seen_rows_)
    assert len(Nothing().fit(ev).seen_rows_) == len(ev)


# -- what is compared --------------------------------------------------------------------------


def test_a_slice_that_is_a_whole_class_is_compared_with_nothing():
    ev = world()
    (v,) = verify(group(ev, ev.labels == 2), ev)
    assert v.p == 1 and np.isnan(v.lift) and np.isnan(v.class_error_rate)
    assert v.needs is None and v.words == "not confirmed"


def test_labels_without_a_rest_count_in_neither_rate():
    ev = world()
    few = (ev.labels == 0) & (np.arange(900) < 150)
    (v,) = verify(group(ev, (ev.labels == 2) | few), ev)
    rest = (ev.labels == 0) & ~few
    assert v.class_error_rate == pytest.approx(ev.errors[rest].mean())
    assert v.lift == pytest.approx(ev.errors[few].mean() / ev.errors[rest].mean())
    assert v.n == 350 and "300 members are compared with nothing" in v.caution


def test_no_number_of_examples_is_named_on_noise_of_ample_size():
    for seed in range(20):
        ev = world(seed=seed, n=3000, gap=0.0)
        member = np.random.default_rng(seed).random(3000) < 0.4
        assert all(v.needs is None for v in verify([group(ev, member), group(ev, member, ("label", 1))], ev))


def test_the_number_that_is_named_has_eighty_percent_power():
    rest_rate, n_rest, alpha = 0.2, 400, 0.05
    for wrong, n in (7, 20), (5, 20):  # 15 and 5 points above the rest: the second is asked to show 10
        labels = np.zeros(n + n_rest, int)
        errors = np.concatenate([np.arange(n) < wrong, np.arange(n_rest) < rest_rate * n_rest])
        ev = Evaluation(np.random.default_rng(0).normal(size=(len(labels), 2)), labels=labels, predictions=errors * 1)
        (v,) = verify(group(ev, np.arange(len(labels)) < n, ("label", 0)), ev, q=alpha)
        assert not v.confirmed and v.words == f"needs about {v.needs:,} more"
        gap = max(GAP_WORTH_FINDING, wrong / n - rest_rate)
        m, r = n + v.needs, round(n_rest * (n + v.needs) / n)
        rng = np.random.default_rng(1)
        inside, outside = rng.binomial(m, rest_rate + gap, 1500), rng.binomial(r, rest_rate, 1500)
        counts = (np.array([x]) for x in (m, m + r))
        n_in, n_all = counts
        p = [
            stratified_hypergeometric(i[None], n_in, (i + o)[None], n_all) for i, o in zip(inside, outside, strict=True)
        ]
        assert 0.76 < np.mean(np.array(p) <= alpha) < 0.86


# -- the family of tests -----------------------------------------------------------------------


def test_any_dependence_can_be_allowed_for():
    ev = world(gap=0.2)
    rng = np.random.default_rng(3)
    hard = (ev.labels == 1) & (ev.space()[:, 0] > 0)
    groups = [group(ev, hard & (rng.random(900) < share), ("label", 1)) for share in (0.3, 0.6, 0.9)]
    groups.insert(1, Slice.drawn(ev, ["0"]))
    bh, by = verify(groups, ev), verify(groups, ev, method="by")
    assert np.isnan(by[1].q) and [v.p for v in bh if v.p == v.p] == [v.p for v in by if v.p == v.p]
    for one, other in zip(bh, by, strict=True):
        assert np.isnan(one.q) or other.q == pytest.approx(min(1, one.q * 11 / 6))
    with pytest.raises(ValueError, match="'bonferroni'"):
        verify(groups, ev, method="bonferroni")


def test_a_slice_without_a_record_of_what_chose_it_is_never_silently_confirmed():
    ev = world()
    (v,) = verify(group(ev, ev.errors), ev)
    assert v.confirmed and "which examples led to it is not recorded" in v.caution
    assert "is not recorded" in verify(group(ev, ev.errors), ev)._repr_html_()


def test_weights_are_not_used_and_the_verdict_says_so():
    ev = world()
    member = (ev.labels == 1) & (ev.space()[:, 0] > 0)
    heavy = Evaluation(ev.space(), labels=ev.labels, predictions=ev.predictions, weights=1 + 5 * ev.errors)
    (plain,), (v,) = verify(group(ev, member), ev), verify(group(heavy, member), heavy)
    assert (v.n, v.p) == (plain.n, plain.p)
    assert "each counts once" in v.caution and "each counts once" not in plain.caution


def test_taking_every_row_changes_nothing():
    ev = world()
    whole = ev.take(np.arange(len(ev)))
    assert whole.hash == ev.hash and ev.take([1, 0, 2]).hash != ev.take([0, 1, 2]).hash
    one = group(ev, ev.labels == 1)
    assert verify(one, whole)[0].n == 300


def test_the_table_says_what_its_words_mean():
    wrong = (np.arange(300) < 40) | (np.arange(300) % 12 == 0)
    ev = Evaluation(np.eye(300), labels=np.zeros(300), predictions=wrong)
    small = np.isin(np.arange(300), [60, 61, 62, 72, 84, 85, 86])
    verdicts = verify([group(ev, np.arange(300) < 30), group(ev, small)], ev, q=0.05)
    assert [one.confirmed for one in verdicts] == [True, False] and verdicts[1].needs and verdicts.q == 0.05
    for shown in (repr(verdicts), verdicts._repr_html_()):
        assert "at most 5% are expected to be chance" in shown and "confirmed four times in five" in shown
    assert "fewer than 5 members" not in repr(verdicts)
    few = verify([group(ev, np.isin(np.arange(300), [0, 1, 2]))], ev, q=0.004)
    assert few[0].needs == 2 and few.q == 0.004
    assert "fewer than 5 members are never confirmed" in repr(few) and "four times in five" not in repr(few)
    assert "at most 0.4% are" in repr(verify([group(ev, np.arange(300) < 30)], ev, q=0.004))
    assert np.isnan(verify([Slice.drawn(ev, ev.ids[:30])], ev).q)
    assert np.isnan(verdicts[:1].q) and "expected to be chance" not in repr(verdicts[:1])
    assert "four times in five" not in repr(verdicts[:1])


def test_cautions_that_differ_in_a_number_are_said_once():
    ev = Evaluation(np.eye(10), labels=np.zeros(10), predictions=np.arange(10) < 5)
    verdict = verify(group(ev, np.arange(10) < 6), ev)[0]
    many = [
        replace(verdict, caution=words)
        for words in ("1,200 examples are left out; cross-fitted", "18 examples are left out; cross-fitted", "odd")
    ]
    assert Verdicts(many)._notes == ["cross-fitted", "18 to 1,200 examples are left out", "odd"]
