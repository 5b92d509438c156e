"""What a plan remembers of the data it was made for: enough to refuse others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from failviz.evaluation import Evaluation


def outline(ids: Sequence[str], labels: np.ndarray) -> str:
    """Hexadecimal fingerprint of ids and class numbers: what a plan knows its data by, without their pixels."""
    digest = hashlib.sha256("\x1f".join(ids).encode("utf-8", "surrogatepass"))
    digest.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class DataMark:
    """The data that a plan was made for: size, `Evaluation.hash`, and the `outline` of ids and labels."""

    n: int
    hash: str
    outline: str

    @classmethod
    def of(cls, evaluation: Evaluation, by: str) -> DataMark:
        evaluation.require("labels", by=by)
        assert evaluation.labels is not None
        return cls(evaluation.n_examples, evaluation.hash, outline(evaluation.ids.tolist(), evaluation.labels))

    @classmethod
    def from_dict(cls, facts: Any, name: str) -> DataMark:
        kinds = {"n": int, "hash": str, "outline": str}
        if not isinstance(facts, Mapping) or {part: type(value) for part, value in facts.items()} != kinds:
            raise ValueError(f"this is no retraining plan: its {name} must hold n, hash and outline.")
        return cls(**facts)
