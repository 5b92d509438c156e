"""What a planted world is made of: who fails and why, who there is, and the two views of every example.

One view is the classifier's (24 features), the other the finders' (128 embedding dimensions); all they share is that
class, attributes and topic show in both. See `planted.py` for the families and where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

D, N_FEATURES, N_ATTRIBUTES, N_TOPICS = 128, 24, 8, 6


@dataclass(frozen=True)
class Group:
    """Examples of one true class (None = of all) that have all the `attributes`, none of the `lacking`."""

    label: int | None
    cause: str
    attributes: tuple[int, ...] = ()
    lacking: tuple[int, ...] = ()
    kept: float = 1.0  # share of its examples that training still shows
    flipped: float = 0.0  # share of its labels that are wrong
    rival: int = 0  # the class it resembles, or is labelled as
    pull: float = 0.0  # how far it has moved to the rival in the classifier's view, 1 = all the way

    def holds(self, labels: np.ndarray, has: np.ndarray) -> np.ndarray:
        """Bool (n,) from true labels (n,) and attributes bool (n, m)."""
        inside = np.logical_and(has[:, self.attributes].all(axis=1), ~has[:, self.lacking].any(axis=1))
        return inside if self.label is None else inside & (labels == self.label)


@dataclass(frozen=True)
class World:
    """What does not change from example to example."""

    shares: np.ndarray  # (n_classes, m): how often each class has each attribute where data are judged
    taught: np.ndarray  # the same in training
    groups: tuple[Group, ...]
    visible: tuple[float, float]  # range of the planted attributes' strength in the embedding, in noise sds
    separation: float  # of the classes in the classifier's view, in noise sds
    reliance: float  # strength of attributes there
    class_shares: np.ndarray = field(default_factory=lambda: np.array([0.5, 0.5]))

    @property
    def n_classes(self) -> int:
        return len(self.class_shares)

    @property
    def planted(self) -> list[int]:
        return sorted({a for group in self.groups for a in (*group.attributes, *group.lacking)})


# -- the families ------------------------------------------------------------------------------------------------------


def rare(rng: np.random.Generator) -> World:
    """A subclass that training hardly shows, drawn toward the other class in what the classifier looks at."""
    shares = attribute_shares(rng, 2)
    label = int(rng.integers(2))
    shares[label, 0] = rng.uniform(0.06, 0.2)
    shares[1 - label, 0] = rng.choice([0.0, shares[label, 0]])  # a subclass of its own, or an attribute others have too
    kept = min(1.0, rng.uniform(0.01, 0.08) / shares[label, 0])
    group = Group(label, "rare", (0,), kept=kept, rival=1 - label, pull=rng.uniform(0.4, 0.9))
    return World(shares, shares, (group,), (3.0, 6.0), rng.uniform(2.6, 3.6), rng.uniform(0.5, 2.0))


def correlation(rng: np.random.Generator) -> World:
    """An attribute that goes along with class 0 in training, and less so where data are judged."""
    shares = attribute_shares(rng, 2)
    taught = shares.copy()
    taught[0, 0], taught[1, 0] = (together := rng.uniform(0.75, 0.95)), 1 - together
    shares[0, 0], shares[1, 0] = 1 - rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.35)
    groups = (Group(0, "correlation", lacking=(0,)), Group(1, "correlation", (0,)))
    return World(shares, taught, groups, (3.0, 6.0), rng.uniform(1.8, 2.8), rng.uniform(2.0, 4.0))


def noisy(rng: np.random.Generator) -> World:
    """A group of one class, or of every class, with wrong labels."""
    n_classes = int(rng.integers(2, 5))
    shares = attribute_shares(rng, n_classes)
    label = None if rng.random() < 0.5 else int(rng.integers(n_classes))
    shares[:, 0] = rng.uniform(0.08, 0.2) if label is None else rng.uniform(0.15, 0.4)
    rival = 0 if label is None else (label + 1) % n_classes
    group = Group(label, "noisy", (0,), flipped=rng.uniform(0.15, 0.4), rival=rival)
    even = np.full(n_classes, 1 / n_classes)
    return World(shares, shares, (group,), (3.0, 6.0), rng.uniform(3.6, 4.6), rng.uniform(0.5, 2.0), even)


def several(rng: np.random.Generator) -> World:
    """Three conjunctions of two attributes: at least one in each class, no attribute in two of them."""
    shares = attribute_shares(rng, 2)
    shares[:, :6] = rng.uniform(0.3, 0.45, 6)
    groups = []
    for number, label in enumerate(rng.permutation(np.array([0, 1, rng.integers(2)]))):
        about: dict[str, Any] = {"attributes": (2 * number, 2 * number + 1), "rival": 1 - int(label)}
        if rng.random() < 2 / 3:
            about |= {"cause": "rare", "kept": rng.uniform(0.0, 0.2), "pull": rng.uniform(0.5, 0.9)}
        else:
            about |= {"cause": "noisy", "flipped": rng.uniform(0.25, 0.4)}
        groups.append(Group(int(label), **about))
    return World(shares, shares, tuple(groups), (5.0, 8.0), rng.uniform(3.2, 4.2), rng.uniform(0.5, 1.5))


DRAWS = {"rare": rare, "correlation": correlation, "noisy": noisy, "several": several}
"""Their order is part of the seed of every world."""


def attribute_shares(rng: np.random.Generator, n_classes: int) -> np.ndarray:
    """How common each attribute is, in every class alike: (n_classes, m)."""
    return np.tile(rng.uniform(0.1, 0.5, N_ATTRIBUTES), (n_classes, 1))


# -- the examples ------------------------------------------------------------------------------------------------------


def population(
    rng: np.random.Generator, world: World, n: int, *, taught: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True labels (n,), attributes bool (n, m) and topics (n,), as training shows them or as they are."""
    labels = rng.choice(world.n_classes, n, p=world.class_shares)
    has = rng.random((n, N_ATTRIBUTES)) < (world.taught if taught else world.shares)[labels]
    for group in world.groups if taught else ():
        leaves = group.holds(labels, has) & (rng.random(n) >= group.kept)
        if leaves.any():
            has[leaves, rng.choice(group.attributes, int(leaves.sum()))] = False
    return labels, has, rng.integers(N_TOPICS, size=n)


