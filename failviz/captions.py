"""Slices in words: which of many captions says best what sets a slice apart from its class.

Two ways, both in a space of images and texts (CLIP). Along a failure direction a caption counts by how far going from
"a photo of a sneaker" to it leads toward failure (Jain et al. 2022, arXiv 2206.14754, section 3.2). Of any other slice
it counts by its likeness with the mean of the slice less that of its class (Eyuboglu et al. 2022, arXiv 2203.14960,
section 5). A caption is a guess: `retrieve` and `verify` put it to the test on other data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from failviz import _checks
from failviz.discovery.directions import CENTRES, FailureDirections
from failviz.evaluation import Evaluation
from failviz.retrieval import REFERENCE, TextEncoder, embeddings_for, named
from failviz.slices import Slice, scope_mask
from failviz.verification import slices_of

if TYPE_CHECKING:
    import pandas as pd

Vocabulary: TypeAlias = "Callable[[str], Sequence[str]] | Mapping[str, Sequence[str]] | Sequence[str]"
"""Captions of a class by its name; or the same captions for every class, {class} standing for its name."""

_Told: TypeAlias = "tuple[list[str], np.ndarray | None, np.ndarray]"

WORDS = Path(__file__).with_name("caption_words.json")
_SAME = 1e-3  # of the length of the caption: rounding in half precision
_BLOCK = 512


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
    286
    """
    if not isinstance(class_name, str):
        raise TypeError(f"class_name must be a text, not {class_name!r}.")
    known = json.loads(WORDS.read_text(encoding="utf-8"))
    before = _with_none(known["adjectives"] if adjectives is None else _words(adjectives, "adjectives"))
    after = _with_none(known["places"] if places is None else _words(places, "places"))
    after += known["phrases"].get(class_name.lower(), []) if phrases is None else _words(phrases, "phrases")
    names = [class_name] if nouns is None else _words(nouns, "nouns")
    made = sorted(product(names, before, after), key=lambda one: (bool(one[1]) + bool(one[2]), bool(one[2])))
    said = (" ".join(filter(None, one)) for one in ((adjective, noun, place) for noun, adjective, place in made))
    return list(dict.fromkeys(named(known["form"], words) for words in said))


