"""A sentence retrieves what it describes, and held-out errors there tell whether it names a failure."""

import numpy as np
import pytest

from failviz import ConfusionCells, Evaluation, FailureDirections, Slice, datasets, evaluate, verify
from failviz.retrieval import likeness, retrieve

CLASSES = list(datasets.CLASS_NAMES)
SNEAKER = ("label", CLASSES.index("sneaker"))


class Words:
    """Each word it knows is an axis."""

    name = "words"
    words = ("sneaker", "boot", "grass", "snow", "photo")

    def encode_texts(self, texts):
        return 3.0 * np.array([[float(word in text.split()) for word in self.words] for text in texts])


def pictures(n=400, seed=0):
    """Sneakers and boots on grass and snow; sneakers fail on grass."""
    rng = np.random.default_rng(seed)
    boot, grass = np.arange(n) % 2, rng.random(n) < 0.3
    x = np.column_stack([1 - boot, boot, grass, ~grass, np.ones(n)]) + 0.05 * rng.normal(size=(n, 5))
    wrong = rng.random(n) < np.where((boot == 0) & grass, 0.6, 0.1)
    scale = rng.gamma(4.0, 1.0, (n, 1))  # likeness does not depend on length
    return Evaluation(
        {"hidden": rng.normal(size=(n, 3)), "words": x * scale},
        labels=boot,
        predictions=np.where(wrong, 1 - boot, boot),
        class_names=["sneaker", "boot"],
    ), grass


@pytest.fixture(scope="module")
def demo():
    """The demo's sneakers, of validation and test, and its encoder."""
    scenes, encoder = datasets.load_fashion_scenes(), datasets.load_demo_encoder()
    model = datasets.load_demo_classifier()

    def sneakers(split):
        return evaluate(model, split.take(np.flatnonzero(split.labels == SNEAKER[1])), encoders=encoder, progress=False)

    return sneakers(scenes.val), sneakers(scenes.test), encoder


@pytest.mark.parametrize("size", [None, 0.2])
def test_a_true_hypothesis_about_the_demo_is_confirmed_and_others_are_not(demo, size):
    _, test, encoder = demo
    texts = [
        "a photo of a sneaker on grass",
        "a photo of a sneaker in a studio",
        "a photo of a sneaker on sand",
        "a photo of a sneaker, close-up",
    ]
    verdicts = verify([retrieve(text, test, encoder, scope=SNEAKER, size=size) for text in texts], test)
    assert [verdict.confirmed for verdict in verdicts] == [True, False, False, False]
    assert verdicts[0].lift > 3 and verdicts[0].slice.caption == texts[0]
    assert verdicts[0].n == (40 if size is None else 80)


def test_without_a_reference_the_typical_come_first_which_seldom_fail(demo):
    _, test, encoder = demo
    own, plain = (
        verify(retrieve("a photo of a sneaker on grass", test, encoder, scope=SNEAKER, reference=reference), test)[0]
        for reference in ("a photo of a {class}", None)
    )
    assert own.error_rate > plain.error_rate


def test_the_caption_of_a_slice_remembers_what_chose_it(demo):
    validation, test, encoder = demo
    finder = FailureDirections(space=encoder.name, random_state=0, progress=False).fit(validation)
    found = next(one for one in finder.slices(test) if one.scope == SNEAKER)
    one = retrieve("a photo of a sneaker on grass", test, encoder, for_slice=found)
    assert one.scope == SNEAKER and abs(len(one) - len(found)) <= 1
    assert verify(one, test)[0].confirmed
    of_fit = next(part for part in finder.slices(validation) if part.scope == SNEAKER)
    again = retrieve("a photo of a sneaker on grass", validation, encoder, for_slice=of_fit)
    with pytest.raises(ValueError, match="used to find 'a photo of a sneaker on grass'"):
        verify(again, validation)


def test_a_slice_of_other_data_gives_its_share():
    evaluation, _ = pictures()
    weights = np.zeros(400)
    weights[:60:2] = 1
    elsewhere = pictures(800, seed=5)[0].take(np.arange(400))
    one = Slice.of(elsewhere, scores=weights, weights=weights, scope=("label", 0), name="a", method="b")
    assert len(retrieve("sneaker on grass", evaluation.take(np.arange(200)), Words(), for_slice=one)) == 15  # of 100
    empty = Slice.of(elsewhere, scores=weights, weights=0 * weights, scope=("label", 0), name="a", method="b")
    assert len(retrieve("sneaker on grass", evaluation, Words(), for_slice=empty)) == 20  # a tenth of 200
    assert len(retrieve("sneaker on grass", evaluation, Words(), for_slice=one, size=7)) == 7


def test_scores_are_cosines_less_those_of_the_reference():
    evaluation, grass = pictures()
    one = retrieve("sneaker on grass", evaluation, Words(), scope=("label", "sneaker"), size=0.25)
    assert one.scope == ("label", 0) and one.method == "text" and one.name == one.caption == "sneaker on grass"
    rows = evaluation.space("words").astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    text, reference = np.array([1, 0, 1, 0, 0]) / 2**0.5, np.array([1, 0, 0, 0, 1]) / 2**0.5  # a photo of a sneaker
    inside = evaluation.labels == 0
    np.testing.assert_allclose(one.scores[inside], (rows @ (text - reference))[inside], atol=1e-9)
    np.testing.assert_allclose(one.direction, text - reference, atol=1e-12)
    assert np.isneginf(one.scores[~inside]).all()
    assert len(one) == 50 and grass[one.is_member].all()
    plain = retrieve("sneaker on grass", evaluation, Words(), scope=("label", 0), reference=None)
    np.testing.assert_allclose(plain.scores[inside], (rows @ text)[inside], atol=1e-9)


