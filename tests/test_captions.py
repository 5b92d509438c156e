"""Captions: the paper's ranking along a direction, the mixture's among the members, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.svm import SVC

from failviz import (
    ErrorMixture,
    Evaluation,
    FailureDirections,
    Slice,
    datasets,
    evaluate,
    retrieve,
    verify,
)
from failviz.captions import WORDS, describe, grammar, is_first

COLOURS = ("white", "black", "red", "blue", "green", "yellow", "brown")


class Table:
    """An encoder that looks sentences up."""

    name = "clip"

    def __init__(self, vectors):
        self.vectors = vectors
        self.asked = []

    def encode_texts(self, texts):
        self.asked.append(list(texts))
        return np.array([self.vectors[text] for text in texts])


class Words:
    """Each word it knows is an axis."""

    name = "words"
    words = ("sneaker", "boot", "grass", "snow", "photo")

    def encode_texts(self, texts):
        return 3.0 * np.array([[float(word in text.split()) for word in self.words] for text in texts])


def random_texts(d, n, seed):
    rng = np.random.default_rng(seed)
    texts = [f"caption {number}" for number in range(n)]
    return texts, Table({text: rng.normal(size=d) for text in ["a photo of a cat", "a photo of a dog", *texts]})


def clip_like(n=400, d=24, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * rng.gamma(2.0, 1.0, d) + 3 * rng.normal(size=d)
    labels = np.arange(n) % 2
    wrong = rng.random(n) < np.where(x[:, 0] > np.median(x[:, 0]), 0.5, 0.1)
    predictions = np.where(wrong, 1 - labels, labels)
    return Evaluation({"clip": x}, labels=labels, predictions=predictions, class_names=["cat", "dog"])


def pictures(n=400, seed=0):
    """Sneakers and boots on grass and snow; sneakers fail on grass."""
    rng = np.random.default_rng(seed)
    boot, grass = np.arange(n) % 2, rng.random(n) < 0.3
    x = np.column_stack([1 - boot, boot, grass, ~grass, np.ones(n)]) + 0.05 * rng.normal(size=(n, 5))
    wrong = rng.random(n) < np.where((boot == 0) & grass, 0.6, 0.1)
    return Evaluation(
        {"words": x}, labels=boot, predictions=np.where(wrong, 1 - boot, boot), class_names=["sneaker", "boot"]
    ), grass


@pytest.mark.parametrize("centre", ["difference", "paper"])
@pytest.mark.parametrize("seed", range(3))
def test_captions_rank_as_the_paper_says_in_both_modes(centre, seed):
    """METHODS 1: the recipe written out, with scikit-learn's SVM, on random text vectors."""
    ev = clip_like(seed=seed)
    texts, encoder = random_texts(24, 80, seed + 10)
    finder = FailureDirections(
        selection="balanced_accuracy", space="clip", shuffle=False, random_state=0, progress=False
    ).fit(ev)
    found = describe(finder, ev, encoder, texts, top=80, centre=centre)

    z = ev.space("clip").astype(np.float64)
    mean, sd = z.mean(axis=0), z.std(axis=0, ddof=1)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    for c, name in enumerate(["cat", "dog"]):
        rows = ev.labels == c
        svm = SVC(kernel="linear", C=finder.C_[c], class_weight="balanced", tol=1e-6)
        svm.fit(unit((z[rows] - mean) / sd), ev.correct[rows].astype(int))
        added = np.array([encoder.vectors[text] - encoder.vectors[f"a photo of a {name}"] for text in texts])
        theirs = svm.decision_function(unit((added - (mean if centre == "paper" else 0)) / sd))  # low = failure
        mine = found[found["slice"] == f"{name}: hardest"].set_index("caption").loc[texts, "score"].to_numpy()
        assert spearmanr(mine, -theirs).statistic >= 0.9999
        assert (np.argsort(-mine)[:10] == np.argsort(theirs)[:10]).all()


