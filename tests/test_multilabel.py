"""Heads of a multi-label model: thresholds by F1, one shared table, and each an Evaluation like any other."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from failviz import Evaluation, FailureDirections, _fingerprints, verify
from failviz._multilabel import GRID, best_threshold, f1_scores


def faces(n=900, d=8, seed=0):
    """Embeddings, labels and probs of two heads; the first says "no" to smiles in hats."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    labels = np.column_stack([rng.random(n) < 0.5, x[:, 1] > 0.8]).astype(int)
    sees = labels[:, 0] * (x[:, 1] < 0.8) + (rng.random(n) < 0.03)
    smile = np.clip(0.15 + 0.7 * (sees > 0) + 0.1 * rng.normal(size=n), 0.001, 0.999)
    hat = 1 / (1 + np.exp(-6 * (x[:, 1] - 0.8) - rng.normal(size=n)))
    return x, labels, np.column_stack([smile, hat])


def heads(n=900, seed=0, **changes):
    x, labels, probs = faces(n, seed=seed)
    columns = {"labels": labels, "probs": probs, "head_names": ["smile", "hat"]} | changes
    return Evaluation.from_multilabel(columns.pop("embeddings", x), **columns)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), digits=st.integers(1, 3), share=st.sampled_from([0, 0.3, 1]))
def test_the_threshold_is_the_argmax_of_f1(seed, n, digits, share):
    rng = np.random.default_rng(seed)
    labels, weights = rng.random(n) < share, rng.integers(1, 4, n).astype(float)
    p = np.round(rng.random(n), digits)  # many lie on a threshold
    passes = p >= GRID[:, None]
    true, wanted = 2 * (passes & labels) @ weights, passes @ weights + labels @ weights
    expected = true / np.maximum(wanted, 1e-300)
    np.testing.assert_allclose(f1_scores(labels, p, weights), expected, atol=1e-12)
    chosen = best_threshold(labels, p, weights)
    assert expected[round(100 * chosen) - 1] == pytest.approx(expected.max(), abs=1e-12)
    closer = np.abs(GRID - 0.5) < abs(chosen - 0.5) - 1e-9
    assert (expected[closer] < expected.max()).all()


def test_f1_is_that_of_scikit_learn():
    _, labels, probs = faces(200)
    weights = np.random.default_rng(0).random(200)
    expected = [f1_score(labels[:, 0], probs[:, 0] >= t, sample_weight=weights) for t in GRID[:90:10]]
    np.testing.assert_allclose(f1_scores(labels[:, 0] == 1, probs[:, 0], weights)[:90:10], expected)


def test_every_head_is_a_binary_evaluation():
    x, labels, probs = faces()
    both = heads(thresholds=[0.3, 0.7])
    assert list(both) == ["smile", "hat"] and len(both) == 2 and "smile" in both
    for column, (name, one) in enumerate(both.items()):
        assert one is both[name]
        assert one.class_names == [f"not {name}", name] and one.n_classes == 2
        assert np.array_equal(one.labels, labels[:, column])
        assert np.array_equal(one.predictions, probs[:, column] >= both.thresholds[name])
        np.testing.assert_allclose(one.probs[:, 1], probs[:, column], rtol=1e-6)
        np.testing.assert_allclose(one.probs.sum(axis=1), 1, atol=1e-6)
        assert one.losses.mean() == pytest.approx(log_loss(labels[:, column], probs[:, column]), rel=1e-6)
        assert np.array_equal(one.errors, labels[:, column] != (probs[:, column] >= both.thresholds[name]))
        assert np.array_equal(one.space(), x)
    assert both["smile"].hash != both["hat"].hash
    with pytest.raises(KeyError, match="no head 'beard', only 'smile', 'hat'"):
        both["beard"]
    assert repr(both) == "Heads(900 examples: 'smile' at 0.30, 'hat' at 0.70)"
    many = Evaluation.from_multilabel(np.eye(2), labels=np.eye(2, 12), probs=np.full((2, 12), 0.5))
    assert repr(many).endswith("'head 9' at 0.50, and 2 more)")


