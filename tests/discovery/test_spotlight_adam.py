"""The published Spotlight optimiser: the trajectory that torch's gradients give, for spheres and for ellipsoids."""

import numpy as np
import pytest
from sklearn.base import clone
from spotlight_cases import blobs, kernel_of, published_with_autograd

from failviz.discovery import Spotlight
from failviz.discovery.spotlight_adam import ascend_as_published, barrier_widths
from failviz.discovery.spotlight_entropy import EntropyPenalty
from failviz.discovery.spotlight_level import Cloud, Scaling, level_ascent
from failviz.discovery.spotlight_size import exact_tau
from failviz.evaluation import Evaluation


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_adam_repeats_the_published_trajectory(scale, seed):
    x, losses, _ = blobs(300, 6, seed)
    x, widths = x.astype(np.float64) * scale / 4, barrier_widths(300, 15.0, 1500)
    ours = kernel_of(x, *ascend_as_published(x, losses, 15.0, widths=widths))
    published = kernel_of(x, *published_with_autograd(x, losses, 15.0, widths))
    assert np.corrcoef(ours, published)[0, 1] >= 0.999


def test_adam_solver_is_the_published_optimiser_on_the_rows_as_they_are():
    # On some data the published schedule ends elsewhere when sums are taken in another order: seeds 0 and 1.
    x, losses, _ = blobs(200, 4, seed=2)
    finder = Spotlight(n_slices=1, min_weight=20, solver="adam", progress=False).fit(Evaluation(x, losses=losses))
    # In float64: with float32 gradients the published code does not repeat even itself.
    reference = published_with_autograd(x.astype(np.float64), losses, 20.0, barrier_widths(200, 20.0, 5000))
    published = kernel_of(x, *reference)
    ours = kernel_of(x, finder.centers_[0], finder.precisions_[0])
    assert np.corrcoef(ours, published)[0, 1] >= 0.999
    assert finder.methods_ == ["adam"]


@pytest.mark.parametrize("seed", range(5))
def test_objective_at_the_published_size_is_at_least_the_published_one(seed):
    x, losses, _ = blobs(600, 8, seed)
    scaled = Scaling.fit(x)(x)
    kernel = kernel_of(scaled, *ascend_as_published(scaled, losses, 30.0, widths=barrier_widths(600, 30.0, 3000)))
    size, published = kernel.sum(), kernel @ losses / kernel.sum()
    cloud = Cloud(scaled, losses)
    starts = cloud.rows[np.argsort(-losses)[:16]].astype(np.float64)
    centres = level_ascent(cloud, starts, size, anchors=starts, confine=None, shrink=True)
    distances = cloud.distances(centres)
    kernels = cloud.kernel(distances, exact_tau(distances, size))
    np.testing.assert_allclose(kernels.sum(axis=1), size, rtol=1e-4)
    assert cloud.mean_loss(kernels).max() >= published


def test_adam_repeats_the_published_ellipsoids_step_for_step():
    x, losses, _ = blobs(300, 4)
    x, widths = x.astype(np.float64), barrier_widths(300, 15.0, 1500)[:250]
    centre, precision = ascend_as_published(x, losses, 15.0, widths=widths, full=True)
    published = published_with_autograd(x, losses, 15.0, widths, full=True)
    np.testing.assert_allclose(centre, published[0], atol=1e-9)
    np.testing.assert_allclose(precision, published[1], atol=1e-9)


# Over many steps the last digits of a sum decide where a step ends up: with its rows in another order the published
# optimiser agrees with itself no better, and on other seeds to 0.99 only.
def test_adam_repeats_the_published_ellipsoids_to_the_end():
    x, losses, _ = blobs(600, 3, 2)
    x, widths = x.astype(np.float64) / 4, barrier_widths(600, 60.0, 1500)
    centre, precision = ascend_as_published(x, losses, 60.0, widths=widths, full=True)
    published = kernel_of(x, *published_with_autograd(x, losses, 60.0, widths, full=True))
    assert np.corrcoef(kernel_of(x, centre, precision), published)[0, 1] >= 0.999
    values = np.linalg.eigvalsh(precision)
    assert np.array_equal(precision, precision.T)
    assert 0 < values[0] < 0.5 * values[-1]  # a shape of its own


@pytest.mark.parametrize("full", [False, True])
def test_adam_ascends_what_weights_and_entropies_make_of_the_objective(full):
    x, losses, _ = blobs(200, 3, seed=1)
    rng = np.random.default_rng(0)
    weights, predictions = rng.uniform(0.2, 3.0, 200), rng.integers(0, 2, 200)
    labels = (x[:, 0] + 3 * rng.normal(size=200) > 0).astype(int)
    pairs = [(2.0, labels), (1.0, predictions)]
    both = {"weights": weights, "penalties": [EntropyPenalty.of(*one) for one in pairs]}
    x, widths = x.astype(np.float64), barrier_widths(weights.sum(), 20.0, 300)
    ours = kernel_of(x, *ascend_as_published(x, losses, 20.0, widths=widths, full=full, **both))
    published = published_with_autograd(x, losses, 20.0, widths, full=full, weights=weights, penalties=pairs)
    np.testing.assert_allclose(ours, kernel_of(x, *published), atol=1e-6)
    for left_out in both:
        others = {name: value for name, value in both.items() if name != left_out}
        without = kernel_of(x, *ascend_as_published(x, losses, 20.0, widths=widths, full=full, **others))
        assert np.abs(without - ours).max() > 1e-3, left_out


@pytest.mark.parametrize("kernel", ["spherical", "full"])
def test_adam_solver_counts_weights_as_repeated_rows(kernel, monkeypatch):
    monkeypatch.setattr("failviz.discovery.spotlight_search.STEPS", 300)
    x, losses, _ = blobs(150, 3)
    weights = np.random.default_rng(0).integers(1, 4, 150)
    again = np.repeat(np.arange(150), weights)
    finder = Spotlight(n_slices=2, min_weight=0.1, solver="adam", kernel=kernel, progress=False)
    everything = Evaluation(x)
    once, repeated, unweighted = (
        clone(finder).fit(one).decision_function(everything)
        for one in (
            Evaluation(x, losses=losses, weights=weights),
            Evaluation(x[again], losses=losses[again]),
            Evaluation(x, losses=losses),
        )
    )
    np.testing.assert_allclose(once, repeated, atol=0.01)
    assert np.abs(once - unweighted).max() > 0.1


@pytest.mark.parametrize("kernel", ["spherical", "full"])
def test_flipped_adam_maximises_minus_the_loss(kernel, monkeypatch):
    monkeypatch.setattr("failviz.discovery.spotlight_search.STEPS", 300)
    x, losses, _ = blobs(150, 3)
    finder = Spotlight(n_slices=1, min_weight=15, solver="adam", kernel=kernel, flip=True, progress=False)
    finder.fit(Evaluation(x, losses=losses))
    x, full = x.astype(np.float64), kernel == "full"
    published = published_with_autograd(x, -losses, 15.0, barrier_widths(150, 15.0, 300), full=full)
    ours = kernel_of(x, finder.centers_[0], finder.precisions_[0])
    assert np.corrcoef(ours, kernel_of(x, *published))[0, 1] >= 0.999
    assert finder.objectives_[0] == pytest.approx(-(ours @ losses) / ours.sum())