def test_the_mean_of_the_images_changes_the_ranking_of_the_paper_and_not_ours():
    """Subtracting one vector from every difference is not what the paper means; shifted images must not matter."""
    ev = clip_like()
    texts, encoder = random_texts(24, 40, 1)
    shifted = Evaluation(
        {"clip": ev.space("clip") + 16}, labels=ev.labels, predictions=ev.predictions, class_names=["cat", "dog"]
    )
    order = {
        (centre, number): describe(
            FailureDirections(random_state=0, progress=False).fit(data), data, encoder, texts, top=40, centre=centre
        )["caption"].tolist()
        for centre in ("difference", "paper")
        for number, data in enumerate((ev, shifted))
    }
    assert order["difference", 0] == order["difference", 1]
    assert order["paper", 0] != order["paper", 1]
    assert order["paper", 0] != order["difference", 0]


def test_whitened_twice_differences_stay_differences():
    ev = clip_like()
    texts, encoder = random_texts(24, 30, 2)
    finder = FailureDirections(passes=2, random_state=0, progress=False).fit(ev)
    added = np.array([encoder.vectors[text] - encoder.vectors["a photo of a cat"] for text in texts])
    rows = added
    for _ in range(2):
        rows = rows / finder.scale_
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    column = finder.order_.tolist().index(0)
    expected = rows @ finder.coef_[0] + finder.intercept_[0]
    np.testing.assert_allclose(finder.score_differences(added)[:, column], expected, atol=1e-12)


def test_of_a_slice_the_words_are_those_that_its_members_add_to_their_class():
    """METHODS 5: text . (mean of the slice - mean of its modal class), here with unit vectors."""
    ev, grass = pictures()
    one = Slice.of(
        ev,
        scores=grass.astype(float),
        weights=np.where(grass, 0.8, 0.1) * (ev.labels == 0),
        scope="all",
        name="soft",
        method="test",
    )
    texts = ["a sneaker on grass", "a sneaker on snow", "a boot on grass", "a photo of grass"]
    found = describe(one, ev, Words(), texts, top=4, reference="a photo of a {class}")
    x = ev.space("words").astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    contrast = np.average(x, axis=0, weights=one.weights) - x[ev.labels == 0].mean(axis=0)
    vectors = Words().encode_texts(["a photo of a sneaker", *texts])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = (vectors[1:] - vectors[0]) @ contrast
    order = np.argsort(-expected)
    assert found["caption"].tolist() == [texts[number] for number in order]
    np.testing.assert_allclose(found["score"], expected[order], atol=1e-6)


def test_a_mixture_over_all_classes_is_described_within_its_modal_class():
    ev, _ = pictures(1200)
    mixture = ErrorMixture(n_slices=2, n_components=6, n_pca=5, random_state=0, progress=False).fit(ev)
    found = describe(mixture, ev, Words(), ["a {class} on grass", "a {class} on snow"], top=1)
    best = {one.name: int(np.bincount(ev.labels, weights=one.weights).argmax()) for one in mixture.slices(ev)}
    assert len(found) == len(best) >= 1
    for row in found.itertuples():
        assert row.caption.startswith(f"a {('sneaker', 'boot')[best[row.slice]]} on")


def test_of_the_demo_they_name_blind_spots_and_hold_on_test_data():
    scenes, encoder = datasets.load_fashion_scenes(), datasets.load_demo_encoder()
    model = datasets.load_demo_classifier()
    four = [datasets.CLASS_NAMES.index(name) for name in ("sneaker", "dress", "sandal", "ankle boot")]
    seen, test = (
        evaluate(model, split.take(np.flatnonzero(np.isin(split.labels, four))), encoders=encoder, progress=False)
        for split in (scenes.val, scenes.test)
    )
    finder = FailureDirections(space=encoder.name, random_state=0, progress=False).fit(seen)
    places = ["on grass", "on sand", "in snow", "in front of a brick wall", "in water", "in a studio"]
    found = describe(
        finder, seen, encoder, lambda name: grammar(name, adjectives=[*COLOURS, "far away"], places=places), top=1
    ).set_index("slice")["caption"]
    assert "on grass" in found["sneaker: hardest"] and "brick" in found["dress: hardest"]
    assert "far away" in found["sandal: hardest"] and "snow" in found["ankle boot: hardest"]
    on_test = {one.name: one for one in finder.slices(test)}
    told = [
        retrieve(found[name], test, encoder, for_slice=on_test[name]) for name in ("sneaker: hardest", "dress: hardest")
    ]
    assert all(verdict.confirmed for verdict in verify(told, test))


