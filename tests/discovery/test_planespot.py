"""PlaneSpot: parity with scikit-learn called as in the paper, membership from the map alone, and the obvious case."""

import numpy as np
import pytest
from discovery_cases import one_class, planted
from scipy.stats import multivariate_normal
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler, minmax_scale

from failviz.discovery import plane_fit
from failviz.discovery.base import canonical_order
from failviz.discovery.plane_fit import best_mixture, confidence_map, plane_logs, principal_map
from failviz.discovery.planespot import PlaneSpot
from failviz.evaluation import Evaluation
from failviz.verification import verify


@pytest.fixture(scope="module")
def halves():
    return planted(1200)[0].split(0.5, random_state=0)


def fitted(evaluation, **settings):
    return PlaneSpot(**{"n_components": 5, "random_state": 0, "progress": False} | settings).fit(evaluation)


def in_order(evaluation):
    """Rows as the fit takes them, and the probability of their labels."""
    labels = evaluation.labels
    confidence = evaluation.probs[np.arange(len(labels)), labels].astype(float)
    order = canonical_order(evaluation.space(), evaluation.row_hashes(), labels, evaluation.predictions, confidence)
    return order, confidence


@pytest.mark.parametrize("weight", [0.025, 1.0])
def test_same_mixture_as_scikit_learn_called_as_in_the_paper(halves, weight):
    finder = fitted(halves[0], group_by="all", embedding="principal", n_components=7, confidence_weight=weight)
    order, confidence = in_order(halves[0])
    places = minmax_scale(PCA(2).fit_transform(halves[0].space()[order].astype(float)))
    points = np.column_stack([places, weight * confidence[order]])
    seed = np.random.RandomState(0).randint(2**31 - 1)
    tried = [GaussianMixture(k, random_state=seed).fit(points) for k in range(1, 8)]
    theirs = min(tried, key=lambda mixture: mixture.bic(points))
    ours = finder.planes_["all"].mixture
    assert 1 < ours.n_components == theirs.n_components
    # An axis may point either way.
    for j in range(2):
        same, mirrored = (
            abs(column - ours.means_[:, j]).max() for column in (theirs.means_[:, j], 1 - theirs.means_[:, j])
        )
        assert min(same, mirrored) < 1e-5
    np.testing.assert_allclose(ours.means_[:, 2], theirs.means_[:, 2], atol=1e-5 * weight)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, atol=1e-5)


def test_the_map_of_confidence_is_that_of_partial_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) * [5, 1, 1, 0.1, 2, 1] + 3
    y = 10 * x[:, 3] + x[:, 0] + rng.normal(size=300)
    theirs = PLSRegression(2).fit(x, y).transform(x) * np.sqrt(300 / 299)  # its spread is that of a sample
    ours = confidence_map(x, y).transform(x)
    for j in range(2):
        assert min(np.abs(ours[:, j] - sign * theirs[:, j]).max() for sign in (1, -1)) < 1e-9
    assert np.corrcoef(ours.T)[0, 1] == pytest.approx(0, abs=1e-12)


def test_without_anything_that_goes_with_confidence_the_map_is_principal():
    x = np.random.default_rng(0).normal(size=(80, 4)) * [3, 2, 1, 0.5]
    alike, principal = confidence_map(x, np.full(80, 0.7)), principal_map(x)
    assert np.array_equal(alike.axes, principal.axes)
    theirs = PCA(2).fit_transform(x)
    np.testing.assert_allclose(np.abs(principal.transform(x)), np.abs(theirs), atol=1e-9)


def test_a_bic_that_no_longer_falls_ends_the_search(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(120, 3)) * 0.1 + np.repeat(np.eye(3), 40, axis=0)
    tried = []

    class Counted(GaussianMixture):
        def fit(self, rows):
            tried.append(self.n_components)
            return super().fit(rows)

    monkeypatch.setattr("sklearn.mixture.GaussianMixture", Counted)
    assert best_mixture(points, 33, 0).n_components == 3
    assert tried == list(range(1, 4 + plane_fit.PATIENCE))
    assert best_mixture(points, 2, 0).n_components == 2


