"""A hypothesis in words, put to the test: the examples of an Evaluation that a sentence describes, as a Slice.

That a slice looks coherent does not mean that what a person (or a caption) makes of it is where the model fails
(Johnson et al. 2023, arXiv 2306.08167). So the sentence itself is tested: it retrieves examples that no search saw, by
likeness of text and image in one space (CLIP; Radford et al. 2021, arXiv 2103.00020), and `verify` judges them as any
slice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import numpy as np

from failviz import _checks
from failviz.slices import Slice, scope_mask, scope_named

if TYPE_CHECKING:
    from failviz.evaluation import Evaluation
    from failviz.slices import Scope

METHOD = "text"
REFERENCE = "a photo of a {class}"
SHARE_OF_ALL, SHARE_OF_CLASS = 0.02, 0.1
_SAME = 1e-6  # between unit vectors: rounding
_BEFORE_CLASS = re.compile(r"\b(a) ({class})", re.IGNORECASE)
_VOWEL = re.compile(
    r"(?!e[uw]|one\b|uni[cfoqtv]|us[eu]|ut[ei]|uk[eu]|ur[aei]|ufo|u-)[aeiou]|hour|honest|heir|x-ray", re.IGNORECASE
)


class TextEncoder(Protocol):
    """What `retrieve` needs of an encoder: `encoders.OpenClip` and the demo's have it."""

    name: str

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Embed sentences, (m, d)."""


def likeness(embeddings: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Of rows (n, d), scaled to unit length, with a direction (d,): float64 (n,), 0 for rows of zeros."""
    likenesses = np.empty(len(embeddings))
    for start, block in _checks.row_chunks(embeddings):
        rows = block.astype(np.float64)
        lengths = np.sqrt((rows * rows).sum(axis=1))
        products = (rows * direction).sum(axis=1)  # not a matrix product: equal rows are equally alike
        likenesses[start : start + len(block)] = products / np.where(lengths > 0, lengths, 1.0)
    return likenesses


def retrieve(
    text: str,
    evaluation: Evaluation,
    encoder: TextEncoder,
    *,
    scope: tuple[str, int | str] | str | None = None,
    size: float | None = None,
    for_slice: Slice | None = None,
    reference: str | None = REFERENCE,
    space: str | None = None,
) -> Slice:
    """The examples that a sentence describes best, to ask `verify` whether the model fails on what the words say.

    The score of an example is the cosine of its embedding with the sentence, less that with the reference: within a
    class everything is a sneaker, and what counts is the grass. Outcomes are never read.

    Parameters
    ----------
    text : str
        For instance "a photo of a sneaker on grass". It must not come from looking at these very examples' errors: take
        it from other data, and say by `for_slice` which slice it explains.
    evaluation : Evaluation
        With a space of this encoder.
    encoder : OpenClip, the demo's, or anything with `encode_texts(list) -> (m, d)`
    scope : "all", ("label", c) or ("prediction", c), optional
        Where to look, and against what `verify` compares; c is a number or a name. Default: that of `for_slice`, else
        "all". A caption of a class belongs in its class, and in "all" it mostly retrieves the class.
    size : float or int, optional
        Members: below 1 a share of the scope, else their number; equal scores at the end all count. Default: the
        share that `for_slice` has of its own scope, else 0.1 of a class and 0.02 of all.
    for_slice : Slice, optional
        The slice that the text explains, of any Evaluation: what chose it also chose the text, so `verify` will
        leave out or refuse the examples that its search saw. Drawn by hand on this Evaluation, or with members that
        read its outcome, it makes the text untestable here, and the verdict says so. That some of these examples were
        among those looked at cannot be told: give others.
    reference : str or None
        What is subtracted; {class} stands for the name of the scope's class, and such a reference is used in a class
        only. None = nothing: then the most typical examples of the class come first, which seldom fail.
    space : str, optional
        Default: the space named as the encoder.

    Returns
    -------
    Slice
        Named and captioned by the text, `method="text"`; `direction` is what embeddings were compared with.

    Raises
    ------
    ValueError
        When the space is missing or another encoder's, the scope is empty or smaller than the size, or text and
        reference mean the same to the encoder.

    Examples
    --------
    >>> from failviz.evaluation import Evaluation
    >>> class Colours:
    ...     name = "colours"
    ...     def encode_texts(self, texts):
    ...         return np.array([[float("red" in text), float("blue" in text), 1.0] for text in texts])
    >>> pictures = Evaluation({"colours": [[1, 0, 1], [0, 1, 1], [0, 0, 1], [0.9, 0, 1]]})
    >>> retrieve("a red dress", pictures, Colours(), size=2).members.tolist()
    ['0', '3']
    """
    embeddings = embeddings_for(evaluation, encoder, space, by="retrieve")
    if for_slice is not None and not isinstance(for_slice, Slice):
        raise TypeError(f"for_slice must be a Slice, not {type(for_slice).__name__}.")
    if for_slice is not None and scope is not None:
        raise ValueError("for_slice brings its own scope: leave scope out.")
    where = scope_named("all" if scope is None else scope, evaluation) if for_slice is None else for_slice.scope
    inside = scope_mask(where, evaluation)
    if not inside.any():
        raise ValueError(f"there are no examples in scope {where!r}: nothing can be retrieved.")
    direction = _direction(text, _filled(reference, where, evaluation), encoder)
    if len(direction) != embeddings.shape[1]:
        raise ValueError(
            f"the encoder gives {len(direction)} dimensions, and the space has {embeddings.shape[1]}: "
            "use the encoder that made the space."
        )
    scores = np.where(inside, likeness(embeddings, direction), -np.inf)
    least = np.sort(scores[inside])[-_number(size, for_slice, where, int(inside.sum()))]
    # What was seen while looking at these very examples is no hypothesis about them.
    here = for_slice if for_slice is not None and for_slice.evaluation_hash == evaluation.hash else None
    return Slice.of(
        evaluation,
        scores=scores,
        weights=(scores >= least).astype(np.float64),
        scope=where,
        name=text,
        method=METHOD,
        caption=text,
        direction=direction,
        seen={} if for_slice is None else dict(for_slice.seen),
        is_drawn=here is not None and here.is_drawn,
        uses_outcome=here is not None and here.uses_outcome,
    )


