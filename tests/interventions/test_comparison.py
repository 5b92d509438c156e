import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.exceptions import NotFittedError

from failviz import Evaluation, Slice, Spotlight, verify
from failviz._statistics import benjamini_hochberg
from failviz.interventions.changes import Comparison, signed_points
from failviz.interventions.comparison import change_interval, compare, mcnemar
from failviz.interventions.plan import RetrainPlan

NAMES = ["sandal", "bag", "boot"]


def evaluation(wrong, seed=0, **facts):
    """Three classes in turn, 3-d embeddings, wrong where told."""
    wrong = np.asarray(wrong, dtype=bool)
    labels = np.arange(len(wrong)) % 3
    x = np.random.default_rng(seed).normal(size=(len(wrong), 3))
    return Evaluation(x, labels=labels, predictions=(labels + wrong) % 3, **{"class_names": NAMES, **facts})


def world(seed=0, n=600):
    """Before, a better plan, a random control; a hard group that the plan mends, as a mask."""
    rng = np.random.default_rng(seed)
    hard = (np.arange(n) % 3 == 0) & (rng.random(n) < 0.5)
    luck = rng.random(n)
    before = evaluation(luck < 0.1 + 0.5 * hard)
    return before, evaluation(luck < 0.1 + 0.1 * hard), evaluation((luck < 0.1 + 0.5 * hard) ^ (luck > 0.98)), hard


def group(ev, member, name="group", scope="all", **facts):
    return Slice.of(ev, scores=member * 1.0, weights=member * 1.0, scope=scope, name=name, method="test", **facts)


def frames_agree(one, other):
    return one.to_frame().equals(other.to_frame())


# -- closed forms ------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(fixed, broken):
    expected = stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert mcnemar(fixed, broken) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("fixed", "broken", "n"), [(12, 3, 40), (1, 1, 25), (0, 9, 60), (30, 0, 30)])
def test_the_interval_is_the_bootstrap_of_the_rows(fixed, broken, n):
    # Rows drawn one by one from the examples and two more: half a fixed one, half a broken one, one of neither.
    shares = np.array([fixed + 0.5, broken + 0.5, n - fixed - broken + 1]) / (n + 2)
    drawn = np.random.default_rng(5).choice([-1, 1, 0], p=shares, size=(40_000, n))
    expected = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    assert change_interval(fixed, broken, n, 40_000) == pytest.approx(expected, abs=1.01 / n)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_no_interval_is_a_point(n):
    for fixed, broken in ((n, 0), (0, n), (0, 0)):
        low, high = change_interval(fixed, broken, n)
        assert low < high and low <= (broken - fixed) / n <= high


def test_the_numbers_of_a_row_are_counts_of_its_members():
    before, plan, _, hard = world()
    comparison = compare(before, plan, group(before, hard))
    (row,) = [change for change in comparison if change.group == "slice"]
    was, now = before.errors[hard], plan.errors[hard]
    assert (row.n, row.fixed, row.broken) == (hard.sum(), (was & ~now).sum(), (now & ~was).sum())
    assert (row.before, row.after) == pytest.approx((was.mean(), now.mean()))
    assert row.change == pytest.approx(row.after - row.before) and row.low < row.change < row.high < 0
    assert row.p == mcnemar(row.fixed, row.broken) and row.verdict == "better" and row in comparison.better
    assert row.arm == "after" and row.held_out and row.caution == ""


def test_the_rows_of_one_arm_are_adjusted_together():
    before, plan, random, hard = world()
    comparison = compare(before, {"plan": plan, "random": random}, group(before, hard))
    for arm in comparison.arms:
        rows = comparison.of(arm)
        assert len(rows) == 5
        np.testing.assert_allclose([c.q for c in rows], benjamini_hochberg(np.array([c.p for c in rows])))


def test_the_level_decides_what_is_clear():
    wrong = np.zeros(60, bool)
    wrong[::3][:8] = True
    before, after = evaluation(wrong), evaluation(wrong & (np.arange(60) > 15))
    (q,) = {change.q for change in compare(before, after) if change.group == "overall"}
    assert compare(before, after, q=q)[0].verdict == "better"
    assert compare(before, after, q=q * 0.99)[0].verdict == "no clear change"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), share=st.floats(0, 1))
