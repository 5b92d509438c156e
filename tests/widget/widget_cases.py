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
