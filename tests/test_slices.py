import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failviz import Evaluation, Slice
from failviz.slices import scope_mask


@pytest.fixture
def ev():
    return Evaluation(np.eye(6), labels=[0, 0, 0, 1, 1, 1], predictions=[0, 1, 0, 1, 0, 1])


def of(ev, scores, weights, scope="all", **facts):
    return Slice.of(ev, scores=scores, weights=weights, scope=scope, name=facts.pop("name", "s"), method="m", **facts)


def test_masked_arrays_are_refused_where_they_hide_something():
    evaluation = Evaluation(np.eye(4))
    hidden = np.ma.masked_array(np.arange(4), mask=[False, False, True, False])
    for call in (
        lambda: evaluation.take(hidden),
        lambda: evaluation.take(hidden > 1),
        lambda: Slice.drawn(evaluation, hidden > 1),
        lambda: Slice.drawn(evaluation, hidden.astype(str)),
        lambda: Slice.of(evaluation, scores=hidden, weights=np.ones(4), scope="all", name="a", method="b"),
        lambda: Slice.of(evaluation, scores=np.ones(4), weights=hidden / 4, scope="all", name="a", method="b"),
    ):
        with pytest.raises(ValueError, match=r"hide value 2 behind a mask \(numpy.ma\)"):
            call()
    assert len(evaluation.take(np.ma.masked_array(np.arange(4)))) == 4


def test_a_slice_may_be_drawn_by_a_mask():
    ev = Evaluation(np.eye(4), ids=list("abcd"))
    assert Slice.drawn(ev, np.array([True, False, True, False])).members.tolist() == ["a", "c"]
    with pytest.raises(ValueError, match=r"a boolean mask must have shape \(4,\)"):
        Slice.drawn(ev, np.array([True]))


def test_rows_out_of_scope_have_no_score_and_no_weight(ev):
    s = of(ev, np.arange(6), np.ones(6), scope=("label", 1))
    assert s.scores.tolist() == [-np.inf] * 3 + [3, 4, 5] and s.weights.tolist() == [0, 0, 0, 1, 1, 1]
    assert s.members.tolist() == ["3", "4", "5"] and s.in_scope.tolist() == [False] * 3 + [True] * 3 and len(s) == 3


def test_algebra(ev):
    a, b = Slice.drawn(ev, ["0", "1"], "a"), Slice.drawn(ev, ["1", "2"], "b")
    assert (a & b).members.tolist() == ["1"]
    assert (a | b).members.tolist() == ["0", "1", "2"]
    assert (a - b).members.tolist() == ["0"]
    assert (~a).members.tolist() == ["2", "3", "4", "5"]
    assert a.jaccard(b) == pytest.approx(1 / 3)
    assert (a & b).is_drawn and (a | b).name == "a or b"


@given(pairs=st.lists(st.tuples(*[st.floats(0, 1) | st.just(0.5)] * 2), min_size=1, max_size=20))
def test_members_combine_as_sets_whatever_the_weights(pairs):
    weights = np.array(pairs)
    evaluation = Evaluation(np.ones((len(pairs), 1)))
    a, b = (of(evaluation, np.arange(len(pairs)), column) for column in weights.T)
    x, y = a.is_member, b.is_member
    for made, members in ((a & b, x & y), (a | b, x | y), (a - b, x & ~y), (~a, ~x), (a & ~a, x & ~x)):
        assert np.array_equal(made.is_member, members)
        assert ((made.weights >= 0) & (made.weights <= 1)).all()


def test_a_scope_may_name_its_class():
    named = Evaluation(np.eye(4), labels=[0, 1, 1, 0], class_names=["boot", "sneaker"])
    assert of(named, np.ones(4), np.ones(4), scope=("label", "sneaker")).scope == ("label", 1)
    assert of(named, np.ones(4), np.ones(4), scope=["label", 0]).scope == ("label", 0)
    wrong = [("label", "shoe"), ("label", -1), ("label", 1.5), ("class", 1), "everything", 3, ("label",), np.ones(2)]
    for scope in wrong:
        with pytest.raises(ValueError, match=r"scope|no class 'shoe'"):
            of(named, np.ones(4), np.ones(4), scope=scope)


