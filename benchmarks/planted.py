"""Worlds in which the truth about a classifier's failures is known, in the manner of dcbench.

Eyuboglu et al. 2022 (Domino, arXiv 2203.14960, section 5) plant a slice, train a classifier that fails on it, and ask
which methods find it. Here the examples are drawn as well: labels, yes-or-no attributes and topics, and from them two
unrelated views of every example. A logistic regression is *trained* on biased data in one view (24 features); finders
see the other (128 embedding dimensions: a direction per class and attribute, topic clusters, heavy-tailed noise, a
common offset, unit rows). No error is stamped on anything: what fails, fails because the training data taught it badly.

Families:

- "rare": a subclass that is 1-8% of its class in training and resembles another class in what the classifier looks at.
- "correlation": an attribute goes along with one of two classes in 75-95% of training; both groups that break the
  rule are planted.
- "noisy": in a group 15-40% of the labels are wrong, in one true class or across all of them. They are wrong in
  training *and* in the data to be judged, as in dcbench: the classifier learns the majority, so that with clean labels
  nothing would fail. Two to four classes.
- "several": three conjunctions of a class with two attributes, each rare in training or wrongly labelled.

A world in which the trained classifier does not fail on every planted group is drawn again from a seed derived from
the first (`is_planted`); no finder has a say in that. `null` draws worlds without any failure to find.

Metadata are what a person might have at hand, never the planted attribute: a topic that is wrong for one example in
seven, a number that means nothing, and for every other attribute, planted or not, a tag that leaves out many and is
put on a few that lack it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from planted_world import (
    DRAWS,
    N_ATTRIBUTES,
    N_TOPICS,
    Features,
    Group,
    Space,
    World,
    attribute_shares,
    given_labels,
    population,
)
from sklearn.linear_model import LogisticRegression

from failviz.evaluation import Evaluation

FAMILIES = tuple(DRAWS)
DEVELOPMENT_SEEDS = range(10)
"""To look at while methods and settings are chosen. (Seeds 10 to 39 and 2000 to 2029 were, too.)"""
REPORT_SEEDS = range(4000, 4030)
"""For the figures that are published; not to be looked at before. (1000 to 1029 and 3000 to 3029 were.)"""

N_TRAIN, N_FIT, N_TEST = 4000, 2000, 4000
GAP, RATIO, FEWEST = 0.10, 2.0, 50
"""A group is planted when it has 50 test examples and fails at least 10 points and twice as often as the rest."""
ATTEMPTS = 60

Part: TypeAlias = tuple[np.ndarray, ...]
"""Embeddings, labels, probs, attributes and topics of the examples of `fit` or `test`."""


@dataclass(frozen=True)
class Setting:
    """One world: `fit` for the finder, `test` to judge it on, and the planted `groups` as masks bool (n_test,)."""

    family: str
    seed: int
    fit: Evaluation
    test: Evaluation
    groups: tuple[np.ndarray, ...]
    facts: Mapping[str, Any]


def make(family: str, seed: int) -> Setting:
    """The setting of a family and a seed, always the same.

    Raises
    ------
    ValueError
        For an unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, not {family!r}.")
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([20220324, FAMILIES.index(family), seed, attempt])
        world = DRAWS[family](rng)
        setting = _realise(rng, world, family, seed, attempt)
        if is_planted(setting, world.groups):
            return setting
    raise RuntimeError(f"no world of {ATTEMPTS} has its {family} groups planted at seed {seed}: change the recipe.")


def is_planted(setting: Setting, groups: tuple[Group, ...]) -> bool:
    """Whether the trained classifier fails on every group clearly more often than on the rest of its scope, in test."""
    test, anywhere = setting.test, np.any(setting.groups, axis=0)
    assert test.labels is not None
    for group, mask in zip(groups, setting.groups, strict=True):
        # The scope of a mislabelled group is everything: its given labels are not all those of its class.
        scope = test.labels == group.label if group.cause != "noisy" else np.ones(len(test), dtype=bool)
        inside, rest = test.errors[mask].mean(), test.errors[scope & ~anywhere].mean()
        if mask.sum() < FEWEST or inside < max(rest + GAP, RATIO * rest):
            return False
    return True