def given_labels(rng: np.random.Generator, world: World, labels: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Labels as a labeller gave them (n,): partly wrong in mislabelled groups."""
    given = labels.copy()
    for group in world.groups:
        wrong = group.holds(labels, has) & (rng.random(len(labels)) < group.flipped)
        other = (labels + rng.integers(1, world.n_classes, len(labels))) % world.n_classes
        given[wrong] = other[wrong] if group.label is None else group.rival
    return given


class Features:
    """The classifier's view: class means at equal distances, attributes, noise that differs from topic to topic."""

    def __init__(self, rng: np.random.Generator, world: World):
        self.world = world
        basis = np.linalg.qr(rng.normal(size=(N_FEATURES, N_FEATURES)))[0]
        self.means = basis[: world.n_classes] * world.separation / np.sqrt(2)
        self.attributes = _unit(rng.normal(size=(N_ATTRIBUTES, N_FEATURES))) * world.reliance
        self.own = _unit(rng.normal(size=(len(world.groups), N_FEATURES))) * rng.uniform(1.0, 2.5)
        self.spread = rng.uniform(0.9, 1.15, N_TOPICS)

    def __call__(self, rng: np.random.Generator, labels: np.ndarray, has: np.ndarray, topics: np.ndarray) -> np.ndarray:
        rows = self.means[labels] + has @ self.attributes
        for group, own in zip(self.world.groups, self.own, strict=True):
            if group.pull:
                inside = group.holds(labels, has)
                rows[inside] += group.pull * (self.means[group.rival] - self.means[group.label]) + own
        return rows + rng.normal(size=rows.shape) * self.spread[topics, None]


class Space:
    """The finders' view: unit rows (n, 128), float32."""

    def __init__(self, rng: np.random.Generator, world: World):
        strengths = rng.uniform(1.0, 6.0, N_ATTRIBUTES)
        strengths[world.planted] = rng.uniform(*world.visible, len(world.planted))
        self.strengths = strengths
        self.attributes = _unit(rng.normal(size=(N_ATTRIBUTES, D))) * strengths[:, None]
        self.classes = _unit(rng.normal(size=(world.n_classes, D))) * rng.uniform(1.5, 4.0)
        self.topics = _unit(rng.normal(size=(N_TOPICS, D))) * rng.uniform(2.0, 6.0, (N_TOPICS, 1))
        self.offset = _unit(rng.normal(size=(1, D))) * rng.uniform(8.0, 14.0)
        spectrum = np.arange(1, D + 1) ** -0.25
        self.noise = np.linalg.qr(rng.normal(size=(D, D)))[0] * (spectrum / np.sqrt(np.mean(spectrum**2)))[:, None]

    def __call__(self, rng: np.random.Generator, labels: np.ndarray, has: np.ndarray, topics: np.ndarray) -> np.ndarray:
        n = len(labels)
        plain = rng.uniform(0.8, 1.2, has.shape) * has  # an attribute shows more in one example than in another
        tails = np.sqrt(5 / rng.chisquare(5, size=(n, 1)))  # Student's t with 5 degrees of freedom
        rows = self.offset + self.classes[labels] + self.topics[topics] + plain @ self.attributes
        return _unit(rows + tails * (rng.normal(size=(n, D)) @ self.noise)).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
