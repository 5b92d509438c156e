"""Overlap between methods, and one list without duplicates."""

import numpy as np
import pytest
from discovery_cases import planted

from failviz.agreement import merge_duplicates, overlap
from failviz.discovery import FailureDirections, Spotlight
from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.verification import verify


@pytest.fixture(scope="module")
def ev():
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    return Evaluation(
        rng.normal(size=(100, 3)), labels=labels, predictions=np.where(rng.random(100) < 0.3, 1 - labels, labels)
    )


def group(ev, members, name="g", method="test", **facts):
    weights = np.isin(np.arange(ev.n_examples), members).astype(float)
    return Slice.of(
        ev, scores=weights, weights=weights, scope=facts.pop("scope", "all"), name=name, method=method, **facts
    )


def test_overlap_is_the_jaccard_index_of_each_two(ev):
    slices = [group(ev, range(10), "a"), group(ev, range(5, 20), "b", "tree"), group(ev, [], "c"), group(ev, [], "d")]
    table = overlap(slices)
    assert list(table.columns) == list(table.index) == ["test: a", "tree: b", "test: c", "test: d"]
    for i, one in enumerate(slices):
        for j, other in enumerate(slices):
            assert table.iloc[i, j] == pytest.approx(one.jaccard(other))
    assert overlap([]).shape == (0, 0)


def test_duplicates_are_merged_under_the_first_name(ev):
    seen = np.arange(6, dtype=np.uint64).reshape(2, 3)
    first = group(ev, range(20), "far away", "direction", seen={"clip": seen})
    same = group(ev, range(19), "spot 1", "spotlight", seen={"clip": seen + np.uint64(10), "hidden": seen})
    apart = group(ev, range(50, 60), "other", "spotlight")
    kept = merge_duplicates([first, apart, same])
    assert [one.name for one in kept] == ["far away", "other"]
    assert kept[0].method == "direction, spotlight"
    assert kept[0].stats["found_as"] == {"direction": "far away", "spotlight": "spot 1"}
    assert len(kept[0].seen["clip"]) == 4
    assert kept[0].seen.keys() == {"clip", "hidden"}
    assert np.array_equal(kept[0].weights, first.weights)
    assert kept[1].method == "spotlight"
    assert merge_duplicates([]) == []


def test_the_same_members_are_one_slice_in_whatever_scope(ev):
    of_label = group(ev, range(0, 20, 2), "far away", "direction", scope=("label", 0))
    of_all = group(ev, range(0, 20, 2), "spot 1", "spotlight")
    for first, second in ((of_label, of_all), (of_all, of_label)):
        [kept] = merge_duplicates([first, second])
        assert kept.scope == first.scope
        assert kept.stats["found_as"] == {"direction": "far away", "spotlight": "spot 1"}


def test_what_may_not_be_judged_joins_nothing_from_another_scope(ev):
    honest = group(ev, range(0, 20, 2), "far away", "direction", scope=("label", 0))
    for unfit in ({"uses_outcome": True}, {"is_drawn": True}):
        other = group(ev, range(0, 20, 2), "cell", "cells", **unfit)
        assert len(merge_duplicates([honest, other])) == 2
        assert len(merge_duplicates([other, other.renamed("again")])) == 1


def test_empty_slices_are_like_nothing_else(ev):
    empty = [group(ev, [], scope=scope) for scope in ("all", "all", ("label", 0))]
    assert len(merge_duplicates(empty)) == 3


def test_what_reads_the_outcome_does_so_when_merged(ev):
    honest, cheat = group(ev, range(20)), group(ev, range(20), uses_outcome=True)
    assert merge_duplicates([honest, cheat])[0].uses_outcome


def test_a_merged_list_is_judged_and_refused_as_its_parts_are():
    first, second = planted(1200)[0].split(0.5, random_state=0)
    finders = [
        FailureDirections(random_state=0, progress=False).fit(first),
        FailureDirections(estimator="lda", random_state=0, progress=False).fit(first),
        Spotlight(n_slices=2, min_weight=0.05, random_state=0, progress=False).fit(first),
    ]
    merged = merge_duplicates([one for finder in finders for one in finder.slices(second)], above=0.5)
    assert len(merged) < 8
    assert verify(merged, second).confirmed
    on_first = merge_duplicates([one for finder in finders for one in finder.slices(first)], above=0.5)
    with pytest.raises(ValueError, match="used to find"):
        verify(on_first, first)


def test_refusals_are_sentences(ev):
    other = ev.take(np.arange(50))
    with pytest.raises(ValueError, match="different Evaluations"):
        overlap([group(ev, [1]), group(other, [1])])
    with pytest.raises(TypeError, match=r"finder.slices\(evaluation\)"):
        merge_duplicates([3])
    for finder in (Spotlight(), [Spotlight()]):
        with pytest.raises(TypeError, match=r"not Spotlight: give finder.slices\(evaluation\)"):
            overlap(finder)
    with pytest.raises(TypeError, match=r"not list: join the lists, first.slices\(evaluation\) \+ second"):
        overlap([[group(ev, [1])], [group(ev, [2])]])
    with pytest.raises(TypeError, match=r"not Verdict: give its slice, or verdicts.confirmed"):
        merge_duplicates(verify(group(ev, range(20)), ev))
    with pytest.raises(TypeError, match=r"not Spotlight: give finder.slices\(evaluation\)"):
        merge_duplicates([Spotlight()], ev)
    with pytest.raises(ValueError, match="above must lie strictly between 0 and 1"):
        merge_duplicates([], above=1.0)
