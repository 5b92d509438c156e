"""Slices in words: which of many captions says best what sets a slice apart from its class.

Two ways, both in a space of images and texts (CLIP). Along a failure direction a caption counts by how far going from
"a photo of a sneaker" to it leads toward failure (Jain et al. 2022, arXiv 2206.14754, section 3.2). Of any other slice
it counts by its likeness with the mean of the slice less that of its class (Eyuboglu et al. 2022, arXiv 2203.14960,
section 5). A caption is a guess: `retrieve` and `verify` put it to the test on other data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from failviz import _checks
from failviz.discovery.base import SliceFinder
from failviz.discovery.directions import CENTRES, FailureDirections
from failviz.evaluation import Evaluation
from failviz.retrieval import REFERENCE, TextEncoder, embeddings_for
from failviz.slices import Scope, Slice

if TYPE_CHECKING:
    import pandas as pd

Vocabulary: TypeAlias = "Callable[[str], Sequence[str]] | Mapping[str, Sequence[str]] | Sequence[str]"
"""Captions of a class by its name; or the same captions for every class, {class} standing for its name."""

_Told: TypeAlias = tuple[list[str], np.ndarray, np.ndarray]

WORDS = Path(__file__).with_name("caption_words.json")
_SAME = 1e-6  # of the length of the reference: rounding


def grammar(
    class_name: str,
    *,
    adjectives: Sequence[str] | None = None,
    places: Sequence[str] | None = None,
    phrases: Sequence[str] | None = None,
    nouns: Sequence[str] | None = None,
) -> list[str]:
    """Captions of a class after the paper's grammar, "a photo of a {adjective} {noun} {place}": every combination.

    The words are data, in `caption_words.json`; what is given here takes the place of them.

    Parameters
    ----------
    class_name : str
    adjectives, places : sequence of str, optional
        "" among them leaves the place empty, and is added where it is missing.
    phrases : sequence of str, optional
        What is said of this class only, such as "perched"; default those known for its name, if any. They stand where
        places do.
    nouns : sequence of str, optional
        Names for it, such as its kinds; default `class_name`.

    Returns
    -------
    list of str
        Without repetitions; the plainest first.

    Examples
    --------
    >>> grammar("dress", adjectives=["red"], places=["on grass"])
    ['a photo of a dress', 'a photo of a red dress', 'a photo of a dress on grass', 'a photo of a red dress on grass']
    >>> len(grammar("bird"))
    208
    """
    known = json.loads(WORDS.read_text(encoding="utf-8"))
    before = _with_none(known["adjectives"] if adjectives is None else _words(adjectives, "adjectives"))
    after = _with_none(known["places"] if places is None else _words(places, "places"))
    after += known["phrases"].get(class_name.lower(), []) if phrases is None else _words(phrases, "phrases")
    names = [class_name] if nouns is None else _words(nouns, "nouns")
    made = sorted(product(names, before, after), key=lambda one: (bool(one[1]) + bool(one[2]), bool(one[2])))
    return list(dict.fromkeys(_spelt(known["form"].format(noun=n, adjective=a, place=p)) for n, a, p in made))


def describe(
    found: SliceFinder | Slice | Sequence[Slice],
    evaluation: Evaluation,
    encoder: TextEncoder,
    vocabulary: Vocabulary = grammar,
    *,
    top: int = 5,
    centre: str = "difference",
    reference: str = REFERENCE,
    space: str | None = None,
) -> pd.DataFrame:
    """The captions that say best what a slice is about, best first.

    Parameters
    ----------
    found : fitted finder, Slice, or list of Slices
        Fitted `FailureDirections` are described by their directions, everything else by the examples that slices hold.
        Slices must belong to `evaluation`.
    evaluation : Evaluation
        With the space of this encoder. Captions chosen on data that chose the slice are as in-sample as it is: test
        them elsewhere.
    encoder : OpenClip, the demo's, or anything with `encode_texts(list) -> (m, d)`
    vocabulary : function, mapping or list, optional
        Captions of a class by its name, such as `grammar` gives them; or one list for all, in which {class} stands for
        the name. Default `grammar`.
    top : int, default 5
        Captions per slice.
    centre : "difference" or "paper"
        Of failure directions: see `FailureDirections.score_differences`.
    reference : str
        What a caption is compared with. One that means the same to the encoder is left out, as are further ones that
        mean the same as another.
    space : str, optional
        Default: the space named as the encoder.

    Returns
    -------
    pandas.DataFrame
        Columns slice (its name), caption, score (float64, larger = says more about the failure). Along a direction the
        score is its decision value. Else it is, in unit vectors, (caption - reference) . (mean of the slice - mean of
        its modal class), means weighted by membership; without labels, the mean of its scope. Empty slices have none.

    Raises
    ------
    ValueError, TypeError
        When the space is missing or another encoder's, directions live in another space, slices belong to other data,
        a vocabulary is empty or needs the name of a class where there is none.

    Examples
    --------
    >>> from failviz import Evaluation, FailureDirections
    >>> class Colours:
    ...     name = "colours"
    ...     def encode_texts(self, texts):
    ...         return np.array([[float("red" in text), float("blue" in text), 1.0] for text in texts])
    >>> red = np.arange(200) % 2
    >>> rows = np.column_stack([red, 1 - red, np.ones(200)]) + np.random.default_rng(0).normal(size=(200, 3)) / 9
    >>> seen = Evaluation({"colours": rows}, labels=np.zeros(200), predictions=red, class_names=["dress", "coat"])
    >>> finder = FailureDirections(random_state=0, progress=False).fit(seen)
    >>> describe(finder, seen, Colours(), top=1)[["slice", "caption"]].values.tolist()
    [['dress: hardest', 'a photo of a red dress']]
    """
    import pandas as pd

    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"describe takes an Evaluation after the slices, not {type(evaluation).__name__}.")
    _checks.whole_number(top, "top", least=1)
    if centre not in CENTRES:
        raise ValueError(f'centre must be "difference" or "paper", not {centre!r}.')
    embeddings = embeddings_for(evaluation, encoder, space, by="describe")
    slices = _slices(found, evaluation)
    if isinstance(found, FailureDirections) and found.space_ != (encoder.name if space is None else space):
        raise ValueError(
            f"these directions live in the space {found.space_!r}, where this encoder knows no words: "
            f"fit FailureDirections(space={encoder.name!r})."
        )
    told: dict[str | None, _Told] = {}
    rows = []
    for column, one in enumerate(slices):
        if not isinstance(found, FailureDirections) and not one.weights.any():
            continue
        subject = _modal_class(one, evaluation)
        name = None if subject is None else evaluation.class_name(subject)
        if name not in told:
            told[name] = _told(name, vocabulary, reference, encoder, embeddings.shape[1])
        captions, differences, units = told[name]
        if isinstance(found, FailureDirections):
            scores = found.score_differences(differences, centre=centre)[:, column]
        else:
            scores = units @ _contrast(embeddings, one, subject, evaluation)
        best = np.argsort(-scores, kind="stable")[:top]
        rows += [(one.name, captions[number], float(scores[number])) for number in best]
    return pd.DataFrame(rows, columns=["slice", "caption", "score"])


def _slices(found: Any, evaluation: Evaluation) -> list[Slice]:
    if isinstance(found, SliceFinder):
        return found.slices(evaluation)
    slices = [found] if isinstance(found, Slice) else list(found) if isinstance(found, Sequence) else [found]
    for one in slices:
        if not isinstance(one, Slice):
            raise TypeError(f"describe takes a fitted finder, a Slice or a list of Slices, not {type(one).__name__}.")
        if one.evaluation_hash != evaluation.hash:
            raise ValueError(f"the slice {one.name!r} belongs to another Evaluation: take finder.slices(evaluation).")
    return slices


def _modal_class(one: Slice, evaluation: Evaluation) -> int | None:
    """The class that most of the slice is labelled as, by weight; of an empty slice that of its scope."""
    if evaluation.labels is None or not one.weights.any():
        return None if isinstance(one.scope, str) else one.scope[1]
    if not isinstance(one.scope, str) and one.scope[0] == "label":
        return one.scope[1]
    return int(np.bincount(evaluation.labels, weights=one.weights).argmax())


def _contrast(embeddings: np.ndarray, one: Slice, subject: int | None, evaluation: Evaluation) -> np.ndarray:
    """Mean of the slice less that of its modal class, of unit rows, float64 (d,)."""
    scope: Scope = one.scope if subject is None or evaluation.labels is None else ("label", subject)
    whole = one.in_scope if scope == one.scope else evaluation.labels == subject
    return _mean(embeddings, one.weights) - _mean(embeddings, np.asarray(whole, dtype=np.float64))


def _mean(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = np.zeros(embeddings.shape[1])
    for start, block in _checks.row_chunks(embeddings):
        rows = block.astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1)
        total += weights[start : start + len(rows)] / np.where(lengths > 0, lengths, 1.0) @ rows
    return total / weights.sum()


def _told(name: str | None, vocabulary: Vocabulary, reference: str, encoder: TextEncoder, d: int) -> _Told:
    """Captions of a class that differ from the reference and from one another, and what each adds to it (m, d): as the
    encoder says it, and between unit vectors."""
    captions = _captions_of(name, vocabulary)
    texts = [_named(reference, name), *captions]
    vectors = np.asarray(encoder.encode_texts(texts), dtype=np.float64)
    if vectors.shape != (len(texts), d):
        raise ValueError(
            f"the encoder gives texts the shape {vectors.shape}, and the space has {d} dimensions: use the "
            "encoder that made the space."
        )
    _checks.finite(vectors, "text embeddings")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths > 0, lengths, 1.0)
    is_new = np.linalg.norm(vectors[1:] - vectors[0], axis=1) > _SAME * max(float(lengths[0, 0]), 1e-30)
    first = np.zeros(len(captions), dtype=bool)
    first[np.unique(vectors[1:], axis=0, return_index=True)[1]] = True
    kept = np.flatnonzero(is_new & first & (lengths[1:, 0] > 0))
    return [captions[number] for number in kept], (vectors[1:] - vectors[0])[kept], (units[1:] - units[0])[kept]


def _captions_of(name: str | None, vocabulary: Vocabulary) -> list[str]:
    if isinstance(vocabulary, str):
        raise TypeError(f"vocabulary must be a list of captions, and {vocabulary!r} is one: write [{vocabulary!r}].")
    if callable(vocabulary) or isinstance(vocabulary, Mapping):
        if name is None:
            raise ValueError("this slice has no labels to name its class by: give vocabulary= as a list of captions.")
        if isinstance(vocabulary, Mapping) and name not in vocabulary:
            raise ValueError(f"vocabulary has no captions of the class {name!r}, only of {', '.join(vocabulary)}.")
        captions = vocabulary(name) if callable(vocabulary) else vocabulary[name]
    else:
        captions = vocabulary
    captions = [_named(one, name) for one in _words(captions, "vocabulary")]
    if not captions:
        raise ValueError("vocabulary has no captions" + (f" of the class {name!r}." if name else "."))
    return captions


def _named(text: str, name: str | None) -> str:
    if "{class}" not in text:
        return text
    if name is None:
        raise ValueError(f"{text!r} needs the name of a class, and this slice has none: say it without {{class}}.")
    return text.replace("{class}", name)


def _words(values: Sequence[str], name: str) -> list[str]:
    if isinstance(values, str) or not all(isinstance(one, str) for one in values):
        raise TypeError(f"{name} must be a list of texts, not {values!r}.")
    return list(values)


def _with_none(words: Sequence[str]) -> list[str]:
    return list(words) if "" in words else ["", *words]


def _spelt(text: str) -> str:
    """Without gaps, and "an" before a vowel."""
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\s+", " ", text).strip())