def null(seed: int) -> Setting:
    """A world without groups, in which errors are independent of everything.

    Labels are independent of the embedding too. Otherwise examples *predicted* as a class and lying among another
    would be wrong more often, which is true, and a tree over predictions would be right to say so.
    """
    rng = np.random.default_rng([20220324, len(FAMILIES), seed])
    world = World(attribute_shares(rng, 2), np.empty(0), (), (1.0, 4.0), 0.0, 0.0)
    rate = rng.uniform(0.05, 0.25)
    parts: list[Part] = []
    space = Space(rng, world)
    for n in (N_FIT, N_TEST):
        labels, has, topics = population(rng, world, n, taught=False)
        unrelated = rng.permutation(labels)
        predictions = np.where(rng.random(n) < rate, 1 - unrelated, unrelated)
        sure = rng.uniform(0.55, 0.99, n)
        probs = np.where(np.arange(2) == predictions[:, None], sure[:, None], 1 - sure[:, None])
        parts.append((space(rng, labels, has, topics), unrelated, probs, has, topics))
    fit, test = _evaluations(rng, parts)
    return Setting("null", seed, fit, test, (), {"error_rate": rate})


def _realise(rng: np.random.Generator, world: World, family: str, seed: int, attempt: int) -> Setting:
    """Train the classifier on the biased data, and evaluate it on data as they are."""
    features, space = Features(rng, world), Space(rng, world)
    labels, has, topics = population(rng, world, N_TRAIN, taught=True)
    held = [group.holds(labels, has) for group in world.groups]
    rows, given = features(rng, labels, has, topics), given_labels(rng, world, labels, has)
    model = LogisticRegression(max_iter=300).fit(rows, given)
    parts: list[Part] = []
    for n in (N_FIT, N_TEST):
        true, has, topics = population(rng, world, n, taught=False)
        probs = model.predict_proba(features(rng, true, has, topics))
        parts.append((space(rng, true, has, topics), given_labels(rng, world, true, has), probs, has, topics))
        masks = tuple(group.holds(true, has) for group in world.groups)
    fit, test = _evaluations(rng, parts)
    facts = {
        "attempt": attempt,
        "n_classes": world.n_classes,
        "spans_classes": any(group.label is None for group in world.groups),
        "causes": [group.cause for group in world.groups],
        "strengths": [space.strengths[[*group.attributes, *group.lacking]].tolist() for group in world.groups],
        "training_shares": [
            float(inside.sum() / max(1, (labels == group.label).sum() if group.label is not None else len(labels)))
            for group, inside in zip(world.groups, held, strict=True)
        ],
        "test_sizes": [int(mask.sum()) for mask in masks],
        "group_error_rates": [float(test.errors[mask].mean()) for mask in masks],
        "error_rate": test.error_rate,
    }
    for mask in masks:
        mask.setflags(write=False)
    return Setting(family, seed, fit, test, masks, facts)


def _evaluations(rng: np.random.Generator, parts: list[Part]) -> list[Evaluation]:
    """The Evaluations of both parts, with what a person may have noted of the examples."""
    tagged = rng.permutation(N_ATTRIBUTES)[: N_ATTRIBUTES // 2]
    noted, slips = rng.uniform(0.3, 0.7, N_ATTRIBUTES), rng.uniform(0.02, 0.08, N_ATTRIBUTES)
    evaluations = []
    for part, (embeddings, labels, probs, has, topics) in zip(("fit", "test"), parts, strict=True):
        n = len(labels)
        seen = rng.random(has.shape) < np.where(has, noted, slips)
        misread = rng.random(n) < 1 / 7
        metadata: dict[str, np.ndarray] = {
            "topic": np.array([f"topic {t}" for t in np.where(misread, rng.integers(N_TOPICS, size=n), topics)]),
            "size": rng.lognormal(size=n),
            **{f"tag {a}": np.where(seen[:, a], "noted", "-") for a in sorted(tagged.tolist())},
        }
        names = [f"class {c}" for c in range(probs.shape[1])]
        ids = [f"{part} {row}" for row in range(n)]
        evaluations.append(
            Evaluation(embeddings, labels=labels, probs=probs, ids=ids, metadata=metadata, class_names=names)
        )
    return evaluations
