"""The demo encoder puts pictures near the sentences that describe them."""

import warnings

import numpy as np
import pytest

from failviz import datasets
from failviz.sources import as_source


@pytest.fixture(scope="module")
def scenes():
    return datasets.load_fashion_scenes()


@pytest.fixture(scope="module")
def encoder():
    return datasets.load_demo_encoder()


def test_vectors_have_unit_length_and_do_not_depend_on_batches(scenes, encoder):
    rows = np.arange(60)
    whole = encoder.encode_images(scenes.val.render(rows))
    parts = encoder.encode_images(as_source(scenes.val.images).take(rows), batch_size=7)
    assert whole.dtype == np.float32 and whole.shape == (60, 96)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(whole, parts, atol=1e-4)


@pytest.mark.parametrize(
    ("attribute", "sentences", "at_least"),
    [
        ("background", ["on grass", "on sand", "on snow", "in front of a brick wall", "on water", "in a studio"], 0.9),
        ("lighting", ["a photo", "a dark photo"], 0.8),
        ("colour", ["white", "black", "red", "blue", "green", "yellow", "brown"], 0.7),
    ],
)
def test_sentences_tell_attributes_apart_on_unseen_pictures(scenes, encoder, attribute, sentences, at_least):
    pictures = encoder.encode_images(scenes.test.render(np.arange(500)))
    items = [name for name in datasets.CLASS_NAMES if name != "trouser"]
    # Averaged over items, as CLIP's prompts are averaged over templates.
    prompts = np.stack([encoder.encode_texts([f"{s} {item}" for item in items]).mean(axis=0) for s in sentences])
    told = np.array(datasets.ATTRIBUTES[attribute])[(pictures @ prompts.T).argmax(axis=1)]
    assert (told == scenes.test.metadata[attribute][:500]).mean() >= at_least


def test_one_sentence_instead_of_a_list_is_refused(encoder):
    with pytest.raises(TypeError, match="needs a list of sentences"):
        encoder.encode_texts("a red dress")


def test_unknown_words_give_finite_vectors(encoder):
    with pytest.warns(UserWarning, match="no word of 'zebra'"):
        assert np.isfinite(encoder.encode_texts(["zebra", ""])).all()


def test_a_sentence_without_a_word_it_knows_is_not_taken_in_silence(encoder):
    with pytest.warns(UserWarning, match="knows no word of 'a photo of a zebra in space', so it means nothing"):
        encoder.encode_texts(["a photo of a dress", "a photo of a zebra in space"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode_texts(["a photo", "a photo of a zebra on grass"])