def test_thresholds_of_validation_serve_the_test():
    validation, test = heads(), heads(seed=1)
    assert validation.thresholds != test.thresholds
    assert all(0 < threshold < 1 for threshold in validation.thresholds.values())
    assert heads(seed=1, thresholds=validation.thresholds).thresholds == validation.thresholds
    turned = dict(reversed(validation.thresholds.items()))
    assert heads(seed=1, thresholds=turned).thresholds == validation.thresholds
    assert heads(thresholds=0.25).thresholds == {"smile": 0.25, "hat": 0.25}
    assert heads(thresholds=torch.tensor([0.25, 0.75])).thresholds == {"smile": 0.25, "hat": 0.75}
    # In-sample, no threshold is better than the one chosen.
    smile = heads()["smile"]
    best = f1_score(smile.labels, smile.predictions)
    assert all(best >= f1_score(smile.labels, smile.probs[:, 1] >= t) - 1e-12 for t in (0.2, 0.4, 0.5, 0.6, 0.8))


def test_weights_count_in_the_choice():
    labels, probs = [[1], [0], [1]], [[0.3], [0.4], [0.8]]
    plain, weighted = (
        Evaluation.from_multilabel(np.eye(3), labels=labels, probs=probs, weights=weights).thresholds["head 0"]
        for weights in (None, [1, 9, 1])
    )
    assert (plain, weighted) == (0.3, 0.5)


def test_a_head_without_positives_is_cut_in_the_middle():
    x, labels, probs = faces()
    none = Evaluation.from_multilabel(x, labels=np.zeros_like(labels), probs=probs)
    assert none.thresholds == {"head 0": 0.5, "head 1": 0.5}
    assert none["head 0"].error_rate == (probs[:, 0] >= 0.5).mean()


def test_certain_probabilities_have_finite_losses():
    one = Evaluation.from_multilabel(np.eye(3), labels=[[1], [0], [1]], probs=[[0.0], [1e-9], [1.0]], thresholds=0.5)
    losses = one["head 0"].losses
    assert np.isfinite(losses).all() and losses[2] == 0
    assert losses[1] == pytest.approx(1e-9, rel=1e-6)


def test_what_is_known_of_the_rows_is_shared(monkeypatch):
    computed = []
    for name in ("fingerprints", "content_hashes"):
        kernel = getattr(_fingerprints, name)
        monkeypatch.setattr(
            _fingerprints, name, lambda array, name=name, kernel=kernel: computed.append(name) or kernel(array)
        )
    both = heads(metadata={"k": np.arange(900)}, ids=[f"face {i}" for i in range(900)])
    smile, hat = both["smile"], both["hat"]
    assert np.shares_memory(smile.space(), hat.space())
    assert smile.ids is hat.ids and smile.metadata is hat.metadata
    assert smile.row_fingerprints() is hat.row_fingerprints()
    smile.hash, hat.hash  # noqa: B018 (that they are computed is the point)
    assert smile.row_hashes() is hat.row_hashes()
    assert computed.count("fingerprints") == 1
    assert computed.count("content_hashes") <= 2  # once more within the fingerprints


def test_a_head_can_be_taken_apart_and_saved(tmp_path):
    hat = heads()["hat"]
    part = hat.take(np.arange(50))
    assert part.class_names == ["not hat", "hat"] and np.array_equal(part.predictions, hat.predictions[:50])
    hat.save(tmp_path / "hat")
    assert Evaluation.load(tmp_path / "hat").hash == hat.hash
    for column in (hat.labels, hat.predictions, hat.probs, hat.losses):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_names_come_from_the_columns_of_a_frame():
    x, labels, probs = faces(50)
    names = ["smile", "hat"]
    labels, probs = pd.DataFrame(labels, columns=names), pd.DataFrame(probs, columns=names)
    assert list(Evaluation.from_multilabel(x, labels=labels, probs=probs.to_numpy())) == names
    assert list(Evaluation.from_multilabel(x, labels=labels, probs=probs)) == names
    assert list(Evaluation.from_multilabel(x, labels=labels == 1, probs=probs, head_names=["a", "b"])) == ["a", "b"]
    with pytest.raises(ValueError, match="other names or another order"):
        Evaluation.from_multilabel(x, labels=labels, probs=probs[names[::-1]])


