"""`verify` beside published examples, enumerations and scipy, and what it is for: noise, significant in-sample.

Published: the rabbits of Agresti 1990 (pages 231-237; exact conditional test, as in R's `mantelhaen.test`), Fisher's
lady tasting tea, and the fifteen p-values of Benjamini & Hochberg 1995.
"""

from itertools import product

import numpy as np
import pytest
from discovery_cases import planted
from scipy.stats import betabinom, binomtest, fisher_exact, hypergeom
from sklearn.base import clone

from failviz import _statistics
from failviz.discovery import FailureDirections, FailureTree
from failviz.evaluation import Evaluation
from failviz.refitting import stability
from failviz.slices import Slice
from failviz.verification import verify

LDA = FailureDirections(estimator="lda", random_state=0, progress=False)


def noise(seed, n=600, d=12):
    """Errors that have nothing to do with the embeddings, in three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    predictions = np.where(rng.random(n) < 0.25, (labels + rng.integers(1, 3, n)) % 3, labels)
    return Evaluation(rng.normal(size=(n, d)), labels=labels, predictions=predictions)


def group(evaluation, member, scope="all"):
    weights = member.astype(float)
    return Slice.of(evaluation, scores=weights, weights=weights, scope=scope, name="group", method="test")


def table(counts):
    """An Evaluation and a slice from strata of [[in and wrong, in and right], [out and wrong, out and right]]."""
    cells = [
        (stratum, side == 0, outcome == 0)
        for stratum, numbers in enumerate(counts)
        for side in range(2)
        for outcome in range(2)
        for _ in range(numbers[side][outcome])
    ]
    labels, inside, wrong = (np.array(column) for column in zip(*cells, strict=True))
    n = len(labels)
    evaluation = Evaluation(
        np.random.default_rng(0).normal(size=(n, 3)),
        labels=labels,
        predictions=np.where(wrong, (labels + 1) % 9, labels),
    )
    return evaluation, group(evaluation, inside)


def test_stratified_test_has_the_published_p_value_of_agrestis_rabbits():
    """Penicillin at five levels, at once (in) or delayed (out); "wrong" stands for cured."""
    rabbits = [[[0, 6], [0, 5]], [[3, 3], [0, 6]], [[6, 0], [2, 4]], [[5, 1], [6, 0]], [[2, 0], [5, 0]]]
    evaluation, at_once = table(rabbits)
    (verdict,) = verify(at_once, evaluation)
    assert (verdict.n, verdict.n_errors) == (26, 16)
    assert round(verdict.p, 3) == 0.020


def test_one_stratum_has_the_published_p_value_of_the_lady_tasting_tea():
    (verdict,) = verify(*reversed(table([[[3, 1], [1, 3]]])))
    assert verdict.p == pytest.approx(17 / 70, rel=1e-12)


def test_adjusted_p_values_reject_as_in_the_paper_of_benjamini_and_hochberg():
    few = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    many = [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    order = np.random.default_rng(0).permutation(15)
    p = np.array(few + many)[order]
    rejected = _statistics.benjamini_hochberg(p) <= 0.05
    assert sorted(p[rejected]) == few[:4]
    assert sorted(p[_statistics.benjamini_yekutieli(p) <= 0.05]) == few[:3]


@pytest.mark.parametrize("seed", range(6))
def test_strata_are_enumerated_exactly(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 30, 3)
    drawn, wrong = rng.integers(0, sizes + 1), rng.integers(0, sizes + 1)
    laws = [hypergeom(size, w, k) for size, w, k in zip(sizes, wrong, drawn, strict=True)]
    chances = np.zeros(drawn.sum() + 1)
    for counts in product(*(range(k + 1) for k in drawn)):
        chances[sum(counts)] += np.prod([law.pmf(count) for law, count in zip(laws, counts, strict=True)])
    for observed in range(len(chances)):
        split = np.array([observed, 0, 0])
        ours = _statistics.stratified_hypergeometric(split, drawn, wrong, sizes)
        assert ours == pytest.approx(chances[observed:].sum(), abs=1e-12)
    tails = _statistics.stratified_tails(drawn, wrong, sizes)
    np.testing.assert_allclose(tails, np.cumsum(chances[::-1])[::-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_are_those_of_scipy(level):
    for n in (1, 2, 7, 40, 1406):
        for count in {0, 1, n // 3, n - 1, n}:
            theirs = binomtest(count, n).proportion_ci(level, method="wilson")
            assert _statistics.wilson(count, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_shrunken_rates_are_posterior_means_at_the_likeliest_strength():
    rng = np.random.default_rng(0)
    sizes, centres = rng.integers(5, 200, 25), rng.uniform(0.05, 0.4, 25)
    rates = rng.beta(12 * centres, 12 * (1 - centres))
    wrong = rng.binomial(sizes, rates)
    shrunken = _statistics.shrunken_rates(wrong, sizes, centres)
    strengths = (wrong - sizes * shrunken) / (shrunken - centres)  # from the mean of a beta-binomial posterior
    np.testing.assert_allclose(strengths, strengths[0], rtol=1e-6)

    def likelihood(strength):
        return betabinom(sizes, strength * centres, strength * (1 - centres)).logpmf(wrong).sum()

    others = np.geomspace(1, 1000, 61)
    assert likelihood(strengths[0]) == pytest.approx(max(map(likelihood, others)), abs=1e-8)
    assert 6 < strengths[0] < 24
    assert np.abs(shrunken - rates).mean() < np.abs(wrong / sizes - rates).mean()


def test_stability_is_the_mean_best_jaccard_index_of_ten_refits_on_four_fifths():
    first, second = planted(600)[0].split(0.5, random_state=0)
    fitted = FailureTree("label", 5, 2, random_state=0, progress=False).fit(first)
    indices = []
    for seed in np.random.default_rng(4).integers(2**31 - 1, size=10):
        part = first.split(0.8, random_state=int(seed))[0]
        assert abs(part.n_examples - 0.8 * first.n_examples) <= 6
        found = clone(fitted).fit(part).slices(second)
        row = []
        for one in fitted.slices(second):
            mine = set(one.members)
            others = [set(other.members) for other in found if other.scope == one.scope]
            row.append(max([len(mine & other) / len(mine | other) for other in others], default=0.0))
        indices.append(row)
    ours = stability(fitted, first, second, random_state=4, progress=False)
    np.testing.assert_allclose(ours, np.mean(indices, axis=0), atol=1e-12)
    assert np.ptp(ours) > 0.1


# -- noise -----------------------------------------------------------------------------------


def fisher(inside, outside):
    counts = [[side.sum(), (~side).sum()] for side in (inside, outside)]
    return fisher_exact(counts, alternative="greater").pvalue


def test_on_noise_slices_are_significant_where_they_were_found_and_not_elsewhere():
    n_in_sample = n_held_out = 0
    for seed in range(30):
        train, test = noise(seed).split(0.5, random_state=0)
        fitted = clone(LDA).fit(train)
        p = [
            fisher(train.errors[one.is_member], train.errors[one.in_scope & ~one.is_member])
            for one in fitted.slices(train)
        ]
        n_in_sample += (_statistics.benjamini_hochberg(np.array(p)) <= 0.1).any()
        n_held_out += bool(verify(fitted, test, q=0.1).confirmed)
    assert n_in_sample >= 28
    assert n_held_out <= 8  # 3 expected at most; the chance of more than 8 is 0.002


def test_a_group_of_predictions_is_judged_among_them_and_not_in_the_class_of_that_name():
    among_them, in_the_class = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels, x = rng.integers(0, 3, 600), rng.normal(size=(600, 2))
        taken_for_1 = rng.random(600) < 0.35  # whatever the embedding; class 1 itself is seldom mistaken
        predictions = np.where(labels == 1, np.where(rng.random(600) < 0.05, 2, 1), np.where(taken_for_1, 1, labels))
        evaluation = Evaluation(x, labels=labels, predictions=predictions)
        member = (predictions == 1) & (x[:, 0] > 0)
        (verdict,) = verify(group(evaluation, member, ("prediction", 1)), evaluation)
        rest = (predictions == 1) & ~member
        assert verdict.p == pytest.approx(fisher(evaluation.errors[member], evaluation.errors[rest]), abs=1e-12)
        among_them.append(verdict.p)
        in_the_class.append(fisher(evaluation.errors[member], evaluation.errors[(labels == 1) & ~member]))
    assert np.mean(np.array(among_them) <= 0.05) <= 0.15
    assert np.mean(np.array(in_the_class) <= 0.05) == 1
