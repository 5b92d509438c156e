"""Verdicts where there are losses and no labels: recommenders, regression."""

import numpy as np
import pytest

from failviz.discovery import Spotlight
from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.verification import Verdicts, measure, verify


def world(n=1000, seed=0, lift=1.0, **columns):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 4))
    hard = np.arange(n) % 10 == 0
    rows[hard] += 4
    return Evaluation(rows, losses=rng.exponential(1.0 + lift * hard), **columns), hard


def group(ev, member, **facts):
    return Slice.of(ev, scores=member * 1.0, weights=member * 1.0, scope="all", name="g", method="test", **facts)


def test_a_spotlight_on_losses_alone_is_confirmed_on_other_data():
    ev, _ = world(2000)
    fit, test = ev.split(0.5, random_state=0)
    finder = Spotlight(n_slices=1, random_state=0, progress=False).fit(fit)
    verdicts = verify(finder, test)
    (v,) = verdicts
    member = finder.slices(test)[0].is_member
    assert v.confirmed and v.words == "confirmed" and v.p < 0.01
    assert v.mean_loss == pytest.approx(test.losses[member].mean())
    assert v.rest_mean_loss == pytest.approx(test.losses[~member].mean())
    assert v.lift == pytest.approx(v.mean_loss / v.rest_mean_loss) and v.low < v.mean_loss < v.high
    assert np.isnan([v.error_rate, v.class_error_rate, v.shrunken_rate]).all() and v.needs is None
    assert (v.n, v.rest_n, v.n_errors) == (member.sum(), (~member).sum(), 0)
    with pytest.raises(ValueError, match="identical to examples used to find"):
        verify(finder, fit)
    stable = verify(finder, test, refit_on=fit, progress=False)[0].stability
    assert 0 < stable <= 1


def test_the_table_speaks_of_losses():
    ev, hard = world()
    verdicts = verify([group(ev, hard), group(ev, np.zeros(1000, bool))], ev)
    assert {"mean_loss", "rest_mean_loss", "low", "p", "q"} <= set(verdicts.to_frame().columns)
    assert "error_rate" not in verdicts.to_frame().columns
    for text in (repr(verdicts), verdicts._repr_html_()):
        assert "mean loss" in text and "elsewhere" in text and "wrong" not in text and "nan" not in text
    assert not verdicts[1].confirmed and verdicts[1].p == 1


def test_p_is_uniform_where_losses_are_chance():
    rng = np.random.default_rng(0)
    ev, _ = world(300, lift=0.0)
    p = np.array([v.p for v in verify([group(ev, rng.random(300) < 0.1) for _ in range(400)], ev)])
    assert abs(p.mean() - 0.5) < 0.06 and 0.02 < (p <= 0.05).mean() < 0.09
    assert p.min() >= 1e-4


def test_p_is_that_of_all_divisions_of_a_small_scope():
    losses = np.array([5.0, 4.0, 3.0, 1.0, 0.0, 2.0])
    ev = Evaluation(np.eye(6), losses=losses)
    (v,) = verify(group(ev, np.isin(np.arange(6), [0, 2])), ev)
    assert v.p == pytest.approx(2 / 15, abs=0.012)  # {5, 4} and {5, 3} of fifteen pairs are as high
    assert verify(group(ev, np.ones(6, bool)), ev)[0].p == 1  # nothing to compare with
    flat = Evaluation(np.eye(6), losses=np.full(6, 0.1))
    assert verify(group(flat, np.arange(6) < 2), flat)[0].p == 1


def test_slices_in_a_predicted_class_are_compared_within_it():
    rng = np.random.default_rng(0)
    predictions = np.arange(800) % 2
    losses = rng.exponential(1.0 + 9.0 * predictions)
    ev = Evaluation(rng.normal(size=(800, 2)), predictions=predictions, losses=losses, class_names=["a", "b"])
    within = Slice.of(
        ev,
        scores=np.ones(800),
        weights=(np.arange(800) < 200) * 1.0,
        scope=("prediction", 1),
        name="g",
        method="test",
    )
    (v,) = verify(within, ev)
    assert v.n == 100 and v.rest_n == 300 and v.p > 0.01


