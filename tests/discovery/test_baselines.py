"""The two baselines that every method has to beat."""

import numpy as np
import pytest
from discovery_cases import planted

from failviz.discovery import ConfidenceRank, ConfusionCells
from failviz.evaluation import Evaluation
from failviz.verification import verify


@pytest.fixture
def animals():
    probs = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.0, 0.1, 0.9], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]
    labels = [0, 0, 0, 0, 1, 1]
    return Evaluation(np.eye(6), labels=labels, probs=probs, class_names=["cat", "dog", "cow"])


def test_cells_are_ordered_by_mistakes_then_by_class(animals):
    fitted = ConfusionCells().fit(animals)
    assert fitted.cells_.tolist() == [[0, 1], [0, 2], [1, 0]]
    assert fitted.counts_.tolist() == [2, 1, 1]
    assert [one.name for one in fitted.slices(animals)] == [
        "cat taken for dog",
        "cat taken for cow",
        "dog taken for cat",
    ]
    assert ConfusionCells(n_slices=1).fit(animals).cells_.tolist() == [[0, 1]]


def test_a_cell_is_weighted_by_the_probability_of_the_wrong_class(animals):
    one = ConfusionCells().fit(animals).slices(animals)[0]
    np.testing.assert_allclose(one.weights, [0.1, 0.7, 0.4, 0.1, 0, 0], atol=1e-7)
    assert np.array_equal(np.isinf(one.scores), [False] * 4 + [True] * 2)
    assert one.members.tolist() == ["1"]
    assert one.stats == {"fit_errors": 2, "fit_share_of_class": 0.5}


def test_predictions_without_probabilities_count_as_certain():
    ev = Evaluation(np.eye(3), labels=[0, 0, 1], predictions=[0, 1, 1])
    one = ConfusionCells().fit(ev).slices(ev)[0]
    assert one.weights.tolist() == [0, 1, 0]
    assert one.name == "class 0 taken for class 1"


def test_confidence_ranks_each_class_by_the_probability_of_its_label(animals):
    fitted = ConfidenceRank().fit(animals)
    first, second = fitted.slices(animals)
    assert [first.name, second.name] == ["cat: least confident", "dog: least confident"]
    assert np.argsort(-first.scores)[:4].tolist() == [3, 1, 2, 0]
    np.testing.assert_allclose(second.weights, [0, 0, 0, 0, 0.7, 0.2], atol=1e-7)
    assert first.stats == {"fit_n": 4, "fit_errors": 3, "fit_error_rate": 0.75}


def test_confidence_needs_probabilities():
    ev = Evaluation(np.eye(2), labels=[0, 1], predictions=[1, 1])
    with pytest.raises(ValueError, match="ConfidenceRank needs probs"):
        ConfidenceRank().fit(ev)


@pytest.mark.parametrize("finder", [ConfusionCells(), ConfidenceRank()])
def test_a_model_without_errors_has_no_slices(finder):
    ev = Evaluation(np.eye(2), labels=[0, 1], probs=np.eye(2))
    fitted = finder.fit(ev)
    assert fitted.slices(ev) == []
    assert fitted.decision_function(ev).shape == (2, 0)


def test_rates_are_shown_and_never_confirmed():
    first, second = planted(1200)[0].split(0.5, random_state=0)
    for finder in (ConfusionCells(), ConfidenceRank()):
        verdicts = verify(finder.fit(first), second)
        assert verdicts[0].error_rate == 1.0  # an error by construction
        assert not any(one.confirmed for one in verdicts)


@pytest.mark.parametrize("n_slices", [0, -1, 2.5, True, "many"])
def test_bad_settings_are_refused(n_slices, animals):
    with pytest.raises(ValueError, match="n_slices must be a whole number of at least 1"):
        ConfusionCells(n_slices).fit(animals)