def test_the_third_column_is_integrated_out():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)) + np.repeat(
        [[0, 0, 0], [5, 0, 9], [0, 5, 9]], 100, axis=0
    )
    mixture = GaussianMixture(3, random_state=0).fit(points)
    places = 4 * rng.normal(size=(50, 2))
    expected = [
        np.log(weight) + multivariate_normal(mean[:2], cov[:2, :2]).logpdf(places)
        for weight, mean, cov in zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
    ]
    np.testing.assert_allclose(plane_logs(mixture, places), np.array(expected).T, rtol=1e-9, atol=1e-9)


def test_planted_failure_is_found_in_its_class(halves):
    evaluation, hard = planted(1200)
    finder = fitted(evaluation)
    first = finder.slices(evaluation)[0]
    assert first.scope == ("label", 1)
    assert first.name == "spot 1: kind 1 taken for kind 2"
    inside = first.in_scope
    assert roc_auc_score(hard[inside], first.scores[inside]) > 0.85
    assert hard[first.is_member].mean() > 0.7
    verdicts = verify(fitted(halves[0]), halves[1])
    assert verdicts[0].confirmed and verdicts[0].lift > 2


@pytest.mark.parametrize("group_by", ["label", "prediction", "all"])
def test_spots_are_ranked_by_errors_times_error_rate_on_the_map(halves, group_by):
    finder = fitted(halves[0], group_by=group_by)
    slices = finder.slices(halves[0])
    assert [one.scope for one in slices] == [scope for scope, _ in finder.spots_]
    importances = []
    for one in slices:
        inside, stats = one.in_scope, one.stats
        fails, size = one.weights @ halves[0].errors, one.weights.sum()
        assert stats["fit_weight"] == pytest.approx(size)
        assert stats["fit_errors"] == pytest.approx(fails)
        assert stats["fit_error_rate"] == pytest.approx(fails / size) and fails / size > stats["fit_base_error_rate"]
        assert stats["fit_base_error_rate"] == pytest.approx(halves[0].errors[inside].mean())
        confidence = in_order(halves[0])[1]
        assert stats["fit_confidence"] == pytest.approx(confidence @ one.weights / size)
        assert len(one) >= plane_fit.FEWEST
        importances.append(fails**2 / size)
    assert importances == sorted(importances, reverse=True) and importances
    assert [s.name for s in fitted(halves[0], group_by=group_by, n_slices=1).slices(halves[0])] == [slices[0].name]


def test_without_probs_confidence_is_the_outcome(halves):
    columns = {name: getattr(halves[0], name) for name in ("labels", "predictions", "class_names")}
    outcome = np.where(halves[0].errors[:, None], [0.0, 1.0], [1.0, 0.0])
    probs = np.zeros((600, 3))
    rows = np.arange(600)
    probs[rows, halves[0].labels], probs[rows, (halves[0].labels + 1) % 3] = outcome.T
    bare = fitted(Evaluation(halves[0].space(), **columns)).decision_function(halves[1])
    assert np.array_equal(
        bare, fitted(Evaluation(halves[0].space(), probs=probs, **columns)).decision_function(halves[1])
    )


def test_confidence_parts_what_lies_in_one_place():
    """Two overlapping clouds of which one is unsure: with no weight on confidence they are one cluster."""
    rng = np.random.default_rng(0)
    unsure = np.arange(600) >= 300
    x = rng.normal(size=(600, 2))
    x[unsure, 0] += 1.5
    wrong = unsure & (rng.random(600) < 0.6)
    p = np.where(unsure, np.where(wrong, 0.3, 0.6), 0.97) + 0.02 * rng.random(600)
    evaluation = Evaluation(x, labels=np.zeros(600, int), probs=np.column_stack([p, 1 - p]))
    scope = ("label", 0)
    assert fitted(evaluation, confidence_weight=0.0).planes_[scope].mixture.n_components == 1
    finder = fitted(evaluation, confidence_weight=1.0)
    assert finder.planes_[scope].mixture.n_components >= 2
    assert unsure[finder.slices(evaluation)[0].is_member].mean() > 0.6


def test_any_transformer_may_draw_the_map(halves):
    first_two = fitted(halves[0], embedding=TruncatedSVD(2, random_state=0))
    assert isinstance(first_two.planes_["label", 1].embedding, TruncatedSVD)
    assert np.isfinite(first_two.decision_function(halves[1])).any()
    assert not hasattr(first_two.embedding, "components_")  # a copy was fitted
    own, given = (fitted(halves[0], embedding=embedding) for embedding in ("principal", PCA(2)))
    first, second = (finder.slices(halves[1])[0] for finder in (own, given))
    assert first.jaccard(second) > 0.95
    with pytest.raises(ValueError, match=r"two columns, and it gave shape \(\d+, 12\)"):
        fitted(halves[0], embedding=StandardScaler())
    with pytest.raises(TypeError, match=r"places new rows by `transform` .* not TSNE"):
        fitted(halves[0], embedding=TSNE())