def test_only_a_reference_that_fits_the_scope_is_used():
    evaluation, _ = pictures()
    named, plain, fixed = (
        retrieve("sneaker on grass", evaluation, Words(), **settings)
        for settings in ({}, {"reference": None}, {"reference": "photo"})
    )
    assert named.scope == "all" and len(named) == 8  # 2% of 400
    assert np.array_equal(named.scores, plain.scores) and not np.array_equal(named.scores, fixed.scores)
    predicted = retrieve("sneaker on grass", evaluation, Words(), scope=("prediction", "boot"))
    boots = evaluation.predictions == 1
    assert np.array_equal(predicted.in_scope, boots)
    np.testing.assert_allclose(predicted.direction, np.array([1, -1, 1, 0, -1]) / 2**0.5, atol=1e-12)


def test_outcomes_are_not_read_and_order_does_not_matter():
    evaluation, _ = pictures()
    spaces = {name: evaluation.space(name) for name in evaluation.spaces}
    bare = Evaluation({"words": spaces["words"]}, labels=evaluation.labels, class_names=evaluation.class_names)
    one, other = (retrieve("boot on snow", e, Words(), scope=("label", 1)) for e in (evaluation, bare))
    assert np.array_equal(one.scores, other.scores) and np.array_equal(one.weights, other.weights)
    order = np.random.default_rng(0).permutation(400)
    turned = retrieve("boot on snow", evaluation.take(order), Words(), scope=("label", 1))
    assert np.array_equal(turned.scores, one.scores[order]) and set(turned.members) == set(one.members)


def test_equal_scores_at_the_end_all_count():
    rows = np.repeat(np.eye(5)[:2], 6, axis=0)
    evaluation = Evaluation({"words": rows}, labels=np.zeros(12, int))
    assert len(retrieve("sneaker", evaluation, Words(), size=3)) == 6


def test_a_caption_seen_on_these_very_errors_is_not_tested_on_them():
    evaluation, _ = pictures(600)
    other, _ = pictures(600, seed=1)
    failing = evaluation.ids[(evaluation.labels == 0) & evaluation.errors]
    drawn = Slice.drawn(evaluation, failing)
    here = retrieve("sneaker on grass", evaluation, Words(), for_slice=drawn)
    elsewhere = retrieve("sneaker on grass", other, Words(), for_slice=drawn)
    assert here.is_drawn and verify(here, evaluation)[0].words == "drawn on these data"
    assert not elsewhere.is_drawn and verify(elsewhere, other)[0].confirmed
    cells = ConfusionCells(space="words").fit(other)
    cell = next(one for one in cells.slices(evaluation) if one.scope == ("label", 0))
    read = retrieve("sneaker on grass", evaluation, Words(), for_slice=cell)
    assert read.uses_outcome and verify(read, evaluation)[0].words == "reads the outcome"
    third, _ = pictures(600, seed=2)
    assert verify(retrieve("sneaker on grass", third, Words(), for_slice=cell), third)[0].confirmed


def test_likeness_of_rows_of_zeros_and_of_half_precision():
    rows = np.array([[0, 0], [3, 4], [-6, 0]], np.float16)
    np.testing.assert_allclose(likeness(rows, np.array([1.0, 0.0])), [0, 0.6, -1])


BAD = {
    "two texts": ({"text": ["a", "b"]}, TypeError, "text must be one sentence, not list"),
    "no texts": ({"encoder": object()}, TypeError, "needs an encoder of texts, as OpenClip is, not object"),
    "no slice": ({"for_slice": "a slice"}, TypeError, "for_slice must be a Slice, not str"),
    "no space": ({"space": "clip"}, ValueError, "no space 'clip' in this Evaluation, only 'hidden', 'words'"),
    "other space": ({"space": "hidden"}, ValueError, "gives 5 dimensions, and the space has 3"),
    "no class": ({"scope": ("label", "bag")}, ValueError, "no class 'bag' in this Evaluation, only 'sneaker', 'boot'"),
    "no scope": ({"scope": "sneaker"}, ValueError, 'scope must be "all"'),
    "half a scope": ({"scope": ("label",)}, ValueError, "scope must be"),
    "empty scope": ({"scope": ("label", 7)}, ValueError, r"no examples in scope \('label', 7\)"),
    "size none": ({"size": 0}, ValueError, "size .* must be a whole number of at least 1, not 0"),
    "size true": ({"size": True}, ValueError, "size .* must be a whole number"),
    "size half": ({"size": 2.5}, ValueError, "size .* must be a whole number"),
    "size large": ({"size": 401}, ValueError, "size is 401, and the scope has 400"),
    "meaningless": ({"text": "zebra"}, ValueError, "makes nothing of 'zebra'"),
    "empty reference": ({"reference": "of"}, ValueError, "makes nothing of 'of'"),
    "same": ({"text": "grass", "reference": "on grass"}, ValueError, "'grass' and the reference 'on grass' are one"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_line(changes, kind, message):
    given = {"text": "sneaker on grass", "evaluation": pictures()[0], "encoder": Words()} | changes
    with pytest.raises(kind, match=message) as refusal:
        retrieve(given.pop("text"), given.pop("evaluation"), given.pop("encoder"), **given)
    assert "\n" not in str(refusal.value)


def test_a_scope_beside_a_slice_is_refused():
    evaluation, _ = pictures()
    one = Slice.of(evaluation, scores=np.ones(400), weights=np.ones(400), scope="all", name="a", method="b")
    with pytest.raises(ValueError, match="for_slice brings its own scope"):
        retrieve("sneaker", evaluation, Words(), for_slice=one, scope="all")
