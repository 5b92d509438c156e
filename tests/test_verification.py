import numpy as np
import pytest

from failviz import Evaluation, Slice, verify
from failviz.verification import measure


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


def test_rows_that_chose_the_slice_cannot_test_it():
    ev = world()
    fit, held = ev.split(0.5, random_state=0)
    seen = {"embedding": np.sort(fit.row_hashes())}
    mask = lambda e: (e.labels == 1) & (e.space()[:, 0] > 0)  # noqa: E731
    with pytest.raises(ValueError, match="100% of these examples were used to find 'group'"):
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
        bare = Evaluation(np.eye(3), losses=[1, 2, 3])
        verify(group(bare, np.array([1, 0, 0])), bare)


def test_tables_for_people_and_for_code():
    ev = world()
    verdicts = verify(group(ev, (ev.labels == 1) & (ev.space()[:, 0] > 0), ("label", 1)), ev)
    columns = ["slice", "method", "n", "error_rate", "class_error_rate", "lift", "low", "high", "p", "q"]
    assert list(verdicts.to_frame().columns) == [*columns, "stability", "confirmed", "needs"]
    assert "confirmed" in repr(verdicts) and "<table" in verdicts._repr_html_()
    named = verify(group(ev, ev.errors * 0 == 1).renamed("<b>x</b>"), ev)
    assert "<b>x</b>" not in named._repr_html_()


def test_the_models_own_layer_is_said_beside_the_verdict():
    ev = world()
    seen = {"hidden": np.array([0], dtype=np.uint64)}
    ev = Evaluation({"hidden": ev.space()}, labels=ev.labels, predictions=ev.predictions)
    assert "own hidden layer" in repr(verify(group(ev, ev.labels == 1, seen=seen), ev))