def describe(
    found: Any,
    evaluation: Evaluation,
    encoder: TextEncoder,
    vocabulary: Vocabulary = grammar,
    *,
    top: int = 5,
    centre: str = "difference",
    reference: str | None = REFERENCE,
    space: str | None = None,
) -> pd.DataFrame:
    """The captions that say best what a slice is about, best first.

    Parameters
    ----------
    found : fitted finder, Slice, Verdicts, or a sequence of these
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
        Captions per slice, at most.
    centre : "difference" or "paper"
        Of failure directions: see `FailureDirections.score_differences`.
    reference : str or None
        What a caption is compared with; {class} stands for the name of the class, and such a reference is used where
        there is one. Captions that mean the same to the encoder, within 0.1%, are left out, as are further ones that
        mean the same as another. None = nothing, which directions do not allow.
    space : str, optional
        Default: the space named as the encoder.

    Returns
    -------
    pandas.DataFrame
        Columns number (of the slice, from 0, as they come), slice (its name), caption, score (float64). Along a
        direction the score is its decision value, in which only the order of captions means anything. Else it is, in
        unit vectors, (caption - reference) . (mean of the slice - mean of its modal class), means weighted by
        membership; without labels, the mean of its scope. Above 0 the members have more of it than the class. Empty
        slices have no captions.

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
    if reference is not None and not isinstance(reference, str):
        raise TypeError(f"reference must be a sentence or None, not {reference!r}.")
    if not callable(vocabulary) and not isinstance(vocabulary, Mapping):
        vocabulary = _words(vocabulary, "vocabulary")
    embeddings = embeddings_for(evaluation, encoder, space, by="describe")
    place = getattr(encoder, "name", "") if space is None else space
    told: dict[str | None, _Told] = {}
    rows = []
    for number, (one, added) in enumerate(_subjects(found, evaluation, place, centre)):
        subject = _modal_class(one, evaluation)
        name = None if subject is None or evaluation.class_names is None else evaluation.class_names[subject]
        if added is None and not one.weights.any():
            continue
        if name not in told:
            told[name] = _told(name, vocabulary, reference, encoder, embeddings.shape[1])
        captions, differences, units = told[name]
        if added is None:
            scores = units @ _contrast(embeddings, one, subject, evaluation)
        else:
            if differences is None:
                raise ValueError(
                    f"a direction says what to change, so captions of {one.name!r} need a reference that fits all of "
                    'them: give reference=, such as "a photo".'
                )
            scores = added(differences)
        best = np.argsort(-scores, kind="stable")[:top]
        rows += [(number, one.name, captions[which], float(scores[which])) for which in best]
    return pd.DataFrame(rows, columns=["number", "slice", "caption", "score"])


def _subjects(
    found: Any, evaluation: Evaluation, space: str, centre: str
) -> Iterator[tuple[Slice, Callable[[np.ndarray], np.ndarray] | None]]:
    """Each slice, and where it has a direction what scores changes (m, d) along it."""
    if isinstance(found, Sequence) and not isinstance(found, str):
        for one in found:
            yield from _subjects(one, evaluation, space, centre)
        return
    slices = slices_of(found, evaluation)
    if not isinstance(found, FailureDirections):
        yield from ((one, None) for one in slices)
        return
    if found.space_ != space:
        raise ValueError(
            f"these directions live in the space {found.space_!r}, where this encoder knows no words: "
            f"fit FailureDirections(space={space!r})."
        )
    for column, one in enumerate(slices):
        yield one, partial(found.score_differences, centre=centre, column=column)


def _modal_class(one: Slice, evaluation: Evaluation) -> int | None:
    """The class that most of the slice is labelled as, by weight; of an empty slice that of its scope."""
    if not isinstance(one.scope, str) and one.scope[0] == "label":
        return one.scope[1]
    if evaluation.labels is None or not one.weights.any():
        return None
    return int(np.bincount(evaluation.labels, weights=one.weights).argmax())


def _contrast(embeddings: np.ndarray, one: Slice, subject: int | None, evaluation: Evaluation) -> np.ndarray:
    """Mean of the slice less that of its modal class (of its scope, where labels are missing), of unit rows, (d,)."""
    whole = scope_mask(one.scope, evaluation) if subject is None else evaluation.labels == subject
    return _mean(embeddings, one.weights) - _mean(embeddings, np.asarray(whole, dtype=np.float64))


def _mean(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = np.zeros(embeddings.shape[1])
    for start, block in _checks.row_chunks(embeddings):
        rows = block.astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1)
        total += weights[start : start + len(rows)] / np.where(lengths > 0, lengths, 1.0) @ rows
    return total / weights.sum()


def _told(name: str | None, vocabulary: Vocabulary, reference: str | None, encoder: TextEncoder, d: int) -> _Told:
    """Captions of a class that differ from the reference and from one another, and what each adds to it (m, d): as the
    encoder says it, where there is a reference, and between unit vectors."""
    if reference is not None and "{class}" in reference:
        reference = None if name is None else named(reference, name)
    captions = [one for one in _captions_of(name, vocabulary) if one != reference]
    texts = captions if reference is None else [reference, *captions]
    if not captions:
        return [], np.empty((0, d)), np.empty((0, d))
    vectors = _encoded(encoder, texts, d)
    lengths = np.linalg.norm(vectors, axis=1)
    kept = np.flatnonzero(is_first(vectors) & (lengths > 0))
    units = vectors[kept] / lengths[kept, None]
    if reference is None:
        return [texts[number] for number in kept], None, units
    if not lengths[0] > 0:
        raise ValueError(f"the encoder makes nothing of the reference {reference!r}: use other words.")
    return [texts[number] for number in kept[1:]], vectors[kept[1:]] - vectors[0], units[1:] - units[0]


def is_first(vectors: np.ndarray) -> np.ndarray:
    """Boolean (m,): rows that no row before them equals, within 0.1% of their length, of those that are kept."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    kept = np.ones(len(vectors), dtype=bool)
    for start in range(0, len(vectors), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(vectors)))
        apart = squares[block, None] + squares[: block.stop] - 2.0 * vectors[block] @ vectors[: block.stop].T
        is_near = apart <= _SAME**2 * squares[block, None]
        for place, row in enumerate(range(block.start, block.stop)):
            kept[row] = not (is_near[place, :row] & kept[:row]).any()
    return kept


def _encoded(encoder: TextEncoder, texts: list[str], d: int) -> np.ndarray:
    vectors = np.asarray(_checks.to_numpy(encoder.encode_texts(texts)), dtype=np.float64)
    if vectors.shape != (len(texts), d):
        raise ValueError(
            f"the encoder gives {len(texts)} texts the shape {vectors.shape}, and the space has {d} dimensions: use "
            "the encoder that made the space."
        )
    return _checks.finite(vectors, "text embeddings")


def _captions_of(name: str | None, vocabulary: Vocabulary) -> list[str]:
    """Each once."""
    captions: Any = vocabulary
    if callable(vocabulary) or isinstance(vocabulary, Mapping):
        if name is None:
            raise ValueError(
                "there is no name of a class to make captions of: give the Evaluation labels and class_names=, or "
                "vocabulary= as a list of captions."
            )
        if isinstance(vocabulary, Mapping) and name not in vocabulary:
            others = ", ".join(map(repr, vocabulary))
            raise ValueError(f"vocabulary has no captions of the class {name!r}, only of {others}.")
        captions = vocabulary(name) if callable(vocabulary) else vocabulary[name]
    captions = _words(captions, "vocabulary")
    if name is None and any("{class}" in one for one in captions):
        raise ValueError("a caption with {class} needs the name of a class, and there is none here: say it without.")
    captions = captions if name is None else list(dict.fromkeys(named(one, name) for one in captions))
    if not captions:
        raise ValueError("vocabulary has no captions" + (f" of the class {name!r}." if name else "."))
    return captions


def _words(values: Any, name: str) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of texts, and {values!r} is one: write [{values!r}].")
    words = list(values) if isinstance(values, Iterable) else [values]
    if not all(isinstance(one, str) for one in words):
        raise TypeError(f"{name} must be a list of texts, not {values!r}.")
    return words


def _with_none(words: Sequence[str]) -> list[str]:
    return list(words) if "" in words else ["", *words]