def test_every_group_says_why_it_has_no_plane():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), [60, 60, 60, 12, 60])
    wrong = np.zeros(252, bool)
    wrong[:20] = wrong[60:61] = wrong[120:179] = wrong[180:186] = True
    predictions = np.where(wrong, (labels + 1) % 5, labels)
    evaluation = Evaluation(
        rng.normal(size=(252, 3)), labels=labels, predictions=predictions, class_names=list("abcdef")
    )
    finder = fitted(evaluation)
    assert list(finder.status_.values()) == [
        "fitted",
        "too_few_errors",
        "too_few_correct",
        "too_few_examples",
        "too_few_errors",
        "empty",
    ]
    assert list(finder.planes_) == [("label", 0)]


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_line_is_a_plane_on_which_one_side_is_zero(d):
    line = np.r_[np.linspace(0, 1, 150), np.linspace(3, 4, 50)]
    wrong = np.arange(200) % 10 == 0
    wrong[150:] = np.arange(50) % 2 == 0
    evaluation = Evaluation(
        line[:, None] * np.arange(1, d + 1) + 7, labels=np.zeros(200, int), predictions=wrong.astype(int)
    )
    finder = fitted(evaluation)
    assert np.isinf(finder.planes_["label", 0].span).tolist() == [False, True]
    one = finder.slices(evaluation)[0]
    assert one.is_member[150:].all() and not one.is_member[:150].any()


def test_equal_rows_have_no_slices():
    evaluation = Evaluation(np.full((80, 3), 1 / 3), labels=np.zeros(80, int), predictions=np.arange(80) % 2)
    finder = fitted(evaluation)
    assert np.isinf(finder.planes_["label", 0].span).all()
    assert finder.slices(evaluation) == []
    assert finder.decision_function(evaluation).shape == (80, 0)


def test_scale_and_place_of_the_embeddings_do_not_matter(halves):
    columns = {name: getattr(halves[0], name) for name in ("labels", "predictions", "probs", "class_names")}
    weights = [
        fitted(Evaluation(evaluation, **columns)).slices(Evaluation(evaluation, **columns))[0].weights
        for evaluation in (halves[0].space(), halves[0].space() * 1000, halves[0].space() * 0.001 + 0.01)
    ]
    assert np.corrcoef(weights).min() > 0.999


def test_only_the_column_of_the_group_is_needed_to_apply(halves):
    bare = Evaluation(halves[1].space())
    assert np.isfinite(fitted(halves[0], group_by="all").decision_function(bare)).all()
    for group_by in ("label", "prediction"):
        finder = fitted(halves[0], group_by=group_by)
        with pytest.raises(ValueError, match=f"PlaneSpot needs {group_by}s"):
            finder.decision_function(bare)
        finder.set_params(group_by="all")  # counts from the next fit on
        assert finder.requires_to_apply == (f"{group_by}s",)


def test_a_scope_that_is_empty_elsewhere_has_no_members(halves):
    finder = fitted(halves[0])
    others = halves[1].take(halves[1].labels != 1)
    assert [len(one) for one in finder.slices(others) if one.scope == ("label", 1)] == [0] * sum(
        scope == ("label", 1) for scope, _ in finder.spots_
    )


def test_too_few_errors_in_all():
    finder = fitted(one_class(n_errors=1)[2])
    assert finder.spots_ == [] and finder.score(one_class(seed=1)[2]) == 1.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_slices": 0}, "n_slices must"),
        ({"n_components": 2.5}, "n_components must"),
        ({"confidence_weight": -1}, "confidence_weight must"),
        ({"confidence_weight": np.nan}, "confidence_weight must"),
        ({"confidence_weight": True}, "confidence_weight must"),
        ({"confidence_weight": "some"}, "confidence_weight must"),
        ({"group_by": "labels"}, "group_by must"),
        ({"embedding": "umap"}, "embedding must"),
    ],
)
def test_wrong_settings_are_refused_at_fit(settings, words, halves):
    with pytest.raises(ValueError, match=words) as refusal:
        fitted(halves[0], **settings)
    assert "\n" not in str(refusal.value)