def test_the_grammar_is_data_and_every_combination():
    words = json.loads(WORDS.read_text(encoding="utf-8"))
    plain = grammar("teapot")
    assert len(plain) == len(set(plain)) == len(words["adjectives"]) * len(words["places"])
    assert plain[0] == "a photo of a teapot" and "a photo of an orange teapot" in plain
    assert len(grammar("Bird")) == len(words["adjectives"]) * (len(words["places"]) + len(words["phrases"]["bird"]))
    assert "a photo of a blurry bird perched" in grammar("bird")
    assert grammar("x", adjectives=[], places=[], phrases=["flying"], nouns=["owl", "emu"]) == [
        "a photo of an owl",
        "a photo of an emu",
        "a photo of an owl flying",
        "a photo of an emu flying",
    ]


def test_what_means_the_same_is_left_out_and_a_class_is_asked_for_once():
    ev, _ = pictures()
    encoder = Words()
    asked = []
    encode = encoder.encode_texts
    encoder.encode_texts = lambda texts: asked.append(len(texts)) or encode(texts)
    finder = FailureDirections(n_directions=2, random_state=0, progress=False).fit(ev)
    texts = ["a photo of one {class}", "a {class} on grass photo", "grass : {class} photo", "a {class} on snow photo"]
    found = describe(finder, ev, encoder, texts, top=10)
    assert set(found["caption"]) == {f"a {c} on {p} photo" for c in ("sneaker", "boot") for p in ("grass", "snow")}
    assert len(found) == 2 * len(finder.order_) and asked == [5, 5]


def test_empty_slices_have_no_captions_and_a_class_without_new_words_neither():
    ev, _ = pictures()
    nothing = Slice.of(ev, scores=np.zeros(400), weights=np.zeros(400), scope=("label", 0), name="none", method="test")
    assert describe(nothing, ev, Words(), ["a sneaker on grass"]).empty
    finder = FailureDirections(random_state=0, progress=False).fit(ev)
    found = describe(finder, ev, Words(), ["a photo of a {class}"])
    assert found.empty and list(found.columns) == ["number", "slice", "caption", "score"]
    network = FailureDirections(estimator="mlp", random_state=0, progress=False).fit(ev)
    assert describe(network, ev, Words(), ["a photo of a {class}"]).empty
    assert network.score_differences(np.zeros((0, 5))).shape == (0, len(network.order_))
    assert len(describe(network, ev, Words(), ["a {class} on grass"])) == len(network.order_)


def test_without_labels_a_slice_is_told_from_its_scope():
    ev, grass = pictures()
    bare = Evaluation({"words": ev.space("words")}, losses=np.ones(400))
    one = Slice.of(bare, scores=grass.astype(float), weights=grass.astype(float), scope="all", name="g", method="test")
    for reference in ("photo", None, "a photo of a {class}"):
        found = describe(one, bare, Words(), ["grass photo", "snow photo"], reference=reference, top=1)
        assert found["caption"].tolist() == ["grass photo"]
    with pytest.raises(ValueError, match="no name of a class"):
        describe(one, bare, Words())
    with pytest.raises(ValueError, match="needs the name of a class"):
        describe(one, bare, Words(), ["a {class} on grass"], reference="photo")
    unnamed = Evaluation({"words": ev.space("words")}, labels=ev.labels, predictions=ev.predictions)
    finder = FailureDirections(random_state=0, progress=False).fit(unnamed)
    with pytest.raises(ValueError, match="no name of a class"):
        describe(finder, unnamed, Words())
    with pytest.raises(ValueError, match="need a reference that fits all"):
        describe(finder, unnamed, Words(), ["grass photo"])
    assert len(describe(finder, unnamed, Words(), ["grass photo"], reference="photo")) == len(finder.order_)


def test_a_predicted_class_is_described_beside_the_class_most_are_labelled_as():
    """Most of what is taken for a boot, and wrongly, are sneakers."""
    ev, _ = pictures()
    member = (ev.predictions == 1) & (ev.labels == 0)
    one = Slice.of(ev, scores=member * 1.0, weights=member * 1.0, scope=("prediction", 1), name="taken", method="test")
    found = describe(one, ev, Words(), ["a {class} on grass", "a {class} on snow"], top=1)
    assert found["caption"].tolist() == ["a sneaker on grass"]