def test_fixed_less_broken_is_the_fall_in_errors(seed, n, share):
    rng = np.random.default_rng(seed)
    before, better = (evaluation(rng.random(n) < rate) for rate in (share, share / 2))
    arms = {"a": rng.integers(0, 3, n), "b": better}
    used = before.ids[rng.random(n) < 0.3]
    slices = [group(before, rng.random(n) < size, f"g{size}") for size in (0.0, 0.3, 1.0)]
    comparison = compare(before, arms, slices, used=used, n_resamples=50)
    assert len(comparison) == 2 * (4 + min(n, 3))
    for change in comparison:
        if change.n:
            assert change.fixed - change.broken == round(change.n * (change.before - change.after))
            assert change.change == pytest.approx(change.after - change.before)
            assert -1 <= change.low <= change.high <= 1
        else:
            assert all(map(math.isnan, (change.before, change.after, change.change, change.low, change.high)))
            assert (change.fixed, change.broken, change.p) == (0, 0, 1.0)
        assert 0 < change.p <= change.q <= 1


def test_equal_models_are_called_different_at_most_at_the_level():
    called = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        rate = np.where(np.arange(300) % 3 == 1, 0.5, 0.2)
        before, after = (evaluation(rng.random(300) < rate) for _ in range(2))
        slices = [group(before, rng.random(300) < 0.2, f"g{k}") for k in range(4)]
        comparison = compare(before, after, slices, n_resamples=1)
        called += bool(comparison.better or comparison.worse)
    assert called <= 24  # 150 runs at 10%: fifteen at most expected


# -- the same examples -------------------------------------------------------------------------


def test_the_order_of_the_rows_changes_nothing():
    before, plan, random, hard = world()
    order = np.random.default_rng(1).permutation(len(before))
    comparison = compare(before, {"plan": plan, "random": random}, group(before, hard))
    assert frames_agree(comparison, compare(before, {"plan": plan.take(order), "random": random}, group(before, hard)))
    turned = before.take(order)
    assert frames_agree(comparison, compare(turned, {"plan": plan, "random": random}, group(turned, hard[order])))


def test_predictions_alone_are_an_arm():
    before, plan, _, hard = world()
    assert frames_agree(*(compare(before, arm, group(before, hard)) for arm in (plan, plan.predictions)))
    named = np.array(NAMES)[plan.predictions]
    assert frames_agree(compare(before, {"x": plan}), compare(before, {"x": named}))
    nameless = Evaluation(before.space(), labels=before.labels * 0, predictions=before.errors * 1)
    assert compare(nameless, before.errors * 7)[0].change == 0  # a class that nobody has seen before


def test_classes_are_told_by_name():
    before, plan, _, _ = world()
    turned = Evaluation(plan.space(), labels=2 - plan.labels, predictions=2 - plan.predictions, class_names=NAMES[::-1])
    assert frames_agree(compare(before, turned), compare(before, plan))


def one_line(call, *args, **options):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_refusals_are_one_clear_line():
    before, plan, _, hard = world(n=30)
    short, other = plan.take(np.arange(29)), group(plan, hard)
    assert one_line(compare, before, short) == (
        "arm 'after' lacks the example with id '29': compare needs the same examples."
    )
    assert "arm 'after' has an example with id '29', which is not" in one_line(compare, short, plan)
    labels = np.where(np.arange(30) == 4, 0, plan.labels)
    relabelled = Evaluation(plan.space(), labels=labels, predictions=plan.predictions, class_names=NAMES)
    assert "arm 'new' has the label 'sandal' for example '4', which was 'bag' before" in one_line(
        compare, before, {"new": relabelled}
    )
    assert "slice 'group' belongs to another Evaluation" in one_line(compare, before, plan, other)
    bare = Evaluation(before.space(), labels=before.labels)
    assert "compare needs predictions" in one_line(compare, bare, plan)
    assert "compare, for arm 'new', needs predictions" in one_line(compare, before, {"new": bare})
    assert "no example with id 'nobody'" in one_line(compare, before, plan, used=["nobody"])
    assert "empty dict" in one_line(compare, before, {})
    assert "the predictions of arm 'a' must have shape (30,)" in one_line(compare, before, {"a": np.zeros(29)})
    assert "the predictions of arm 'a' must be class numbers from 0 to 2" in one_line(
        compare, before, {"a": np.full(30, 3)}
    )
    assert "strictly between" in one_line(compare, before, plan, q=0)
    assert "n_resamples must be a whole number" in one_line(compare, before, plan, n_resamples=0)
    assert "takes the Evaluation before" in one_line(compare, plan.predictions, plan)
    assert "fitted finder or slices" in one_line(compare, before, plan, 3)
    assert "arm names has nothing" in one_line(compare, before, {None: plan})
    with pytest.raises(NotFittedError):
        compare(before, plan, Spotlight(progress=False))


