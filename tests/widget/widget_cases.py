"""A small synthetic Evaluation whose weak spot is known, and what the browser sees of an Explorer."""

from typing import Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.widget import Explorer


def make_evaluation(n: int = 120, seed: int = 0, *, source: Any = "images", **changes: Any) -> Evaluation:
    """Two classes; sneakers with a high first coordinate ("grass") are taken for sandals."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(n, 6)).astype(np.float32)
    labels = np.arange(n) % 2
    weak = (labels == 1) & (embeddings[:, 0] > 0.5)
    wrong = np.where(weak, rng.random(n) < 0.9, rng.random(n) < 0.05)
    right_prob = np.where(wrong, 0.2, 0.8) + rng.uniform(-0.1, 0.1, n)
    probs = np.stack([np.where(labels == 0, right_prob, 1 - right_prob)] * 2, axis=1)
    probs[:, 1] = 1 - probs[:, 0]
    facts: dict[str, Any] = {
        "labels": labels,
        "probs": probs,
        "class_names": ["sandal", "sneaker"],
        "ids": [f"img-{i}" for i in range(n)],
        "metadata": {
            "background": np.where(embeddings[:, 0] > 0.5, "grass", "sand"),
            "brightness": rng.random(n),
            "year": 2000 + np.arange(n) % 5,
        },
        "source": rng.integers(0, 255, size=(n, 24, 32, 3), dtype=np.uint8) if source == "images" else source,
    }
    return Evaluation(embeddings, **{**facts, **changes})


def make_slice(evaluation: Evaluation, name: str = "sneaker, hardest", **facts: Any) -> Slice:
    """The failure direction of the sneakers: the first coordinate."""
    score = evaluation.space()[:, 0].astype(np.float64) - 0.5
    elsewhere = {"embedding": np.ones((1, 3), dtype=np.uint64)}  # what the search saw: none of these rows
    facts = {"direction": np.eye(evaluation.space().shape[1])[0], "seen": elsewhere, **facts}
    return Slice.of(
        evaluation,
        scores=score,
        weights=(score > 0).astype(float),
        scope=("label", 1),
        name=name,
        method="failure direction",
        caption="sneaker, grass",
        stats={"easiest": "sneaker, studio"},
        **facts,
    )


class GrassFinder:
    """Finds `make_slice` again in any Evaluation, as a fitted finder does."""

    space_ = "embedding"

    def fit(self, evaluation: Evaluation) -> "GrassFinder":
        return self

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        return [make_slice(evaluation)]


def make_pool(n: int = 200, seed: int = 5, **changes: Any) -> Evaluation:
    """Examples of the same kind that could be added, named pool-0 and so on."""
    return make_evaluation(n, seed, **{"ids": [f"pool-{i}" for i in range(n)], **changes})


def after_retraining(evaluation: Evaluation, n_fixed: int, n_broken: int = 0) -> Evaluation:
    """The Evaluation of a model that gets the first wrong ones right, and the first right ones wrong."""
    assert evaluation.labels is not None and evaluation.predictions is not None
    predictions = evaluation.predictions.copy()
    fixed, broken = np.flatnonzero(evaluation.errors)[:n_fixed], np.flatnonzero(evaluation.correct)[:n_broken]
    predictions[fixed] = evaluation.labels[fixed]
    predictions[broken] = 1 - evaluation.labels[broken]
    facts = {"ids": evaluation.ids, "class_names": evaluation.class_names}
    return Evaluation(evaluation.space(), labels=evaluation.labels, predictions=predictions, **facts)


class Wire:
    """What the browser sees: replies caught on their way out."""

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        self.replies: list[tuple[dict[str, Any], list[bytes]]] = []
        explorer.send = lambda content, buffers=None: self.replies.append((content, list(buffers or [])))  # type: ignore[method-assign]

    def ask(self, command: Any, args: Any = None, buffers: Any = (), identity: Any = 1) -> dict[str, Any]:
        """Send one request as the browser would and return the reply."""
        before = len(self.replies)
        self.explorer._handle_custom_msg({"id": identity, "command": command, "args": args or {}}, list(buffers))
        assert len(self.replies) == before + 1
        return self.replies[-1][0]
