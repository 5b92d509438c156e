"""upweight in closed form, relabel from what a person said, and what both refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failviz.annotations import Annotations
from failviz.discovery import FailureDirections, Spotlight
from failviz.evaluation import Evaluation
from failviz.interventions import relabel, upweight
from failviz.interventions.plan import DataMark
from failviz.slices import Slice


def train_of(n=6, **columns):
    labels = np.arange(n) * 2 // n
    return Evaluation(
        np.eye(n), **{"labels": labels, "class_names": ["cat", "dog"], "ids": list("abcdefgh"[:n])} | columns
    )


def of(train, scores, weights, scope="all", name="s"):
    return Slice.of(train, scores=scores, weights=weights, scope=scope, name=name, method="m")


# -- upweight ------------------------------------------------------------------------------


def test_double_counts_members_twice():
    train = train_of()
    plan = upweight(train, of(train, np.arange(6), [0.5, 0.49, 1, 1, 1, 1], ("label", 0), "dark"))
    assert dict(plan.weights) == {"a": 2.0, "c": 2.0}
    assert plan.train == DataMark.of(train, by="test") and plan.class_names == ("cat", "dog")
    assert plan.targets == ("dark",) and plan.name == "dark: double weight" and not plan.additions
    assert plan.reason == "2 training examples of dark count twice."
    plan.require(train=train)


def test_balanced_weighs_members_as_much_as_the_rest_of_their_scope():
    train = train_of(8)
    one = of(train, np.zeros(8), [1, 0, 0, 0, 1, 1, 1, 1], ("label", 0))
    plan = upweight(train, one, "balanced")
    assert dict(plan.weights) == {"a": 3.0}
    everywhere = of(train, np.zeros(8), [1, 1, 0, 0, 1, 0, 0, 0])
    assert dict(upweight(train, everywhere, "balanced").weights) == dict.fromkeys("abe", 5 / 3)
    most = of(train, np.zeros(8), [1, 1, 1, 0, 0, 0, 0, 0], ("label", 0))
    assert dict(upweight(train, [one, most], "balanced").weights) == {"a": 3.0}  # the majority keeps 1


def test_soft_goes_by_membership():
    train = train_of()
    plan = upweight(train, of(train, np.arange(6), [0, 0.25, 0.5, 1, 0, 0.75]), "soft")
    assert dict(plan.weights) == {"b": 1.25, "c": 1.5, "d": 2.0, "f": 1.75}


def test_soft_goes_by_rank_within_the_scope_where_membership_is_hard():
    train = train_of(8)
    plan = upweight(train, of(train, [-5.0, 0.1, 7, 0.1, 9, 9, 9, 9], [0, 1, 1, 1, 1, 1, 1, 1], ("label", 0)), "soft")
    assert dict(plan.weights) == {"b": 1.5, "c": 2.0, "d": 1.5}  # ranks 0, 1.5, 3, 1.5 of 3; the lowest keeps 1


def test_soft_leaves_out_who_is_no_member_of_a_drawn_slice():
    train = train_of()
    assert dict(upweight(train, Slice.drawn(train, ["b", "e"]), "soft").weights) == {"b": 2.0, "e": 2.0}


def test_an_example_in_several_slices_takes_its_largest_factor():
    train = train_of()
    one, other = of(train, np.arange(6), [1, 1, 0, 0, 0, 0]), of(train, np.arange(6), [0, 1, 1, 1, 0, 0])
    assert dict(upweight(train, [one, [other]]).weights) == dict.fromkeys("abcd", 2.0)
    assert dict(upweight(train, (one, other), "balanced").weights) == {"a": 2.0, "b": 2.0}
    soft = [of(train, np.arange(6), [0.2, 0.9, 0, 0, 0, 0]), of(train, np.arange(6), [0.4, 0.1, 0, 0, 0, 0])]
    plan = upweight(train, soft, "soft", name="mine")
    assert dict(plan.weights) == {"a": 1.4, "b": 1.9} and plan.name == "mine" and plan.targets == ("s", "s")
    assert "of 2 slices count up to twice" in plan.reason


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 1)), min_size=2, max_size=8), st.randoms())
def test_weights_do_not_depend_on_the_order_of_the_rows(facts, random):
    scores, member, labels = (np.array(column) for column in zip(*facts, strict=True))
    member[0] = True
    order = list(range(len(facts)))
    random.shuffle(order)

    def weights(scheme, rows):
        x, names = np.eye(len(facts))[rows], [str(row) for row in rows]
        train = Evaluation(x, labels=labels[rows], ids=names, class_names=["cat", "dog"])
        one = of(train, scores[rows], member[rows], ("label", int(labels[0])))
        try:
            return dict(upweight(train, one, scheme).weights)
        except ValueError as error:
            return str(error)

    for scheme in ("double", "balanced", "soft"):
        assert weights(scheme, np.arange(len(facts))) == weights(scheme, np.array(order))


@pytest.mark.parametrize("finder", [FailureDirections(progress=False), Spotlight(n_slices=2, progress=False)])
def test_a_fitted_finder_is_given_as_it_is(finder):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(80, 4)), np.arange(80) % 2
    predictions = np.where(x[:, 0] > 0.8, 1 - labels, labels)
    train = Evaluation(x, labels=labels, predictions=predictions, losses=np.maximum(0, x[:, 0]))
    finder = finder.set_params(random_state=0).fit(train)
    for scheme in ("double", "balanced", "soft"):
        plan = upweight(train, finder, scheme)
        assert plan == upweight(train, finder.slices(train), scheme) and plan.targets
        assert all(weight > 1 for weight in plan.weights.values())


def refusals():
    train = train_of()
    nobody = of(train, np.arange(6), np.zeros(6))
    other = Slice.drawn(train.take([0, 1]), ["a"], "theirs")
    all_of_them = of(train, np.zeros(6), np.ones(6))
    return [
        (lambda: upweight(train, nobody), "none of the slices has a training example in it"),
        (lambda: upweight(train, nobody, "balanced"), "none of the slices has a training example in it"),
        (lambda: upweight(train, nobody, "soft"), "none of the slices has a training example in it"),
        (lambda: upweight(train, all_of_them, "balanced"), "by scheme 'balanced' no example of these slices counts"),
        (lambda: upweight(train, []), "upweight needs at least one slice"),
        (lambda: upweight(train, other), "slice 'theirs' belongs to another Evaluation"),
        (lambda: upweight(train, [nobody, other]), "slice 'theirs' belongs to another Evaluation"),
        (lambda: upweight(train, nobody, "triple"), "scheme must be one of double, balanced, soft, not 'triple'"),
        (lambda: upweight(train, None), "expected a fitted finder or slices, not NoneType"),
        (lambda: upweight(train, "hard"), "expected a fitted finder or slices, not str"),
        (lambda: upweight([1], nobody), "upweight takes the training data as an Evaluation, not list"),
        (lambda: upweight(Evaluation(np.eye(2)), nobody), "upweight needs labels, and this Evaluation has none"),
    ]


@pytest.mark.parametrize("case", range(len(refusals())))
def test_what_cannot_be_weighed_is_refused(case):
    call, message = refusals()[case]
    with pytest.raises((ValueError, TypeError), match=message) as error:
        call()
    assert "\n" not in str(error.value)


# -- relabel -------------------------------------------------------------------------------


def test_relabels_are_what_a_person_said():
    train = train_of()
    notes = Annotations(":memory:", train)
    notes.relabel(["a", "e"], "dog")
    notes.relabel("b", 1)
    notes.relabel("e", None)
    plan = relabel(train, notes)
    assert dict(plan.relabels) == {"a": 1, "b": 1} and plan.train == DataMark.of(train, by="test")
    assert (plan.name, plan.reason) == ("2 relabelled", "2 training examples with the label that a person gave.")
    assert dict((plan + upweight(train, Slice.drawn(train, ["a"]))).weights) == {"a": 2.0}
    notes.undo()
    assert dict(relabel(train, notes, name="mine").relabels) == {"a": 1, "b": 1, "e": 1}


def test_classes_without_names_are_relabelled_by_number():
    train = Evaluation(np.eye(3), labels=[0, 1, 2])
    notes = Annotations(":memory:", train)
    notes.relabel(["0"], 2)
    assert dict(relabel(train, notes).relabels) == {"0": 2}


def test_relabels_of_other_data_or_of_no_class_are_refused():
    train = train_of()
    notes = Annotations(":memory:", train)
    with pytest.raises(ValueError, match=r"nothing was relabelled: see Annotations\.relabel"):
        relabel(train, notes)
    notes.relabel(["a"], "dog")
    # the same ids and classes, and other examples
    other = Evaluation(np.eye(6) + 1, labels=train.labels, class_names=train.class_names, ids=train.ids)
    with pytest.raises(ValueError, match=r"the annotations are about another Evaluation \(\w{8}\), not this one") as e:
        relabel(other, notes)
    assert "\n" not in str(e.value)
    unbound = Annotations(":memory:")
    unbound.relabel(["a"], "frog")
    with pytest.raises(ValueError, match="there is no class 'frog' in this Evaluation: the classes are cat, dog"):
        relabel(train, unbound)
    unbound.relabel(["z"], "dog")
    with pytest.raises(ValueError, match="no example with id 'z'"):
        relabel(train, unbound)
    with pytest.raises(TypeError, match="annotations must be an Annotations, not dict"):
        relabel(train, {"a": "dog"})
    with pytest.raises(TypeError, match="relabel takes the training data as an Evaluation, not int"):
        relabel(3, notes)
    with pytest.raises(ValueError, match="relabel needs labels"):
        relabel(Evaluation(np.eye(2)), notes)