# -- groups and their order --------------------------------------------------------------------


def test_what_got_worse_in_the_first_arm_comes_first_and_arms_stand_together():
    before, plan, random, hard = world()
    slices = [group(before, m, name) for name, m in (("hard", hard), ("none", hard & ~hard), ("easy", ~hard))]
    comparison = compare(before, {"random": random, "plan": plan}, slices)
    assert comparison.arms == ("random", "plan")
    assert [change.arm for change in comparison] == ["random", "plan"] * 7
    first = [change for change in comparison if change.arm == "random"]
    assert [change.group for change in first] == ["overall"] + ["slice"] * 3 + ["class"] * 3
    assert [change.name for change in first[1:4]] == ["easy", "hard", "none"]
    for kind in ("slice", "class"):
        changes = [change.change for change in first if change.group == kind and change.n]
        assert changes == sorted(changes, reverse=True)
    assert [c.name for c in comparison.of("plan")] == [c.name for c in first]
    ties = compare(before, before, [group(before, hard, name) for name in "cab"])
    assert [change.name for change in ties[1:]] == ["a", "b", "c", "bag", "boot", "sandal"]


def test_an_empty_slice_and_one_class_are_fine():
    one = Evaluation(np.eye(4), labels=[2] * 4, predictions=[2, 2, 0, 0])
    comparison = compare(one, [2, 2, 2, 2], group(one, np.zeros(4)))
    assert [(change.name, change.n) for change in comparison] == [("all examples", 4), ("group", 0), ("class 2", 4)]
    assert comparison[1].words == "no examples" and math.isnan(comparison[1].change)
    assert comparison[1].verdict == "no clear change" and "no examples" in repr(comparison)


def test_slices_are_taken_as_verify_takes_them():
    (before, plan, *_), fit = world(), world(seed=1)[0]
    finder = Spotlight(n_slices=2, min_weight=0.1, random_state=0, progress=False).fit(
        Evaluation(fit.space() + 0.01, labels=fit.labels, predictions=fit.predictions, losses=fit.errors * 1.0)
    )
    for things in (finder, verify(finder, before), [finder.slices(before)[0], [verify(finder, before)[1]]]):
        comparison = compare(before, plan, things)
        assert sorted(c.name for c in comparison if c.slice is not None) == ["spotlight 1", "spotlight 2"]
        assert all(change.held_out for change in comparison)


def test_the_same_counts_have_the_same_interval_whatever_else_is_compared():
    before, plan, random, hard = world()
    alone = compare(before, plan)
    crowd = compare(before, {"random": random, "plan": plan}, group(before, hard)).of("plan")
    assert [(c.low, c.high) for c in alone] == [(c.low, c.high) for c in crowd if c.group != "slice"]
    again = compare(before, plan, random_state=np.random.RandomState(0))
    assert frames_agree(alone, again)
    rough = [compare(before, plan, n_resamples=20, random_state=seed)[0].low for seed in range(5)]
    assert len(set(rough)) > 1


# -- held out or not ---------------------------------------------------------------------------


