"""What the benchmarks measure by: a figure that is wrong here is wrong in every table."""

import doctest

import discovery_report
import numpy as np
import pytest
import scoring
from discovery_report import OURS, OURS_RANKED, report
from sklearn.metrics import average_precision_score


def test_its_examples_hold():
    assert doctest.testmod(scoring) == (0, doctest.testmod(scoring).attempted)
    assert doctest.testmod(scoring).attempted >= 5


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    group, scores = rng.random(300) < 0.1, rng.normal(size=300)
    p10, p25, average = scoring.ranking_scores(group, scores, rng.permutation(300))
    assert average == pytest.approx(average_precision_score(group, scores))
    assert (p10, p25) == tuple(group[np.argsort(-scores)[:n]].mean() for n in (10, 25))


def test_slices_that_are_not_returned_show_nothing_and_later_ones_do_not_count():
    group = np.arange(100) < 20
    table = scoring.score_table([group], [-np.arange(100.0), np.arange(100.0)], n_slices=3, seed=0)
    assert table[0, :, 0].tolist() == [1.0, 0.0, 0.0] and table[0, 2, 2] == 0.2
    assert scoring.score_table([group], [np.arange(100.0)] * 3 + [-np.arange(100.0)], n_slices=3, seed=0).max() < 1


def test_a_blind_spot_is_discovered_by_pure_slices_that_cover_it():
    spot = np.arange(1000) < 100

    def rates(*members, is_real=False):
        return scoring.discovery_rates(members, [spot], [is_real] * len(members))

    halves = np.arange(1000) < 45, (np.arange(1000) >= 45) & (np.arange(1000) < 90)
    assert rates(halves[0]) == (0.0, 0.0)
    assert rates(*halves) == (1.0, 0.0)
    wide = np.arange(1000) < 130  # 77% of it lies in the spot
    assert rates(wide) == (0.0, 1.0)
    assert rates(wide, is_real=True) == (0.0, 0.0)
    assert rates() == (0.0, 0.0)


def test_intervals_hold_the_mean_as_often_as_they_say():
    held = 0
    for seed in range(200):
        mean, low, high = scoring.interval(np.random.default_rng(seed).normal(3.0, 1.0, 60))
        held += low <= 3.0 <= high
        assert low < mean < high
    assert 180 <= held <= 199


def planted(method, p10, *, confirmed=True, where="rare", n=6):
    figures = [[p10, p10, p10]]
    return [
        {"part": "planted", "where": where, "seed": seed, "method": method, "oracle": figures, "rank": figures}
        | {"seconds": 1.0, "confirmed": [confirmed if p10 > 0.8 else None], "n_slices": 5}
        for seed in range(n)
    ]


def null(method, n_confirmed):
    return [
        {"part": "null", "where": "null", "seed": seed, "method": method, "seconds": 1.0}
        | {"n_slices": 1, "n_confirmed": int(seed < n_confirmed)}
        for seed in range(100)
    ]


def scenes(method, discovery, false=0.0, where=discovery_report.BAR_SPACE):
    return [
        {"part": "scenes", "where": where, "seed": seed, "method": method, "seconds": 1.0, "n_slices": 10}
        | {"oracle": [[1.0, 1.0, 1.0]], "discovery": discovery, "false_discovery": false}
        for seed in range(10)
    ]


REACHED = [
    *planted(OURS_RANKED, 0.95),
    *planted(OURS, 0.95),
    *planted("Spotlight", 0.9),
    *null(OURS, 10),
    *scenes(OURS, 0.95),
]


def test_a_report_in_which_every_bar_is_reached_says_so(capsys):
    assert report(REACHED, q=0.1) == 0
    said = capsys.readouterr().out
    assert said.endswith("no quality miss\n") and "NOT TRIED" not in said and "MISS" not in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (planted("Spotlight x", 0.96), "rare: mean p10 of FailureFinder q=1 is 0.950, of Spotlight x 0.960"),
        (planted("as good", 0.95), "all families: ap minus that of as good is +0.00"),
        (
            [one for method in (OURS_RANKED, OURS, "Spotlight") for one in planted(method, 0.5, where="several", n=9)],
            "FailureFinder q=1 identifies 0.400 of the planted groups; the bar is 0.85",
        ),
        (
            [
                one
                for method in (OURS_RANKED, OURS, "Spotlight")
                for one in planted(method, 0.9, confirmed=False, where="several", n=9)
            ],
            "40% of what FailureFinder found is confirmed; the bar is 50%",
        ),
        (null("lax", 25), "null: something of lax is confirmed in 25 of 100 worlds at q = 0.1"),
        (scenes(OURS, 0.0), "scenes: FailureFinder discovers 0.475; the bar is 0.9"),
        (scenes(OURS, 1.0, false=0.2), "scenes: 0.100 of FailureFinder's slices are false; the bar is 0.05"),
    ],
)
def test_each_bar_can_be_missed(more, said, capsys):
    assert report([*REACHED, *more], q=0.1) == 1
    assert f"MISS: {said}" in capsys.readouterr().out


def test_settings_that_not_all_were_tried_on_are_left_out(capsys):
    partly = [one for one in REACHED if not (one["part"] == "planted" and one["method"] == OURS and one["seed"] > 3)]
    assert report(partly, q=0.1) == 0
    assert "2 settings are left out, on which not every method was tried" in capsys.readouterr().out
    others = [dict(one, seed=one["seed"] + 100) for one in REACHED if one["method"] == OURS_RANKED]
    with pytest.raises(ValueError, match="no setting was tried with every method"):
        report([one for one in REACHED if one["method"] != OURS_RANKED] + others, q=0.1)


def test_nothing_found_is_not_everything_confirmed(capsys):
    results = [one for method in (OURS_RANKED, OURS, "Spotlight") for one in planted(method, 0.5)]
    assert report(results, q=0.1) == 1
    assert "NOT TRIED: planted groups confirmed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (OURS_RANKED, "NOT TRIED: planted groups identified: needs FailureFinder q=1"),
        ("Spotlight", "NOT TRIED: planted groups against every other method"),
        (OURS, "NOT TRIED: blind spots of the scenes discovered"),
    ],
)
def test_a_bar_that_was_not_tried_is_no_bar_that_was_reached(left_out, said, capsys):
    assert report([one for one in REACHED if one["method"] != left_out], q=0.1) == 0
    said_all = capsys.readouterr().out
    assert said in said_all and "no quality miss among the bars that were tried" in said_all