def test_labels_are_held_equal_where_there_are_any():
    rng = np.random.default_rng(0)
    labels = np.arange(1200) % 3
    losses = rng.exponential(1.0 + 5.0 * (labels == 1))
    ev = Evaluation(rng.normal(size=(1200, 2)), labels=labels, losses=losses, class_names=["a", "b", "c"])
    half = (labels == 1) & (rng.random(1200) < 0.5)
    (v,) = verify(group(ev, half), ev)
    assert not v.confirmed and v.p > 0.05
    assert v.rest_mean_loss == pytest.approx(losses[(labels == 1) & ~half].mean())
    assert verify(group(ev, labels == 1), ev)[0].p == 1  # no others of its class


def test_a_class_that_lies_wholly_in_the_slice_is_not_compared():
    labels = np.repeat([0, 1], 100)
    losses = np.where(labels == 1, 9.0, 1.0)
    losses[:10] = 2.0
    ev = Evaluation(np.eye(200), labels=labels, losses=losses)
    (v,) = verify(group(ev, (np.arange(200) < 10) | (labels == 1)), ev)
    assert v.rest_mean_loss == 1.0 and v.mean_loss == pytest.approx((10 * 2 + 100 * 9) / 110)
    assert v.lift == 2.0 and v.p < 0.001
    (v,) = verify(group(ev, labels == 1), ev)
    assert np.isnan(v.lift) and v.p == 1 and v.by_loss
    (v,) = verify(group(ev, np.zeros(200, bool)), ev)
    assert v.by_loss and v.n == 0


def test_a_far_loss_elsewhere_and_negative_ones_do_no_harm():
    losses = np.random.default_rng(0).normal(size=200)
    member = np.arange(200) < 20
    losses[member] += 2
    losses[150] = 1e15
    ev = Evaluation(np.random.default_rng(1).normal(size=(200, 2)), losses=losses)
    v = verify(group(ev, member), ev)[0]
    assert 0.05 < v.p < 0.2  # whoever draws the far one
    below = Evaluation(ev.space(), losses=np.where(member, 1.0, -1.0))
    assert np.isnan(verify(group(below, member), below)[0].lift)


def test_intervals_are_students_and_left_out_of_one_member():
    from scipy.stats import t

    ev, _ = world()
    few = np.arange(1000) < 8
    v = verify(group(ev, few), ev)[0]
    half = t.ppf(0.975, 7) * ev.losses[few].std(ddof=1) / np.sqrt(8)
    assert (v.low, v.high) == pytest.approx((v.mean_loss - half, v.mean_loss + half))
    assert "nan" not in repr(verify(group(ev, np.arange(1000) == 3), ev))


def test_losses_and_errors_do_not_stand_in_one_table_nor_in_a_plot_of_rates():
    from failviz import plots

    ev, hard = world()
    losses = verify(group(ev, hard), ev)
    wrong = Evaluation(ev.space(), labels=np.zeros(1000), predictions=hard.astype(int), class_names=["a", "b"])
    with pytest.raises(ValueError, match="do not stand in one table"):
        Verdicts([losses[0], verify(group(wrong, hard), wrong)[0]])
    with pytest.raises(ValueError, match="draws error rates, and these verdicts are on losses"):
        plots.error_rates(losses)


def test_drawn_slices_are_shown_and_small_ones_not_confirmed():
    ev, hard = world()
    drawn = Slice.drawn(ev, ev.ids[hard], "mine")
    assert verify(drawn, ev)[0].words == "drawn on these data" and np.isnan(verify(drawn, ev)[0].p)
    few = np.isin(np.arange(1000), np.argsort(-ev.losses)[:4])
    v = verify(group(ev, few), ev)[0]
    assert v.p < 0.01 and not v.confirmed
    described = measure(group(ev, hard), ev)[0]
    assert described.in_sample and described.mean_loss > described.rest_mean_loss


def test_what_needs_labels_says_so():
    ev, hard = world()
    with pytest.raises(ValueError, match="n_permutations needs labels"):
        verify(group(ev, hard), ev, n_permutations=99)
    bare = Evaluation(np.eye(6))
    with pytest.raises(ValueError, match="judging a slice needs labels"):
        verify(group(bare, np.arange(6) < 2), bare)
