"""A slice drawn by hand, carried to examples that nobody has looked at."""

import numpy as np
import pytest

from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.verification import verify


def world(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(n, 8)), np.arange(n) % 2
    hard = rng.random(n) < 0.1
    rows[hard] += 2.5
    wrong = rng.random(n) < np.where(hard, 0.5, 0.05)
    columns = {"labels": labels, "predictions": np.where(wrong, 1 - labels, labels), "class_names": ["boot", "bag"]}
    return Evaluation({"clip": rows, "noise": rng.normal(size=(n, 3))}, **columns), hard


@pytest.fixture(scope="module")
def parts():
    ev, hard = world()
    return ev.take(np.arange(1000)), ev.take(np.arange(1000, 2000)), hard[:1000], hard[1000:]


def test_what_was_drawn_is_found_on_other_examples_and_confirmed_there(parts):
    seen, fresh, drawn_on, truth = parts
    drawn = Slice.drawn(seen, seen.ids[drawn_on], "far out")
    assert verify(drawn, seen)[0].words == "drawn on these data"
    one = drawn.extend(seen, fresh)
    assert (one.is_member & truth).sum() / (one.is_member | truth).sum() > 0.8
    assert (one.name, one.method, one.scope, one.is_drawn) == ("far out", "drawn by hand, extended", "all", False)
    assert one.evaluation_hash == fresh.hash and one.stats["agreement"] > 0.8
    (v,) = verify(one, fresh)
    assert v.confirmed and v.caution == ""
    np.testing.assert_allclose(np.ptp(one.scores - fresh.space() @ one.direction), 0, atol=1e-4)
    with pytest.raises(ValueError, match="identical to examples used to find"):
        verify(drawn.extend(seen, seen), seen)


def test_about_as_many_are_members_as_were_drawn(parts):
    seen, fresh, _, _ = parts
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.6):
        one = Slice.drawn(seen, seen.ids[rng.random(1000) < share], "by chance").extend(seen, fresh)
        assert one.is_member.mean() == pytest.approx(share, abs=0.06)
        assert abs(one.stats["agreement"]) < 0.1  # a space that does not show it


def test_it_stays_within_its_class_and_in_the_space_named(parts):
    seen, fresh, drawn_on, _ = parts
    member = drawn_on & (seen.labels == 1)
    one = Slice.of(seen, scores=member * 1.0, weights=member * 1.0, scope=("label", 1), name="bags", method="mine")
    there = one.extend(seen, fresh)
    assert there.scope == ("label", 1) and np.array_equal(there.in_scope, fresh.labels == 1)
    drawn = Slice.drawn(seen, seen.ids[member], "bags")
    again = drawn.extend(seen, fresh, scope=("label", "bag"))
    assert again.scope == ("label", 1) and np.array_equal(again.is_member, there.is_member)
    assert again.stats["agreement"] > drawn.extend(seen, fresh).stats["agreement"] + 0.2  # nothing tells the classes
    assert set(one.extend(seen, fresh, space="noise").seen) == {"noise"}
    assert one.extend(seen, fresh, space="noise").stats["agreement"] < there.stats["agreement"]


def test_what_an_earlier_search_has_seen_is_remembered(parts):
    seen, fresh, drawn_on, _ = parts
    other, _ = world(300, seed=9)
    member = drawn_on * 1.0
    found = Slice.of(
        seen,
        scores=member,
        weights=member,
        scope="all",
        name="a",
        method="m",
        seen={"clip": other.row_fingerprints("clip")},
    )
    rows = found.extend(seen, fresh).seen["clip"]
    assert len(rows) == 1300


def test_copies_do_not_tell_each_other():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(150, 100)), 4, axis=0)
    ev = Evaluation(rows)
    drawn = Slice.drawn(ev, ev.ids[np.repeat(rng.random(150) < 0.3, 4)], "by chance")
    assert abs(drawn.extend(ev, ev).stats["agreement"]) < 0.2


def test_classes_of_another_order_are_refused(parts):
    seen, fresh, drawn_on, _ = parts
    other = Evaluation({"clip": fresh.space()}, labels=fresh.labels, class_names=["bag", "boot"])
    with pytest.raises(ValueError, match="number their classes differently: give both the same class_names"):
        Slice.drawn(seen, seen.ids[drawn_on], "x").extend(seen, other, space="clip")


def test_refusals_are_sentences(parts):
    seen, fresh, drawn_on, _ = parts
    drawn = Slice.drawn(seen, seen.ids[drawn_on], "far out")
    with pytest.raises(ValueError, match="'far out' belongs to another Evaluation: give the one it was made on first"):
        drawn.extend(fresh, seen)
    with pytest.raises(ValueError, match="no space 'dino'"):
        drawn.extend(seen, fresh, space="dino")
    with pytest.raises(ValueError, match="8 dimensions here and 2 there"):
        drawn.extend(seen, Evaluation({"clip": np.ones((5, 2))}))
    for ids in (seen.ids[:4], seen.ids[4:]):
        with pytest.raises(ValueError, match="extend needs 5 members and as many others"):
            Slice.drawn(seen, ids, "few").extend(seen, fresh)
    with pytest.raises(ValueError, match="there is no class 'hat'"):
        drawn.extend(seen, fresh, scope=("label", "hat"))
    with pytest.raises(TypeError, match="extend takes the Evaluation of the slice"):
        drawn.extend(seen, None)
    member = drawn_on & (seen.labels == 1)
    bags = Slice.of(seen, scores=member * 1.0, weights=member * 1.0, scope=("label", 1), name="bags", method="mine")
    with pytest.raises(ValueError, match="needs labels, and this Evaluation has none"):
        bags.extend(seen, Evaluation({"clip": np.ones((5, 8))}))


def test_members_that_are_copies_of_one_row_are_carried_and_their_agreement_is_not_known():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4))
    rows[:12] = 5.0
    ev, there = Evaluation(rows), Evaluation(np.concatenate([rng.normal(size=(200, 4)), np.full((7, 4), 5.0)]))
    one = Slice.drawn(ev, np.arange(300) < 12, "alike").extend(ev, there)
    assert one.is_member[200:].all() and one.is_member[:200].mean() < 0.03
    assert np.isnan(one.stats["agreement"])
