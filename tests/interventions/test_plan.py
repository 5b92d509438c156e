"""RetrainPlan: plain data that survives JSON, says what it does, and refuses what it was not made for."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failviz.evaluation import Evaluation
from failviz.interventions.plan import PLAN, DataMark, RetrainPlan, outline

POOL = DataMark(10, "aaaaaaaaaa", "pool outline")
TRAIN = DataMark(4, "bbbbbbbbbb", "train outline")
NAMES = ("cat", "dog")


def adding(additions=("a", "b"), label=0, name="add", **facts):
    return RetrainPlan(name, additions=dict.fromkeys(additions, label), class_names=NAMES, pool=POOL, **facts)


def weighing(weights, name="weigh", **facts):
    return RetrainPlan(name, weights=weights, class_names=NAMES, train=TRAIN, **facts)


def full():
    return RetrainPlan(
        "both",
        additions={"a": 1, "b": 0, "ü\n": 1},
        added_weight=2.5,
        weights={"t1": 2.0, "t2": 0.1 + 0.2},
        relabels={"t3": 0},
        class_names=NAMES,
        budget=3,
        reason="they are dark",
        cautions=("one is left out",),
        targets=("dark cats",),
        used_ids=("x", "y"),
        used_hash="cccc",
        pool=POOL,
        train=TRAIN,
        controls=(adding("cd", name="random"), adding("ef", name="loss")),
    )


def one_line(error):
    text = str(error.value)
    assert "\n" not in text and text.endswith((".", "?")), text


# -- what it holds -------------------------------------------------------------------------


def test_it_comes_back_from_json_as_it_was(tmp_path):
    plan = full()
    plan.save(tmp_path / "plan.json")
    again = RetrainPlan.load(tmp_path / "plan.json")
    assert again == plan and again.hash == plan.hash and list(again.additions) == list(plan.additions)
    assert again.controls == plan.controls and isinstance(again.pool, DataMark)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert RetrainPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


ids = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
weights = st.floats(0, 1e300)


@settings(deadline=None)
@given(st.dictionaries(ids, st.integers(0, 1)), st.dictionaries(ids, weights.filter(bool)), st.integers(1, 9))
def test_any_plan_survives_json(additions, weights, budget):
    train = DataMark(100, "h", "o")
    plan = RetrainPlan(
        "p", additions=additions, weights=weights, class_names=NAMES, budget=budget, pool=POOL, train=train
    )
    again = RetrainPlan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert again == plan and again.hash == plan.hash and hash(again) == hash(plan)


def test_numbers_of_numpy_become_plain_ones(tmp_path):
    plan = RetrainPlan(
        np.str_("p"),
        additions={np.str_("a"): np.int64(1)},
        added_weight=np.float32(2),
        weights={"t": np.float32(3)},
        relabels={"t": np.int8(0)},
        class_names=list(NAMES),
        budget=np.int64(1),
        pool=POOL,
        train=TRAIN,
    )
    plan.save(tmp_path / "plan.json")
    assert RetrainPlan.load(tmp_path / "plan.json") == plan
    assert type(plan.budget) is int and type(plan.weights["t"]) is float and plan.class_names == NAMES


def test_nothing_in_it_changes():
    given_weights = {"t1": 2.0}
    plan = replace(full(), weights=given_weights)
    given_weights["t1"] = 9.0
    assert plan.weights["t1"] == 2.0
    with pytest.raises(FrozenInstanceError):
        plan.name = "other"
    for name in ("additions", "weights", "relabels"):
        with pytest.raises(TypeError):
            getattr(plan, name)["a"] = 1
    for name in ("class_names", "cautions", "targets", "used_ids", "controls"):
        assert isinstance(getattr(replace(plan, **{name: list(getattr(plan, name))}), name), tuple)


def test_it_can_be_copied_pickled_and_kept_in_a_set():
    plan = full()
    assert copy.deepcopy(plan) == copy.copy(plan) == pickle.loads(pickle.dumps(plan)) == plan
    assert len({plan, full(), adding()}) == 2


def test_the_hash_ignores_names_and_reasons_and_nothing_else():
    plan = full()
    words = {"name": "x", "reason": "y", "cautions": (), "targets": (), "used_ids": (), "used_hash": "", "budget": 9}
    assert replace(plan, **words, controls=()).hash == plan.hash
    deeds = {
        "additions": {"a": 1},
        "added_weight": 1.0,
        "weights": {"t1": 2.0},
        "relabels": {},
        "class_names": ("cat", "frog"),
        "pool": TRAIN,
        "train": POOL,
    }
    assert len({replace(plan, **{name: value}).hash for name, value in deeds.items()} | {plan.hash}) == 8
    backwards = replace(plan, additions=dict(reversed(plan.additions.items())))
    assert backwards.hash == plan.hash


def test_it_knows_when_it_changes_nothing():
    assert RetrainPlan("none").is_empty and weighing({"t1": 1.0}).is_empty
    assert not adding().is_empty and not weighing({"t1": 0.5}).is_empty
    assert "changes   nothing" in repr(RetrainPlan("none"))


def test_by_label_counts_most_first():
    plan = replace(full(), additions={"a": 0, "b": 1, "c": 1})
    assert list(plan.by_label.items()) == [("dog", 2), ("cat", 1)]


def test_an_outline_knows_order_ids_and_labels():
    labels = np.array([0, 1])
    assert outline(["a", "b"], labels) == outline(["a", "b"], labels.astype(np.int32))
    others = [outline(["b", "a"], labels), outline(["a", "b"], labels[::-1]), outline(["ab", ""], labels)]
    assert outline(["a", "b"], labels) not in others and outline(["\ud800"], labels[:1])


# -- arms, joining, throwing out -----------------------------------------------------------


def test_arms_are_the_plan_and_its_controls():
    arms = full().arms
    assert list(arms) == [PLAN, "random", "loss"]
    assert arms[PLAN].controls == () and arms[PLAN].additions == full().additions
    assert list(arms["random"].additions) == ["c", "d"]


def test_without_takes_additions_out():
    plan = full()
    assert dict(plan.without(["a", "b", "a"]).additions) == {"ü\n": 1}
    assert dict(plan.without("a").additions) == {"b": 0, "ü\n": 1}
    assert plan.without(np.array(["a"], dtype=object)).controls == plan.controls and plan.without([]) == plan
    with pytest.raises(ValueError, match="the plan does not add 'z', so it cannot be thrown out") as error:
        plan.without(["a", "z"])
    one_line(error)


def test_a_sum_does_both():
    one = adding(reason="dark.", targets=("s",), budget=2, used_ids=("x",), used_hash="u", added_weight=3)
    other = weighing({"t1": 2.0}, reason="rare.", targets=("s", "r"), relabels={"t2": 1}, cautions=("c",))
    both = one + other
    assert both.additions == one.additions and both.weights == other.weights and both.relabels == other.relabels
    assert (both.name, both.reason, both.targets, both.cautions) == ("add + weigh", "dark. rare.", ("s", "r"), ("c",))
    assert both.pool == POOL and both.train == TRAIN and both.budget == 2 and both.used_ids == ("x",)
    assert both.added_weight == (other + one).added_weight == 3 and (other + one).hash == both.hash
    assert (adding("ab", budget=2) + adding("bc", budget=2)).budget == 4
    assert list((adding("ab") + adding("bc")).additions) == ["a", "b", "c"]


def test_the_controls_of_a_sum_are_joined_with_the_whole_of_the_other():
    one = adding("ab", controls=(adding("cd", name="random"), adding("ef", name="loss")))
    other = adding("gh", controls=(adding("ij", name="random"),))
    arms = {name: "".join(arm.additions) for name, arm in (one + other).arms.items()}
    assert arms == {"plan": "abgh", "random": "cdij", "loss": "efgh"}
    weighed = one + weighing({"t1": 2.0})
    assert all(arm.weights == {"t1": 2.0} for arm in weighed.arms.values())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (adding(), replace(adding(), pool=TRAIN), "'add' and 'add' were made for different pool data"),
        (weighing({"t": 2}), replace(weighing({"t": 2}), train=POOL), "made for different train data"),
        (adding(), replace(adding(), class_names=("dog", "cat")), "name their classes differently"),
        (adding(used_hash="u"), adding(used_hash="v"), "chosen by examples of different Evaluations"),
        (adding(added_weight=2), adding(), "additions count 2 times in one plan, 1 in the other"),
        (adding(), adding(label=1), "the additions of the two plans disagree on 'a'"),
        (weighing({"t": 2}), weighing({"t": 3}), "the weights of the two plans disagree on 't'"),
        (weighing({}, relabels={"t": 0}), weighing({}, relabels={"t": 1}), "the relabels of the two plans disagree"),
        (weighing({"1": 0, "2": 0}), weighing({"3": 0, "4": 0}), "weights are all zero"),
    ],
)
def test_plans_that_contradict_each_other_do_not_add_up(one, other, message):
    with pytest.raises(ValueError, match=message) as error:
        _ = one + other
    one_line(error)


def test_a_plan_adds_up_with_plans_only():
    with pytest.raises(TypeError):
        _ = adding() + 3


# -- refusing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"added_weight": 0}, "added_weight must be a finite number above 0, not 0.0"),
        ({"added_weight": float("nan")}, "added_weight must be a finite number above 0, not nan"),
        ({"added_weight": float("inf")}, "added_weight must be a finite number above 0, not inf"),
        ({"added_weight": "2"}, "added_weight must be a number, not '2'"),
        ({"weights": {"t": -1.0}}, "weights must be finite and 0 or more, and that of 't' is -1.0"),
        ({"weights": {"t": float("nan")}}, "that of 't' is nan"),
        ({"weights": {"t": float("inf")}}, "that of 't' is inf"),
        ({"weights": {"t": None}}, "weights of 't' must be a number, not None"),
        ({"weights": {"t": True}}, "weights of 't' must be a number, not True"),
        ({"weights": dict.fromkeys("1234", 0)}, "weights are all zero: at least one training example must count"),
        ({"weights": [1.0]}, "weights must be a mapping from ids, not list"),
        ({"weights": {1: 1.0}}, "an id in weights must be a text, not 1"),
        ({"weights": {"t": 1.0}, "train": None}, "weights or relabels needs train"),
        ({"relabels": {"t": 1}, "train": None}, "weights or relabels needs train"),
        ({"relabels": {"t": 2}}, "relabels gives 't' the label 2, and the classes run from 0 to 1"),
        ({"additions": {"a\n": -1}}, r"additions gives 'a\\n' the label -1, and the classes run from 0 to 1"),
        ({"additions": {"a": 0}, "class_names": ()}, "the label 0, and the classes are not given"),
        ({"additions": {"a": 0.5}}, "additions of 'a' must be a whole number, not 0.5"),
        ({"additions": {"a": "cat"}}, "additions of 'a' must be a whole number, not 'cat'"),
        ({"additions": {"a": 0}, "pool": None}, "a plan with additions needs pool"),
        ({"pool": "aaaa"}, "pool must be a DataMark, see DataMark.of, not str"),
        ({"class_names": "cat"}, "class_names must be a list, not 'cat'"),
        ({"targets": [1]}, "each of targets must be a text, not 1"),
        ({"name": None}, "name must be a text, not None"),
        ({"budget": 0}, "budget must be at least 1, or None, not 0"),
        ({"budget": 2.5}, "budget must be a whole number, not 2.5"),
        ({"controls": ("random",)}, "each of controls must be a RetrainPlan, not 'random'"),
        ({"controls": (adding(), adding())}, "need names of their own, not 'plan', 'add', 'add'"),
        ({"controls": (adding(name="plan"),)}, "need names of their own, not 'plan', 'plan'"),
        ({"controls": (adding(name="a\nb"), adding(name="a\nb"))}, "need names of their own"),
    ],
)
def test_bad_plans_are_refused(facts, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        RetrainPlan(**{"name": "bad", "class_names": NAMES, "pool": POOL, "train": TRAIN, **facts})
    one_line(error)


def test_data_that_it_was_not_made_for_are_refused():
    pool, train = Evaluation(np.eye(3), labels=[0, 1, 1]), Evaluation(np.eye(4), labels=[0, 1, 1, 0])
    plan = replace(full(), pool=DataMark.of(pool, by="test"), train=DataMark.of(train, by="test"))
    plan.require(pool=pool, train=train)
    plan.require(pool=Evaluation(np.eye(3), labels=[0, 1, 1]))
    adding().require(train=train)  # it says nothing about training data
    changed = {
        "pool": Evaluation(np.eye(3), labels=[0, 1, 0]),
        "train": Evaluation(np.eye(4) + 1, labels=[0, 1, 1, 0]),
    }
    for what, other in changed.items():
        said = rf"made for another {'pool' if what == 'pool' else 'training data'} \({len(other)} examples, \w+\)"
        with pytest.raises(ValueError, match=said) as error:
            plan.require(**{what: other})
        one_line(error)
    with pytest.raises(ValueError, match="select needs labels") as error:
        DataMark.of(Evaluation(np.eye(3)), by="select")
    one_line(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"no retraining plan of format 1 \(it says 2\): update failviz\?"),
        ({"extra": 1}, "this is no retraining plan: it holds 'extra'"),
        ({"pool": {"n": 3}}, "its pool must hold n, hash and outline"),
        ({"train": [1]}, "its train must hold n, hash and outline"),
        ({"train": {"n": "4", "hash": "b", "outline": "o"}}, "its train must hold n, hash and outline"),
        ({"controls": [3]}, r"no retraining plan of format 1 \(it says int\)"),
        ({"controls": 3}, "controls must be a list, not 3"),
        ({"additions": ["a"]}, "additions must be a mapping from ids, not list"),
        ({"weights": {"t1": float("nan")}}, "that of 't1' is nan"),
        ({"weights": {"t1": "2"}}, "weights of 't1' must be a number"),
    ],
)
def test_what_is_no_plan_is_not_loaded(tmp_path, change, message):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**full().to_dict(), **change}), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        RetrainPlan.load(path)
    assert "plan.json" in str(error.value)
    one_line(error)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"{}", b'{"format": 1}', b'"plan"'])
def test_files_that_hold_something_else_are_named(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"plan\.json.* no retraining plan") as error:
        RetrainPlan.load(path)
    one_line(error)


# -- showing -------------------------------------------------------------------------------


def test_it_reads_as_a_summary():
    assert repr(replace(full(), reason="they are dark", additions={"a": 1, "b": 0, "c": 1})).splitlines() == [
        "RetrainPlan: both",
        "  adds      3 of 10 pool examples (2 dog, 1 cat), each counted 2.5 times",
        "  weighs    2 of 4 training examples 0.3 to 2 times",
        "  relabels  1 training example",
        "  to mend   dark cats",
        "  because   they are dark",
        "  note      one is left out",
        "  beside    random (2), loss (2), for comparison",
    ]
    assert "  weighs    1 of 4 training examples 2 times" in repr(weighing({"t": 2}))


def test_its_html_says_the_same_and_is_escaped():
    plan = replace(full(), name="<b>&", class_names=("<script>", "dog"), targets=('"><img src=x>',), reason="a < b")
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append(tag)

        def handle_data(self, data):
            found.append(data)

    page = plan._repr_html_()
    Reader().feed(page)
    assert {"<b>&", '"><img src=x>', "a < b"} <= set(found) and "<script>" not in page
    assert {tag for tag in found if tag in ("script", "img")} == set()
    said = [line[2:].split(maxsplit=1)[1] for line in repr(plan).splitlines()[1:]]
    assert all(any(text in cell for cell in found) for text in said if not text.startswith("mend"))