def test_directions_of_a_head_find_what_it_misses():
    validation = heads()
    test = heads(seed=1, thresholds=validation.thresholds)
    finder = FailureDirections(random_state=0, progress=False).fit(validation["smile"])
    verdicts = verify(finder, test["smile"])
    missed = next(verdict for verdict in verdicts if verdict.slice.scope == ("label", 1))
    assert missed.confirmed and missed.lift > 3
    in_hats = test["smile"].space()[:, 1] >= 0.8
    assert in_hats[missed.slice.is_member].mean() > 0.7
    with pytest.raises(ValueError, match="used to find"):
        verify(finder, validation["smile"])


X, LABELS, PROBS = faces(12)


def changed(table, row, column, value):
    table = table.astype(float)
    table[row, column] = value
    return table


BAD = {
    "labels two": ({"labels": changed(LABELS, 3, 1, 2)}, "labels must be 0 or 1, and head 'hat' row 3 is 2.0"),
    "labels unknown": ({"labels": changed(LABELS, 3, 0, np.nan)}, "head 'smile' row 3 is nan: drop that row"),
    "logits": ({"probs": changed(PROBS, 5, 0, -2.5)}, r"in \[0, 1\], and head 'smile' row 5 is -2.5: pass sigmoid"),
    "probs above": ({"probs": changed(PROBS, 5, 1, 1.5)}, "head 'hat' row 5 is 1.5"),
    "probs missing": ({"probs": changed(PROBS, 0, 1, np.nan)}, "head 'hat' row 0 is nan"),
    "labels flat": ({"labels": LABELS[:, 0]}, r"labels must have shape \(12, n_heads\).* not \(12,\)"),
    "probs short": ({"probs": PROBS[:5]}, r"probs must have shape \(12, n_heads\).* not \(5, 2\)"),
    "no heads": ({"labels": LABELS[:, :0], "probs": PROBS[:, :0]}, "one column per head"),
    "heads differ": ({"probs": PROBS[:, :1]}, "they have 2 and 1"),
    "names short": ({"head_names": ["smile"]}, "each of the 2 heads, and 1 came"),
    "names twice": ({"head_names": ["smile", "smile"]}, "'smile' comes again"),
    "threshold short": ({"thresholds": [0.5]}, r"one per head \(2\), not of shape \(1,\)"),
    "threshold missing": ({"thresholds": {"smile": 0.5}}, "none for head 'hat'"),
    "threshold unknown": ({"thresholds": {"smile": 0.5, "hat": 0.5, "cap": 0.5}}, "names 'cap', and the heads are"),
    "threshold one": ({"thresholds": [0.5, 1]}, "the threshold of head 'hat' must lie strictly between 0 and 1"),
    "threshold nan": ({"thresholds": np.nan}, "head 'smile' must lie strictly between"),
    "threshold text": ({"thresholds": "half"}, "must lie strictly between 0 and 1, not 'half'"),
    "ids": ({"ids": ["a"] * 12}, "'a' comes again"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_line(changes, message):
    columns = {"labels": LABELS, "probs": PROBS, "head_names": ["smile", "hat"]} | changes
    with pytest.raises(ValueError, match=message) as refusal:
        Evaluation.from_multilabel(X, **columns)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("changes", [{"labels": LABELS.astype(str)}, {"probs": PROBS > 0.5}, {"head_names": "ab"}])
def test_what_is_of_the_wrong_kind_is_a_type_error(changes):
    with pytest.raises(TypeError):
        Evaluation.from_multilabel(X, **{"labels": LABELS, "probs": PROBS} | changes)