def test_several_finders_slices_and_verdicts_are_numbered_through():
    ev, _ = pictures()
    fresh, _ = pictures(seed=1)
    finder = FailureDirections(random_state=0, progress=False).fit(ev)
    slices, texts = finder.slices(fresh), ["a {class} on grass", "a {class} on snow"]
    found = describe([finder, slices[0], verify(slices, fresh)], fresh, Words(), texts, top=1)
    assert found["number"].tolist() == list(range(2 * len(slices) + 1))
    assert found["slice"].tolist() == [one.name for one in [*slices, slices[0], *slices]]
    alone = describe(finder, fresh, Words(), texts, top=1)
    np.testing.assert_array_equal(found["score"][: len(slices)], alone["score"])
    assert describe(slices[0], fresh, Words(), texts, top=1)["score"][0] == found["score"][len(slices)]


def test_rows_within_a_thousandth_of_an_earlier_one_are_no_first(monkeypatch):
    rows = np.array([[1.0, 0.0], [1.0, 5e-4], [1.0, 2e-3], [0.0, 1.0], [1.0, 0.0], [3e-3, 1.0], [0, 0], [0, 0]])
    expected = [True, False, True, True, False, True, True, False]
    assert is_first(rows).tolist() == is_first(1e-5 * rows).tolist() == expected
    monkeypatch.setattr("failviz.captions._BLOCK", 2)
    assert is_first(rows).tolist() == expected


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_what_differs_by_rounding_is_the_same(noise):
    ev, _ = pictures()
    rng = np.random.default_rng(0)

    class Noisy(Words):
        def encode_texts(self, texts):
            return super().encode_texts(texts) * (1 + noise * rng.normal(size=(len(texts), 5)))

    finder = FailureDirections(random_state=0, progress=False).fit(ev)
    texts = ["a photo of one {class}", *2 * ["a {class} on grass photo"], "on grass a {class} photo"]
    found = describe(finder, ev, Noisy(), texts, top=9)
    assert len(found) == len(finder.order_) and found["caption"].str.contains("on grass").all()


def test_the_reference_is_spelt_as_captions_are():
    """ "an ankle boot" is the plain class, not something about articles."""
    ev, _ = pictures()
    named = Evaluation(
        {"words": ev.space("words")},
        labels=ev.labels,
        predictions=ev.predictions,
        class_names=["sneaker", "Ankle boot"],
    )

    class Articles(Words):
        words, asked = ("an", *Words.words[1:]), []

        def encode_texts(self, texts):
            self.asked.append(texts)
            return super().encode_texts(texts)

    encoder = Articles()
    finder = FailureDirections(random_state=0, progress=False).fit(named)
    listed = ["a photo of a {class}", "a photo of a {class} on grass"]
    for vocabulary in (lambda name: grammar(name, adjectives=[], places=["on grass"]), listed, (one for one in listed)):
        found = describe(finder, named, encoder, vocabulary, top=9)
        assert set(found["caption"]) == {"a photo of a sneaker on grass", "a photo of an Ankle boot on grass"}
    for said in ("an umbrella", "a unicycle", "an unidentified bird", "an hourglass", "a ewe", "a vitamin a pill"):
        assert grammar(said.split(" ", 1)[1], adjectives=[], places=[]) == [f"a photo of {said}"]
    retrieve("a photo of an Ankle boot on grass", named, encoder, scope=("label", "Ankle boot"), size=5)
    assert encoder.asked[-1][1] == "a photo of an Ankle boot"


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_dimensions_in_which_images_do_not_differ_say_nothing_at_any_scale(scale):
    ev = clip_like()
    texts, encoder = random_texts(48, 40, 3)

    def told(k, centre):
        x = np.hstack([ev.space("clip"), np.ones((400, 24), np.float32)]) * np.float32(k)
        data = Evaluation({"clip": x}, labels=ev.labels, predictions=ev.predictions, class_names=["cat", "dog"])
        scaled = Table({text: k * vector for text, vector in encoder.vectors.items()})
        return describe(
            FailureDirections(random_state=0, progress=False).fit(data), data, scaled, texts, top=40, centre=centre
        )

    for centre in ("difference", "paper"):
        plain, other = told(1.0, centre), told(scale, centre)
        assert plain["caption"].tolist() == other["caption"].tolist()
        np.testing.assert_allclose(plain["score"], other["score"], atol=1e-3)