def test_a_scope_of_no_name_is_never_taken_for_everyone(ev):
    with pytest.raises(ValueError, match='scope must be "all"'):
        scope_mask("sneaker", ev)


def test_a_part_of_a_scoped_slice_keeps_its_scope_and_its_provenance(ev):
    rows = np.arange(9, dtype=np.uint64).reshape(3, 3)
    directed = of(ev, np.arange(6), np.ones(6), scope=("label", 1), seen={"embedding": rows[:2]})
    other = of(ev, np.arange(6), np.ones(6), seen={"embedding": rows[1:]})
    both = directed & other
    assert both.scope == ("label", 1) and np.array_equal(both.seen["embedding"], rows)
    assert (~directed).members.tolist() == []


def test_the_complement_of_two_classes_holds_all_other_rows():
    ev = Evaluation(np.eye(6), labels=[0, 0, 1, 1, 2, 2])
    a, b = (of(ev, np.arange(6) + 10, np.arange(6) % 2, scope=("label", c)) for c in (0, 1))
    either = a | b
    assert either.scope == "all" and either.in_scope.all() and either.members.tolist() == ["1", "3"]
    assert either.scores.tolist() == [10, 11, 12, 13, 9, 9]
    assert (~either).members.tolist() == ["0", "2", "4", "5"] and (~either).in_scope.all()
    assert (a & b).in_scope.all() and len(a & b) == 0


def test_the_complement_is_not_described_by_the_words_of_the_slice(ev):
    rest = ~of(ev, np.arange(6), np.ones(6), rule="x > 1", caption="on grass")
    assert rest.rule is rest.caption is rest.direction is None


def test_a_combination_that_knows_label_and_prediction_reads_the_outcome(ev):
    everyone = of(ev, np.arange(6), np.ones(6))
    label = {c: of(ev, np.arange(6), np.ones(6), scope=("label", c)) for c in (0, 1)}
    predicted = {c: of(ev, np.arange(6), np.ones(6), scope=("prediction", c)) for c in (0, 1)}
    p, l = predicted[1], label[0]
    leaks = [p & l, l & p, p | l, p - l, l - p]  # errors, or their complement, by construction
    leaks += [p | predicted[0], p | everyone, everyone - p]  # within a label the prediction is the outcome
    leaks += [(everyone - l) & p, (label[0] | label[1]) & p, ~(p | l) & everyone]  # in two steps
    assert all(one.uses_outcome for one in leaks)
    honest = [p & everyone, everyone & p, p - everyone, ~p, p & p, p - predicted[0]]
    honest += [l | label[1], everyone - l, l & everyone, ~(l | label[1])]
    assert not any(one.uses_outcome for one in honest)


def test_slices_of_two_evaluations_do_not_mix(ev):
    other = Slice.drawn(ev.take([0, 1]), ["0"])
    with pytest.raises(ValueError, match="different Evaluations"):
        _ = Slice.drawn(ev, ["0"]) & other
    with pytest.raises(TypeError, match="another Slice"):
        _ = Slice.drawn(ev, ["0"]) | 3


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        (np.ones(5), np.ones(6), r"scores must have shape \(6,\)"),
        (np.full(6, np.nan), np.ones(6), "scores row 0 is NaN"),
        (np.ones(6), np.full(6, 1.5), "between 0 and 1"),
        (np.r_[np.ones(5), np.inf], np.ones(6), "scores row 5 is inf"),
        (np.r_[np.ones(5), -np.inf], np.ones(6), "row 5 has a weight above 0 and the score -inf"),
    ],
)
def test_bad_slices_are_refused(ev, scores, weights, message):
    with pytest.raises(ValueError, match=message):
        of(ev, scores, weights)


def test_seen_rows_are_fingerprints(ev):
    with pytest.raises(ValueError, match=r"must be row_fingerprints of shape \(m, 3\), not \(6,\)"):
        of(ev, np.ones(6), np.ones(6), seen={"embedding": ev.row_hashes()})


def test_unknown_ids_and_missing_columns_are_named(ev):
    with pytest.raises(ValueError, match="no example with id '9'"):
        Slice.drawn(ev, ["9"])
    with pytest.raises(ValueError, match="needs predictions"):
        of(Evaluation(np.eye(2), labels=[0, 1]), np.ones(2), np.ones(2), scope=("prediction", 0))