def test_slices_that_these_examples_chose_are_marked():
    before, plan, _, hard = world()
    slices = [
        Slice.drawn(before, before.ids[hard], "drawn"),
        group(before, before.errors, "outcome", uses_outcome=True),
        group(before, hard, "said", ("prediction", 0)),
        group(before, hard, "seen", seen={"embedding": before.row_fingerprints()}),
        group(before, hard, "fresh", seen={"embedding": evaluation(hard, seed=9).row_fingerprints()}),
    ]
    rows = {change.name: change for change in compare(before, plan, slices)}
    assert rows["drawn"].caution == "drawn while looking at these examples: part of the gain is chance"
    assert rows["outcome"].caution == "chosen by what the old model got wrong here: part of the gain is chance"
    assert rows["said"].caution == "chosen by what the old model said here: part of the gain is chance"
    assert rows["seen"].caution == "found on these examples: part of the gain is chance"
    assert {name for name, change in rows.items() if not change.held_out} == {"drawn", "outcome", "said", "seen"}
    assert all((change.caution == "") == change.held_out for change in rows.values())


def test_what_the_old_model_said_chooses_its_errors():
    better = 0
    for seed in range(20):  # of equal models, one looks cured where the old one said "rare"
        rng = np.random.default_rng(seed)
        labels = (rng.random(600) < 0.1) * 1
        said = [np.where(rng.random(600) < 0.15, 1 - labels, labels) for _ in range(2)]
        before = Evaluation(rng.normal(size=(600, 2)), labels=labels, predictions=said[0])
        comparison = compare(before, said[1], group(before, said[0] == 1, scope=("prediction", 1)), n_resamples=1)
        better += comparison[1].verdict == "better" and not comparison[1].held_out
    assert better >= 18


def test_a_drawn_slice_changes_no_other_verdict():
    before, plan, _, hard = world()
    drawn = Slice.drawn(before, before.ids[before.errors])
    plain, crowd = (compare(before, plan, things) for things in (group(before, hard), [group(before, hard), drawn]))
    assert [c.q for c in plain] == [c.q for c in crowd if c.held_out] and len(crowd) == len(plain) + 1


def test_examples_that_chose_the_additions_are_left_out():
    before, plan, _, hard = world()
    used = np.flatnonzero(hard)[:31]
    comparison = compare(before, plan, group(before, hard), used=before.ids[used])
    assert comparison.note == "31 examples that chose the additions are left out"
    rest = np.setdiff1d(np.arange(len(before)), used)
    assert [c.n for c in comparison[:2]] == [len(rest), hard.sum() - 31]
    expected = compare(before.take(rest), plan.take(rest), group(before.take(rest), hard[rest]))
    assert frames_agree(comparison, expected) and all(change.held_out for change in comparison)
    assert compare(before, plan, used=["3", "3"]).note == "1 example that chose the additions is left out"
    assert compare(before, plan).note == compare(before, plan, used=[]).note == ""
    everyone = compare(before, plan, group(before, hard), used=before.ids)
    assert len(everyone) == 5 and all(change.n == 0 for change in everyone)


def test_a_plan_names_the_examples_that_chose_it():
    before, plan, _, hard = world()
    chosen = tuple(before.ids[hard][:5])
    assert frames_agree(
        compare(before, plan, used=RetrainPlan("look-alikes", used_ids=chosen, used_hash=before.hash)),
        compare(before, plan, used=chosen),
    )
    elsewhere = compare(before, plan, used=RetrainPlan("look-alikes", used_ids=("0",), used_hash="other"))
    assert elsewhere[0].n == len(before) and "another Evaluation" in elsewhere.note
    assert compare(before, plan, used=RetrainPlan("random")).note == ""


def test_leaving_out_only_wrong_examples_is_said():
    before, plan, random, hard = world()
    used = before.ids[hard & before.errors]
    comparison = compare(before, {"plan": plan, "random": random}, group(before, hard), used=used)
    rows = {change.name: change for change in comparison.of("plan")}
    assert rows["group"].before == 0 <= rows["group"].change  # nothing but a loss was possible
    assert {name for name, change in rows.items() if not change.held_out} == {"all examples", "group", "sandal"}
    assert rows["group"].caution.startswith("only wrong examples are left out") and rows["bag"].caution == ""
    assert all(change.held_out for change in comparison.between("random", "plan"))