def test_words_may_come_once_and_names_may_hold_braces():
    assert len(grammar("teapot", adjectives=(one for one in ["red", "blue"]), places=[])) == 3
    assert grammar("{odd} {noun}", adjectives=["{x}"], places=[])[1] == "a photo of a {x} {odd} {noun}"
    ev, _ = pictures()
    finder = FailureDirections(random_state=0, progress=False).fit(ev)
    for vocabulary in (
        lambda name: (f"a {name} on {place}" for place in ("grass", "snow")),
        np.array(["a {class} on grass"]),
        pd.Series(["a {class} on grass"]),
    ):
        assert len(describe(finder, ev, Words(), vocabulary, top=1)) == len(finder.order_)


def test_refusals():
    ev, _ = pictures()
    finder = FailureDirections(random_state=0, progress=False).fit(ev)
    one = finder.slices(ev)[0]
    words, texts = Words(), ["a sneaker on grass"]
    for error, match, call in (
        (TypeError, "takes an Evaluation", lambda: describe(finder, words, ev)),
        (TypeError, "encoder of texts", lambda: describe(finder, ev, object())),
        (TypeError, "not int", lambda: describe(3, ev, words, texts)),
        (TypeError, "not str", lambda: describe(["a"], ev, words, texts)),
        (TypeError, "list of texts", lambda: describe(finder, ev, words, None)),
        (TypeError, "list of texts", lambda: describe(finder, ev, words, {"sneaker": 3, "boot": 3})),
        (ValueError, "no captions of the class", lambda: describe(finder, ev, words, {0: texts})),
        (TypeError, "reference must be", lambda: describe(finder, ev, words, texts, reference=3)),
        (TypeError, "class_name must be", lambda: grammar(3)),
        (ValueError, "nothing of the reference", lambda: describe(finder, ev, words, texts, reference="zebra")),
        (TypeError, "adjectives must be a list", lambda: grammar("cat", adjectives=3)),
        (TypeError, r"write \['a sneaker'\]", lambda: describe(finder, ev, words, "a sneaker")),
        (TypeError, "list of texts", lambda: describe(finder, ev, words, [1])),
        (ValueError, "has no captions", lambda: describe(finder, ev, words, [])),
        (ValueError, "no captions of the class", lambda: describe(finder, ev, words, {"cat": texts})),
        (ValueError, "top must be", lambda: describe(finder, ev, words, texts, top=0)),
        (ValueError, "centre must be", lambda: describe(finder, ev, words, texts, centre="mean")),
        (ValueError, "centre must be", lambda: finder.score_differences(np.ones((2, 5)), centre="mean")),
        (ValueError, r"shape \(m, 5\)", lambda: finder.score_differences(np.ones((2, 4)))),
        (ValueError, r"shape \(m, 5\)", lambda: finder.score_differences(np.ones(5))),
        (ValueError, "finite", lambda: finder.score_differences(np.full((1, 5), np.nan))),
        (ValueError, "no space 'words'", lambda: describe(one, Evaluation(np.ones((3, 5))), words, texts)),
        (ValueError, "another Evaluation", lambda: describe(one, pictures(seed=1)[0], words, texts)),
        (TypeError, "places must be a list", lambda: grammar("cat", places="outside")),
    ):
        with pytest.raises(error, match=match):
            call()
    both = Evaluation(
        {"hidden": ev.space("words"), "words": ev.space("words")}, labels=ev.labels, predictions=ev.predictions
    )
    elsewhere = FailureDirections(space="hidden", random_state=0, progress=False).fit(both)
    with pytest.raises(ValueError, match="live in the space 'hidden'"):
        describe(elsewhere, both, words, texts)
    anonymous = Table({text: np.ones(5) for text in ["a photo of a sneaker", "a photo of a boot"]})
    anonymous.name = "other"
    with pytest.raises(ValueError, match="fit FailureDirections\\(space='words'\\)"):
        describe(elsewhere, both, anonymous, texts, space="words")
    wide = Table({text: np.ones(7) for text in [*texts, "a photo of a sneaker", "a photo of a boot"]})
    wide.name = "words"
    with pytest.raises(ValueError, match="has 5 dimensions"):
        describe(finder, ev, wide, texts)