def embeddings_for(evaluation: Evaluation, encoder: TextEncoder, space: str | None, *, by: str) -> np.ndarray:
    """The space (n, d) that an encoder of texts made, or a refusal in words."""
    if not hasattr(encoder, "encode_texts"):
        raise TypeError(f"{by} needs an encoder of texts, as OpenClip is, not {type(encoder).__name__}.")
    name = getattr(encoder, "name", "") if space is None else space
    if name not in evaluation.spaces:
        raise ValueError(
            f"there is no space {name!r} in this Evaluation, only {', '.join(map(repr, evaluation.spaces))}: "
            "evaluate with encoders=encoder, or give the space= that this encoder made."
        )
    return evaluation.space(name)


def _filled(reference: str | None, scope: Scope, evaluation: Evaluation) -> str | None:
    if reference is None or "{class}" not in reference:
        return reference
    return None if isinstance(scope, str) else named(reference, evaluation.class_name(scope[1]))


def named(text: str, name: str) -> str:
    """The text with the name of a class for {class}, "an" before it where it sounds like a vowel."""
    article = r"\1n \2" if _VOWEL.match(name) else r"\1 \2"
    return _BEFORE_CLASS.sub(article, text).replace("{class}", name)


def _direction(text: str, reference: str | None, encoder: TextEncoder) -> np.ndarray:
    """Unit vector of the text, less that of the reference, float64 (d,)."""
    if not isinstance(text, str):
        raise TypeError(f"text must be one sentence, not {type(text).__name__}: retrieve them one by one.")
    texts = [text] if reference is None else [text, reference]
    vectors = np.asarray(encoder.encode_texts(texts), dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise ValueError(f"the encoder makes nothing of {texts[int(np.argmin(lengths > 0))]!r}: use other words.")
    vectors = vectors / lengths
    if reference is None:
        return vectors[0]
    direction: np.ndarray = vectors[0] - vectors[1]
    if np.linalg.norm(direction) <= _SAME:
        raise ValueError(f"{text!r} and the reference {reference!r} are one to the encoder: change either.")
    return direction


def _number(size: float | None, for_slice: Slice | None, scope: Scope, n: int) -> int:
    """How many members, at least one, of a scope with n examples."""
    if size is None:
        size = SHARE_OF_ALL if isinstance(scope, str) else SHARE_OF_CLASS
        if for_slice is not None and len(for_slice):
            size = len(for_slice) / int(for_slice.in_scope.sum())
        return max(1, min(n, round(size * n)))
    if isinstance(size, int | float | np.number) and not isinstance(size, bool) and 0 < size < 1:
        return max(1, round(size * n))
    number = _checks.whole_number(size, "size (when it is no share between 0 and 1)", least=1)
    if number > n:
        raise ValueError(f"size is {number}, and the scope has {n} examples: ask for fewer.")
    return number