def test_weights_are_not_used_and_the_note_says_so():
    before, plan, _, _ = world()
    weights = 1 + 5 * before.errors
    heavy = Evaluation(
        before.space(), labels=before.labels, predictions=before.predictions, class_names=NAMES, weights=weights
    )
    comparison = compare(heavy, plan, used=["0"])
    assert comparison.note.endswith("is left out; the weights of the examples are not used, each counts once")
    assert frames_agree(comparison, compare(before, plan, used=["0"]))


# -- one arm against another -------------------------------------------------------------------


def test_between_takes_the_first_arm_for_before():
    before, plan, random, hard = world()
    drawn = Slice.drawn(before, before.ids[:40])
    comparison = compare(before, {"plan": plan, "random": random}, [group(before, hard), drawn])
    between = comparison.between("random", "plan")
    assert isinstance(between, Comparison) and (between.baseline, between.arms) == ("random", ("plan",))
    direct = compare(random, plan, [group(random, hard), Slice.drawn(random, random.ids[:40])])
    numbers = ["group", "name", "n", "before", "after", "change", "low", "high", "fixed", "broken", "p", "verdict"]
    assert between.to_frame()[numbers].equals(direct.to_frame()[numbers])
    assert "error rate, random → plan" in repr(between)
    (mark,) = [change for change in between if change.name == "drawn slice"]
    assert not mark.held_out and mark.caution == "drawn while looking at these examples"
    assert not comparison.between("plan", "plan").better
    assert "no arm 'control' in this Comparison, only 'plan', 'random'" in one_line(
        comparison.between, "plan", "control"
    )
    assert "only 'plan'" in one_line(comparison.of("plan").between, "plan", "random")
    assert "no arm 'x'" in one_line(comparison.of, "x")


# -- for people and for code -------------------------------------------------------------------


def test_tables_for_people_and_for_code():
    before, plan, random, hard = world()
    nasty = [group(before, hard, "<b>x</b>"), Slice.drawn(before, ["1"], "lasso")]
    comparison = compare(before, {"plan": plan, "<i>n</i>": random}, nasty, used=["0"])
    page, text = comparison._repr_html_(), repr(comparison)
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page and "<i>" not in page
    assert page.count("<tr") == 1 + 6  # one line per group
    for shown in (page, text):
        assert "1 example that chose the additions is left out" in shown and "held out" in shown
        assert "drawn while looking at these examples: part of the gain is chance" in shown
        assert comparison[0].words in shown and "error rate, before → plan" in shown and "p-value" not in shown
    names = ["arm", "group", "name", "n", "before", "after", "change", "low", "high", "fixed", "broken", "p", "q"]
    frame = comparison.to_frame()
    assert list(frame.columns) == [*names, "verdict", "held_out", "caution"] and len(frame) == 12
    assert comparison[:0].to_frame().columns.equals(frame.columns)
    assert repr(comparison[:0]) == "no groups" and comparison[:0]._repr_html_() == "<p>no groups</p>"
    assert len(comparison[:3]) == 3 and comparison[:3].by_group()[1].keys() == {"plan"}


def test_words_give_rates_points_interval_and_verdict():
    wrong = np.arange(50) < 20
    row = compare(evaluation(wrong), evaluation(wrong & (np.arange(50) > 10)))[0]
    low, high = signed_points(row.low), signed_points(row.high)
    assert row.words == f"40% → 18% (−22 pts [{low}, {high}]), better" and low.startswith("−")
    many = compare(evaluation(np.arange(2000) < 100), evaluation(np.arange(2000) < 103))[0]
    assert many.words.startswith("5.0% → 5.2% (+0.2 pts [0, +0.4])") and many.words.endswith("no clear change")


def test_a_comparison_does_not_change():
    before, plan, _, _ = world(n=30)
    comparison = compare(before, plan)
    with pytest.raises(AttributeError):
        comparison.note = "better than it is"
    with pytest.raises(AttributeError):
        comparison[0].verdict = "better"
