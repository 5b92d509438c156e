"""select: every rule against the obvious answer, one budget rule, and the same plan whatever the order of the pool."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from failviz.annotations import Annotations
from failviz.discovery import FailureDirections, Spotlight
from failviz.evaluation import Evaluation
from failviz.interventions import RetrainPlan, select
from failviz.interventions._lookalikes import nearest_in_chunks
from failviz.interventions.plan import DataMark
from failviz.slices import Slice
from failviz.verification import measure

NAMES = ["cat", "dog", "cow"]


def pool_of(n=8, x=None, **columns):
    """Class 0, 1, 0, 1...; losses fall with the row, confidence rises."""
    x = np.arange(n * 2, dtype=np.float32).reshape(n, 2) if x is None else x
    sure = np.linspace(0.5, 0.9, n)
    facts = {"labels": np.arange(n) % 2, "losses": np.arange(n, 0, -1) / 10, "class_names": NAMES[:2]}
    facts |= {"probs": np.column_stack([sure, 1 - sure]), "ids": [f"p{row}" for row in range(n)]}
    return Evaluation(x, **(facts | columns))


def of(evaluation, scores, weights=None, scope="all", name="s", **facts):
    weights = np.ones(evaluation.n_examples) if weights is None else weights
    return Slice.of(evaluation, scores=scores, weights=weights, scope=scope, name=name, method="m", **facts)


def chosen(*args, **how):
    return list(select(*args, **how).additions)


def turns(queues, budget):
    """The obvious budget rule: round after round, each takes its best that is not taken."""
    taken = []
    while len(taken) < budget:
        before = len(taken)
        for queue in queues:
            free = [one for one in queue if one not in taken]
            if free and len(taken) < budget:
                taken.append(free[0])
        if len(taken) == before:
            return None
    return taken


# -- the rules -----------------------------------------------------------------------------


def test_each_rule_takes_what_it_says():
    pool = pool_of(8)
    one = of(pool, [3, 9, 1, 9, 7, 9, 5, 9], [0.1, 1, 0.9, 1, 0.6, 1, 0.0, 1], ("label", 0))
    assert chosen(pool, one, by="direction", budget=3) == ["p4", "p6", "p0"]
    assert chosen(pool, one, by="spotlight", budget=3) == ["p2", "p4", "p0"]
    assert chosen(pool, one, by="membership", budget=2) == ["p4", "p2"]
    assert chosen(pool, one, by="confidence", budget=2) == ["p0", "p2"]
    assert chosen(pool, one, by="loss", budget=2) == ["p0", "p2"]
    assert set(chosen(pool, one, by="random", budget=4)) == {"p0", "p2", "p4", "p6"}
    assert chosen(pool, one, by="all") == ["p0", "p2", "p4", "p6"]
    assert chosen(pool, by="loss", budget=2) == chosen(pool, None, by="loss", budget=2) == ["p0", "p1"]
    assert len(chosen(pool, by="all")) == 8


def test_nearest_takes_look_alikes_of_wrong_members_with_their_label():
    mine = Evaluation([[0.0], [10.0], [20.0]], labels=[0, 0, 1], predictions=[1, 0, 0], class_names=NAMES[:2])
    pool = pool_of(6, x=[[0.1], [0.0], [11.0], [20.5], [2.0], [21.0]])
    everyone = of(mine, np.ones(3))
    plan = select(pool, everyone, by="nearest", of=mine, k=2, budget=4)
    assert list(plan.additions.items()) == [("p0", 0), ("p3", 1), ("p5", 1), ("p4", 0)]
    assert plan.used_ids == ("0", "1", "2") and plan.used_hash == mine.hash  # the right member was looked at too
    assert plan.reason.startswith("The pool examples most like 2 members of s,")
    right = of(mine, np.ones(3), [0, 1, 0])  # none is wrong: the members themselves
    assert chosen(pool, right, by="nearest", of=mine, k=2, budget=2) == ["p2", "p4"]
    assert "2 nearest each are 4 different ones, of 4" in plan.reason and not select(pool, by="all").used_hash


def test_what_a_plan_says_about_itself():
    pool = pool_of(8)
    plan = select(
        pool, of(pool, np.arange(8), scope=("label", 1), name="dark dogs"), by="direction", budget=np.int64(3)
    )
    assert plan.name == "dark dogs: 3 by failure score" and plan.targets == ("dark dogs",)
    assert plan.reason.startswith("3 of 4 pool examples in the scope of dark dogs: those that lie furthest")
    assert plan.pool == DataMark.of(pool, by="test") and plan.train is None and plan.class_names == ("cat", "dog")
    assert plan.budget == 3 and type(plan.budget) is int and plan.added_weight == 1 and plan.cautions == ()
    assert set(plan.additions.values()) == {1}
    assert select(pool, by="loss", budget=1, name="mine", added_weight=3).name == "mine"
    assert select(pool, by="loss", budget=1, added_weight=3).added_weight == 3
    assert RetrainPlan.from_dict(plan.to_dict()) == plan


def test_candidates_of_several_slices_are_counted_once():
    pool = pool_of(8)
    both = [of(pool, np.arange(8)), of(pool, -np.arange(8))]
    assert "of 8 pool examples" in select(pool, both, by="direction", budget=2).reason
    wrong = pool_of(8, predictions=1 - pool.labels)
    twice = [of(wrong, np.ones(8)), of(wrong, np.ones(8))]
    plan = select(pool, twice, by="nearest", of=wrong, k=1, budget=8)
    assert "1 nearest each are 8 different ones, of 16" in plan.reason


# -- the budget ----------------------------------------------------------------------------


def test_slices_take_turns_and_pass_over_what_is_taken():
    pool = pool_of(8)
    a = of(pool, [9, 8, 7, 6, 5, 4, 3, 2], name="a")
    b = of(pool, [9, 8, 1, 1, 1, 1, 1, 7], name="b")
    assert chosen(pool, [a, b], by="direction", budget=5) == ["p0", "p1", "p2", "p7", "p3"]
    assert chosen(pool, [b, a], by="direction", budget=4) == ["p0", "p1", "p7", "p2"]
    short = of(pool, np.arange(8), [0, 0, 0, 0, 0, 0, 0, 1], name="short")
    assert chosen(pool, [short, of(pool, -np.arange(8))], by="membership", budget=4) == ["p7", "p0", "p1", "p2"]
    assert chosen(pool, [a, a], by="direction", budget=3) == ["p0", "p1", "p2"]


def test_a_budget_above_the_candidates_is_refused_with_their_number():
    pool = pool_of(8)
    a, b = (of(pool, np.arange(8), row, ("label", 0)) for row in ([1, 0, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0, 0, 0]))
    assert len(chosen(pool, [a, b], by="membership", budget=3)) == 3
    said = "4 are asked for, and there are 3 examples to choose from: ask for fewer"
    with pytest.raises(ValueError, match=said):
        select(pool, [a, b], by="membership", budget=4)
    with pytest.raises(ValueError, match="9 are asked for, and there are 8 examples"):
        select(pool, by="random", budget=9)
    with pytest.raises(ValueError, match="1,000 are asked for, and there is 1 example to choose from"):
        select(pool, exclude=pool.ids[1:], by="random", budget=1000)
    mine = Evaluation([[0.0, 0.0]], labels=[0], predictions=[1], class_names=NAMES[:2])
    with pytest.raises(ValueError, match=r"3 are asked for, and there are 2 .*: ask for fewer"):
        select(pool, of(mine, [1]), by="nearest", of=mine, k=2, budget=3)


def test_ties_go_by_id_as_text():
    ids = ["b", "10", "a", "9", "é", "B", "", "aa"]
    pool = pool_of(8, ids=ids, losses=np.ones(8), probs=np.full((8, 2), 0.5))
    wanted = sorted(ids)
    same = of(pool, np.zeros(8))
    for n in (1, 5, 8):
        assert chosen(pool, by="loss", budget=n) == chosen(pool, by="confidence", budget=n) == wanted[:n]
        for by in ("direction", "spotlight", "membership"):
            assert chosen(pool, same, by=by, budget=n) == wanted[:n]
    alike = pool_of(8, x=np.ones((8, 2)), ids=ids, labels=np.zeros(8, int))
    mine = Evaluation([[3.0, 4.0]], labels=[0], class_names=NAMES[:2], predictions=[1])
    for chunk_rows in (1, 3, 100):
        assert chosen(alike, of(mine, [1]), by="nearest", of=mine, k=5, budget=5, chunk_rows=chunk_rows) == wanted[:5]


small = st.integers(0, 2)


@st.composite
def pools(draw):
    """Columns of a small pool with many ties, and some slices of it: scope, scores, weights."""
    n = draw(st.integers(1, 12))
    ids = draw(st.lists(st.text("ab1", max_size=4), min_size=n, max_size=n, unique=True))
    x, values, labels = (draw(st.lists(small, min_size=n * m, max_size=n * m)) for m in (2, 1, 1))
    quarters = st.lists(st.integers(0, 4), min_size=n, max_size=n)
    slices = draw(st.lists(st.tuples(st.sampled_from(["all", 0, 1]), quarters, quarters), min_size=1, max_size=3))
    return ids, np.reshape(x, (n, 2)), np.array(values), np.array(labels), slices


def built(facts, order):
    ids, x, values, labels, slices = facts
    sure = 0.5 + values / 8
    pool = Evaluation(
        x[order],
        ids=[ids[row] for row in order],
        labels=labels[order],
        losses=values[order],
        probs=np.column_stack([sure, 1 - sure, 0 * sure])[order],
        class_names=NAMES,
    )
    found = [
        of(pool, np.array(scores)[order], np.array(weights)[order] / 4, c if c == "all" else ("label", c))
        for c, scores, weights in slices
    ]
    return pool, found


@settings(deadline=None)
@given(pools(), st.integers(1, 12), st.sampled_from(["direction", "spotlight", "membership", "confidence", "loss"]))
def test_the_plan_is_the_obvious_one(facts, budget, by):
    ids, _, values, labels, slices = facts
    queues = []
    for scope, scores, weights in slices:
        rows = [row for row in range(len(ids)) if scope == "all" or labels[row] == scope]
        if by in ("spotlight", "membership"):
            rows = [row for row in rows if weights[row] > (0 if by == "spotlight" else 1)]
        value = {"spotlight": weights, "confidence": -values, "loss": values}.get(by, scores)
        queues.append([ids[row] for row in sorted(rows, key=lambda row: (-value[row], ids[row]))])
    wanted = turns(queues, budget)
    pool, found = built(facts, np.arange(len(ids)))
    if wanted is None:
        with pytest.raises(ValueError, match=r"to choose from"):
            select(pool, found, by=by, budget=budget)
    else:
        assert chosen(pool, found, by=by, budget=budget) == wanted


@settings(deadline=None)
@given(pools(), st.integers(1, 6), st.integers(1, 4), st.randoms(), st.integers(1, 13))
def test_the_nearest_are_the_obvious_ones_in_any_order_and_any_chunks(facts, budget, k, random, chunk_rows):
    ids, x, _, labels, _ = facts
    mine = Evaluation(
        [[0, 0], [1, 2], [2, 2], [0, 1]], labels=[0, 1, 0, 0], predictions=[1, 0, 0, 2], class_names=NAMES
    )
    slices = [of(mine, np.ones(4), weights, name=name) for name, weights in (("a", [1, 1, 0, 0]), ("b", [0, 0, 1, 1]))]
    queues = []
    for points in ([0, 1], [3]):
        near = {}
        for point in points:
            far = [
                ((x[row] - mine.space()[point]) @ (x[row] - mine.space()[point]), ids[row]) for row in range(len(ids))
            ]
            for distance, name in sorted(pair for pair, c in zip(far, labels, strict=True) if c == mine.labels[point])[
                :k
            ]:
                near[name] = min(distance, near.get(name, np.inf))
        queues.append(sorted(near, key=lambda name: (near[name], name)))
    wanted = turns(queues, budget)
    order = list(range(len(ids)))
    random.shuffle(order)
    for rows in (np.arange(len(ids)), np.array(order)):
        pool, _ = built(facts, rows)
        how = {"by": "nearest", "of": mine, "budget": budget, "k": k, "chunk_rows": chunk_rows}
        if wanted is None:
            with pytest.raises(ValueError, match=r"to choose from"):
                select(pool, slices, **how)
        else:
            assert chosen(pool, slices, **how) == wanted


@settings(deadline=None)
@given(pools(), st.integers(1, 6), st.randoms(), st.integers(0, 3))
def test_the_order_of_the_pool_does_not_show(facts, budget, random, seed):
    order = list(range(len(facts[0])))
    random.shuffle(order)
    plans = []
    for rows in (np.arange(len(order)), np.array(order)):
        pool, found = built(facts, rows)
        plans.append([])
        for by in ("direction", "spotlight", "membership", "confidence", "loss", "random", "all"):
            controls = ["random", "confidence", "loss", "all"]
            n = None if by == "all" else budget
            try:
                plan = select(pool, found, by=by, budget=n, controls=controls, random_state=seed)
            except ValueError as error:
                plans[-1].append(str(error))
            else:
                plans[-1].append([list(arm.additions.items()) for arm in plan.arms.values()] + [plan.name, plan.reason])
    assert plans[0] == plans[1]


# -- nearest: any pool ---------------------------------------------------------------------


def random_case(n=400, d=16, m=30, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float16).astype(np.float32)
    pool = Evaluation(x, labels=rng.integers(3, size=n), class_names=NAMES)
    mine = Evaluation(rng.normal(size=(m, d)), labels=np.arange(m) % 3, predictions=np.zeros(m, int), class_names=NAMES)
    return pool, mine


@pytest.mark.parametrize("k", [1, 7, 1000])
def test_nearest_agrees_with_scikit_learn_within_each_label(k):
    pool, mine = random_case()
    near = {}
    for c in (1, 2):  # class 0 has no errors
        rows = np.flatnonzero(pool.labels == c)
        index = NearestNeighbors(n_neighbors=min(k, len(rows)), algorithm="brute").fit(pool.space()[rows].astype(float))
        for gaps, at in zip(*index.kneighbors(mine.space()[mine.labels == c].astype(float)), strict=True):
            for gap, row in zip(gaps, rows[at], strict=True):
                near[pool.ids[row]] = min(gap, near.get(pool.ids[row], np.inf))
    plan = select(pool, of(mine, np.ones(30)), by="nearest", of=mine, k=k, budget=len(near))
    assert list(plan.additions) == sorted(near, key=near.get)
    assert all(pool.labels[int(name)] == label for name, label in plan.additions.items())
    assert f"{k} nearest each are {len(near)} different ones" in plan.reason


def test_half_precision_and_memory_mapped_pools_give_the_same_plan(tmp_path):
    pool, mine = random_case()
    plans = []
    for dtype in (np.float16, np.float32):
        np.save(tmp_path / "pool.npy", pool.space().astype(dtype))
        mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
        for x in (mapped, np.array(mapped)):
            other = Evaluation(x, labels=pool.labels, class_names=NAMES)
            assert other.space().dtype == dtype
            plans += [
                select(other, of(mine, np.ones(30)), by="nearest", of=mine, budget=99, chunk_rows=c) for c in (7, 9999)
            ]
    assert all(list(plan.additions.items()) == list(plans[0].additions.items()) for plan in plans)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 70))
@example(0, 5, 1)
def test_duplicates_are_told_apart_by_id_alone(seed, k, chunk_rows):
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(4, 33)), 15, axis=0)[rng.permutation(60)]
    names = rng.permutation([f"{i:02d}" for i in range(60)])
    pool = Evaluation(x, labels=np.zeros(60, int), ids=names, class_names=NAMES)
    mine = Evaluation(x[:1] + 0.01, labels=[0], predictions=[1], class_names=NAMES)
    gaps = ((pool.space().astype(float) - mine.space().astype(float)) ** 2).sum(axis=1).round(9)
    wanted = [names[row] for row in np.lexsort((names, gaps))[:k]]
    assert chosen(pool, of(mine, [1]), by="nearest", of=mine, k=k, budget=k, chunk_rows=chunk_rows) == wanted


def shifted(x, rng):
    return x + 1e4


def with_outliers(x, rng):
    x[::7] *= 1e6
    return x


@pytest.mark.parametrize(
    "change",
    [
        shifted,
        with_outliers,
        lambda x, _: x * 1e-30,
        lambda x, _: x * 1e-22,
        lambda x, _: x * 1e22,
        lambda x, _: x * 1e36,
    ],
)
def test_the_kernel_is_exact_at_any_scale(change):
    rng = np.random.default_rng(0)
    x = change(rng.normal(size=(200, 24)), rng).astype(np.float32)
    points, base = x[:20], x[20:]
    true = np.sqrt(((base[None].astype(float) - points[:, None].astype(float)) ** 2).sum(axis=2))
    rows = np.sort(rng.choice(180, 150, replace=False))
    wanted = np.argsort(true[:, rows], axis=1, kind="stable")[:, :9]
    for chunk_rows in (1, 8, 64, 1000):
        at, distances = nearest_in_chunks(points, base, rows, np.arange(150), 9, chunk_rows)
        assert np.array_equal(at, wanted)
        np.testing.assert_allclose(distances, np.take_along_axis(true[:, rows], wanted, axis=1), rtol=1e-12)


def test_many_points_are_taken_in_blocks():
    rng = np.random.default_rng(0)
    points, base = rng.normal(size=(600, 3)).astype(np.float32), rng.normal(size=(50, 3)).astype(np.float32)
    at, distances = nearest_in_chunks(points, base, np.arange(50), np.arange(50), 4, 20)
    gaps, wanted = (
        NearestNeighbors(n_neighbors=4, algorithm="brute").fit(base.astype(float)).kneighbors(points.astype(float))
    )
    assert np.array_equal(at, wanted)
    np.testing.assert_allclose(distances, gaps)


def test_nearest_looks_in_the_space_where_the_slice_was_found():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12, 3))
    both = {"first": a, "second": b}
    pool = Evaluation(both, labels=np.zeros(12, int), class_names=NAMES)
    mine = Evaluation(
        {"first": a[:1] + 0.001, "second": b[5:6] + 0.001, "third": [[1.0]]},
        labels=[0],
        predictions=[1],
        class_names=NAMES,
    )
    found = of(mine, [1], seen={"third": mine.row_fingerprints("third"), "second": mine.row_fingerprints("second")})
    how = {"by": "nearest", "of": mine, "budget": 1}
    assert chosen(pool, of(mine, [1]), **how) == ["0"]
    assert chosen(pool, found, **how) == ["5"]
    assert chosen(pool, found, space="first", **how) == ["0"]
    with pytest.raises(ValueError, match="no space 'third' in both Evaluations, only 'first', 'second'"):
        select(pool, found, space="third", **how)
    with pytest.raises(ValueError, match="share no space"):
        select(Evaluation({"x": a}, labels=np.zeros(12, int), class_names=NAMES), found, **how)
    with pytest.raises(ValueError, match="space 'second' has different dimensions in the two"):
        select(Evaluation({"second": a[:, :2]}, labels=np.zeros(12, int), class_names=NAMES), found, **how)


def test_classes_must_be_the_same_and_may_be_rarer_where_they_have_no_names():
    pool = Evaluation(np.eye(4), labels=[0, 1, 0, 1])
    mine = Evaluation(np.eye(4)[:3], labels=[0, 1, 2], predictions=[1, 0, 0])
    plan = select(pool, of(mine, np.ones(3)), by="nearest", of=mine, k=1, budget=2)
    assert dict(plan.additions) == {"0": 0, "1": 1} and plan.class_names == ("class 0", "class 1")
    for names in (["dog", "cat"], NAMES, None):
        named = Evaluation(np.eye(4), labels=[0, 1, 0, 1], class_names=["cat", "dog"])
        mine = Evaluation(np.eye(4)[:3], labels=[0, 1, 1], predictions=[1, 0, 0], class_names=names)
        with pytest.raises(ValueError, match="have different classes"):
            select(named, of(mine, np.ones(3)), by="nearest", of=mine, k=1, budget=2)


# -- who may be chosen ---------------------------------------------------------------------


def test_the_next_best_take_the_places_of_the_excluded():
    pool = pool_of(8)
    assert chosen(pool, by="loss", budget=3, exclude=["p0", "p2"]) == ["p1", "p3", "p4"]
    assert chosen(pool, by="loss", budget=3, exclude="p1") == ["p0", "p2", "p3"]
    mine = Evaluation([[0.0, 0.0]], labels=[0], predictions=[1], class_names=NAMES[:2])
    how = {"by": "nearest", "of": mine, "k": 2, "budget": 2}
    assert chosen(pool, of(mine, [1]), exclude=["p2"], **how) == ["p0", "p4"]  # k refills too
    plan = select(pool, by="all", exclude=["p3"], controls=["random", "all"])
    assert all("p3" not in arm.additions and len(arm.additions) == 7 for arm in plan.arms.values())
    with pytest.raises(ValueError, match="no example with id 'p99'"):
        select(pool, by="loss", budget=1, exclude=["p99"])


def test_what_is_identical_to_a_held_out_example_is_left_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 16)).astype(np.float32)
    pool = pool_of(40, x=x)
    held_out = Evaluation(np.concatenate([rng.normal(size=(30, 16)), x[[3, 7]]]))
    plan = select(pool, by="all", held_out=held_out, controls=["all", "random"])
    assert all(set(pool.ids) - set(arm.additions) == {"p3", "p7"} for arm in plan.arms.values())
    assert plan.cautions == ("2 pool examples are left out, as identical to a held-out one",)
    rounded = Evaluation(np.concatenate([rng.normal(size=(30, 16)), x[[3, 7]].astype(np.float16)]))
    assert set(pool.ids) - set(select(pool, by="all", held_out=rounded).additions) == {"p3", "p7"}
    one = select(pool, by="loss", budget=5, held_out=Evaluation(x[:1]))
    assert one.cautions == ("1 pool example is left out, as identical to a held-out one",)
    assert select(pool, by="loss", budget=5, held_out=Evaluation(x + 1)).cautions == ()


def test_what_is_held_out_twice_is_left_out_too():
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    pool = pool_of(12, x=x)
    repeated = Evaluation(np.concatenate([x[:6], x[:6], np.zeros((40, 4))]))
    assert chosen(pool, by="all", held_out=repeated) == sorted(pool.ids[6:])
    with pytest.raises(ValueError, match="there is nothing to choose from"):
        select(pool, by="all", held_out=pool)


def test_held_out_needs_a_space_in_common():
    pool = pool_of(4, x={"a": np.eye(4), "b": np.eye(4)[:, :2]})
    with pytest.raises(ValueError, match=r"the pool and held_out share no space \(\['a', 'b'\], \['embedding'\]\)"):
        select(pool, by="all", held_out=Evaluation(np.eye(4)))
    with pytest.raises(ValueError, match="space 'b' has different dimensions in the pool and held_out"):
        select(pool, by="all", held_out=Evaluation({"b": np.eye(4)}))
    assert len(chosen(pool, by="all", held_out=Evaluation({"b": np.eye(4)[:, :2] + 3}))) == 4


def test_a_relabelled_example_comes_with_its_new_label_and_counts_as_of_that_class():
    pool = pool_of(8)
    notes = Annotations(":memory:", pool)
    assert select(pool, by="all", annotations=notes) == select(pool, by="all")
    notes.relabel(["p0", "p1"], "dog")
    plan = select(pool, by="loss", budget=3, annotations=notes)
    assert list(plan.additions.items()) == [("p0", 1), ("p1", 1), ("p2", 0)]
    dogs = of(pool, np.arange(8), scope=("label", 1))
    assert chosen(pool, dogs, by="loss", budget=2, annotations=notes) == ["p0", "p1"]
    cats = of(pool, -np.arange(8), scope=("label", 0))
    assert chosen(pool, cats, by="direction", budget=2, annotations=notes) == ["p2", "p4"]  # p0 is no cat
    assert len(chosen(pool, dogs, by="direction", budget=4, annotations=notes)) == 4
    with pytest.raises(ValueError, match="there are 4"):  # p0 has no score among dogs
        select(pool, dogs, by="direction", budget=5, annotations=notes)
    mine = Evaluation(pool.space()[:1], labels=[1], predictions=[0], class_names=NAMES[:2])
    assert chosen(pool, of(mine, [1]), by="nearest", of=mine, budget=1, annotations=notes) == ["p0"]
    arms = select(pool, by="loss", budget=3, annotations=notes, controls=["random"]).arms
    assert sorted(arms["random"].additions.values()) == [0, 1, 1]
    assert all(label == plan.additions.get(name, label) for name, label in arms["random"].additions.items())
    assert plan.pool == DataMark.of(pool, by="test")


def test_relabels_of_another_pool_are_refused():
    pool = pool_of(8)
    notes = Annotations(":memory:", pool_of(8, losses=np.ones(8)))
    notes.relabel(["p0"], 1)
    with pytest.raises(ValueError, match="the annotations are about another Evaluation"):
        select(pool, by="loss", budget=1, annotations=notes)
    unbound = Annotations(":memory:")
    unbound.relabel(["p0"], "frog")
    with pytest.raises(ValueError, match="there is no class 'frog' in this Evaluation: the classes are cat, dog"):
        select(pool, by="loss", budget=1, annotations=unbound)


# -- slices of every kind ------------------------------------------------------------------


def failing(n, seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, 6)), np.arange(n) % 2
    wrong = x[:, 0] > 1
    return Evaluation(
        x,
        labels=labels,
        predictions=np.where(wrong, 1 - labels, labels),
        losses=wrong + rng.random(n) / 9,
        class_names=NAMES[:2],
    )


def test_fitted_finders_and_verdicts_are_given_as_they_are():
    mine, pool = failing(200, 0), failing(300, 1)
    directions = FailureDirections(random_state=0, progress=False).fit(mine)
    spotlight = Spotlight(n_slices=2, random_state=0, progress=False).fit(mine)
    plan = select(pool, directions, by="direction", budget=20)
    assert plan == select(pool, directions.slices(pool), by="direction", budget=20)
    depth = directions.decision_function(pool)
    for column, c in enumerate(directions.order_):  # ten of each class: the deepest
        deepest = pool.ids[np.argsort(-depth[:, column])[:10]]
        assert {name for name, label in plan.additions.items() if label == c} == set(deepest)
    lit = select(pool, spotlight, by="spotlight", budget=6)
    weights = np.array([one.weights for one in spotlight.slices(pool)])
    assert list(lit.additions) == turns([[pool.ids[i] for i in np.argsort(-row) if row[i] > 0] for row in weights], 6)
    near = select(pool, directions, by="nearest", of=mine, budget=20, k=3)
    assert near.additions == select(pool, measure(directions, mine), by="nearest", of=mine, budget=20, k=3).additions
    assert select(pool, [directions, spotlight], by="membership", budget=4).targets[-1] == "spotlight 2"


def test_slices_of_a_predicted_class():
    pool = failing(60, 0)
    one = of(pool, pool.space()[:, 1].astype(float), scope=("prediction", 1))
    wanted = [name for name in pool.ids[np.argsort(-one.scores)] if pool.predictions[int(name)] == 1]
    assert chosen(pool, one, by="direction", budget=5) == wanted[:5]
    assert set(chosen(pool, one, by="all")) == set(wanted)
    # Nearest: the label of each wrong member says where to look.
    plan = select(pool, one, by="nearest", of=pool, k=1, budget=2)
    assert all(pool.labels[int(name)] == 0 == label for name, label in plan.additions.items())
    assert set(plan.used_ids) == set(one.members)


def test_a_sample_of_the_members_leaves_the_others_to_judge_by():
    mine = failing(200, 3)
    one = of(mine, mine.space()[:, 0].astype(float), (mine.space()[:, 0] > 0).astype(float))
    plan = select(failing(100, 4), one, by="nearest", of=mine, budget=5, sample=0.5)
    looked_at = np.isin(mine.ids, plan.used_ids)
    assert set(plan.used_ids) < set(one.members)
    for outcome in (mine.errors, mine.correct):
        members = one.is_member & outcome
        assert abs((looked_at & members).sum() - members.sum() / 2) <= 1
    again = select(failing(100, 4), one, by="nearest", of=mine, budget=5, sample=0.5)
    other = select(failing(100, 4), one, by="nearest", of=mine, budget=5, sample=0.5, random_state=1)
    assert again == plan and other.used_ids != plan.used_ids
    order = np.random.default_rng(0).permutation(200)
    moved = mine.take(order)
    same = of(moved, one.scores[order], one.weights[order])
    there = select(failing(100, 4), same, by="nearest", of=moved, budget=5, sample=0.5)
    assert set(there.used_ids) == set(plan.used_ids) and there.additions == plan.additions
    for sample in (0, 1.5, True, "half", float("nan")):
        with pytest.raises(ValueError, match="sample must be above 0 and at most 1"):
            select(failing(100, 4), one, by="nearest", of=mine, budget=5, sample=sample)


def test_drawn_slices():
    pool, mine = pool_of(8), Evaluation([[0.0, 1], [14, 15]], labels=[0, 0], predictions=[1, 0], class_names=NAMES[:2])
    assert chosen(pool, Slice.drawn(pool, ["p5", "p2"]), by="membership", budget=2) == ["p2", "p5"]
    assert chosen(pool, Slice.drawn(mine, ["0", "1"]), by="nearest", of=mine, budget=2) == ["p0", "p2"]
    assert chosen(pool, Slice.drawn(mine, ["1"]), by="nearest", of=mine, budget=2) == ["p6", "p4"]


def test_a_slice_that_nobody_is_in_leaves_its_turn_to_the_others():
    pool = pool_of(8)
    empty, one = of(pool, np.arange(8), np.zeros(8), name="empty"), of(pool, np.arange(8), name="one")
    plan = select(pool, [empty, one], by="membership", budget=2)
    assert list(plan.additions) == ["p7", "p6"] and plan.cautions == ("there is no candidate for empty",)
    mine = Evaluation(np.eye(2), labels=[0, 1], predictions=[1, 1], class_names=NAMES[:2])
    nobody = of(mine, np.ones(2), np.zeros(2), name="nobody")
    for by, slices, extra, why in [
        ("membership", empty, {}, "no pool example that may be chosen belongs to a slice"),
        ("spotlight", empty, {}, "has weight"),
        ("nearest", nobody, {"of": mine}, "has the label of a member"),
        ("direction", of(pool_without_cows(), np.ones(8), scope=("label", 2)), {}, "lies in the scope of a slice"),
        ("random", of(pool_without_cows(), np.ones(8), scope=("label", 2)), {}, "lies in the scope of a slice"),
    ]:
        given_pool = pool_without_cows() if by in ("direction", "random") else pool
        with pytest.raises(ValueError, match=f"nothing to choose from: .*{why}"):
            select(given_pool, slices, by=by, budget=2, **extra)
    cows = of(pool_without_cows(), np.ones(8), scope=("label", 2))
    with pytest.raises(ValueError, match="nothing to choose from"):
        select(pool_without_cows(), cows, by="all")


def pool_without_cows():
    return pool_of(8, class_names=NAMES, probs=None, predictions=np.zeros(8, int))


# -- controls ------------------------------------------------------------------------------


def test_controls_take_as_many_of_each_label_by_their_own_rule():
    pool = pool_of(20)
    one = of(pool, np.arange(20), scope=("label", 1), name="dark")
    other = of(pool, np.arange(20), scope=("label", 0), name="wet")
    plan = select(pool, [one, one, other], by="direction", budget=6, controls=["random", "confidence", "loss", "all"])
    assert list(plan.by_label.items()) == [("dog", 4), ("cat", 2)]
    arms = plan.arms
    assert list(arms) == ["plan", "random", "confidence", "loss", "all"]
    surest_last = {"p0": 0, "p2": 0, "p1": 1, "p3": 1, "p5": 1, "p7": 1}
    assert dict(arms["confidence"].additions) == dict(arms["loss"].additions) == surest_last
    assert arms["random"].by_label == plan.by_label and len(arms["all"].additions) == 20
    for name in ("random", "confidence", "loss"):
        assert arms[name].budget == 6 and arms[name].targets == plan.targets and arms[name].pool == plan.pool
        assert (
            arms[name].used_ids == ()
            and arms[name].used_hash == ""
            and "same number of each label" in arms[name].reason
        )
    assert arms["all"].budget is None and arms["random"].reason != arms["loss"].reason


def test_controls_of_nearest_were_chosen_by_nobody():
    mine, pool = failing(60, 0), failing(90, 1)
    one = of(mine, np.ones(60))
    plan = select(pool, one, by="nearest", of=mine, budget=10, controls=["random"])
    assert plan.used_ids and not plan.controls[0].used_ids and not plan.controls[0].used_hash
    assert plan.controls[0].by_label == plan.by_label


def test_the_random_control_depends_on_random_state_alone():
    pool = pool_of(30)
    draws = {seed: chosen(pool, by="random", budget=10, random_state=seed) for seed in (0, 1, 2)}
    assert draws[0] != draws[1] != draws[2] and draws[0] == chosen(pool, by="random", budget=10)
    assert chosen(pool, by="random", budget=10, random_state=np.random.RandomState(1)) == draws[1]
    assert chosen(pool.take(np.arange(30)[::-1]), by="random", budget=10, random_state=1) == draws[1]
    assert len(set(draws[0])) == 10
    assert draws[0] != chosen(pool, by="random", budget=10, random_state=np.random.RandomState(3))
    counts = dict.fromkeys(pool.ids, 0)
    for seed in range(200):
        for name in chosen(pool, by="random", budget=10, random_state=seed):
            counts[name] += 1
    assert min(counts.values()) > 40 and max(counts.values()) < 95  # 66.7 each, standard deviation 6.7


# -- refusals ------------------------------------------------------------------------------

POOL = pool_of(8)
OTHER = pool_of(8, losses=np.ones(8))
MINE = of(POOL, np.arange(8), name="mine")
THEIRS = of(OTHER, np.arange(8), name="theirs")
BARE = Evaluation(np.eye(4), labels=[0, 1, 0, 1])


@pytest.mark.parametrize(
    ("pool", "slices", "how", "message"),
    [
        (np.eye(3), (), {}, "select takes the pool as an Evaluation, not ndarray"),
        (Evaluation(np.eye(4)), (), {}, "select needs labels, and the pool has none"),
        (BARE, (), {}, "select by 'loss' needs losses, and this Evaluation has none"),
        (BARE, (), {"by": "confidence"}, "select by 'confidence' needs probs, and this Evaluation has none"),
        (BARE, (), {"by": "random", "controls": ["loss"]}, "select by 'loss' needs losses"),
        (BARE, (), {"by": "all", "budget": None, "controls": ["confidence"]}, "select by 'confidence' needs probs"),
        (POOL, (), {"by": "depth"}, "by must be one of direction, spotlight, .*, not 'depth'"),
        (POOL, (), {"by": ["loss"]}, "by must be one of .*, not \\['loss'\\]"),
        (POOL, (), {"budget": None}, "budget must be a whole number of at least 1, not None"),
        (POOL, (), {"budget": 0}, "budget must be a whole number of at least 1, not 0"),
        (POOL, (), {"budget": -3}, "budget must be a whole number of at least 1, not -3"),
        (POOL, (), {"budget": 2.0}, "budget must be a whole number of at least 1, not 2.0"),
        (POOL, (), {"budget": True}, "budget must be a whole number of at least 1, not True"),
        (POOL, (), {"by": "all", "budget": 3}, "select by 'all' takes everything, so it has no budget"),
        (POOL, (), {"by": "direction"}, "select by 'direction' needs slices: give slices, or the fitted finder"),
        (POOL, [], {"by": "membership"}, "select by 'membership' needs slices"),
        (POOL, None, {"by": "spotlight"}, "select by 'spotlight' needs slices"),
        (POOL, (), {"by": "nearest", "of": POOL}, "select by 'nearest' needs slices"),
        (POOL, MINE, {"by": "nearest"}, "select by 'nearest' needs of=, the Evaluation that its slices belong to"),
        (POOL, MINE, {"of": POOL}, "select by 'loss' takes no of=: slices are the pool's"),
        (POOL, MINE, {"by": "nearest", "of": [1]}, "of must be an Evaluation, not list"),
        (POOL, MINE, {"by": "nearest", "of": OTHER}, "slice 'mine' belongs to another Evaluation"),
        (POOL, THEIRS, {"by": "direction"}, "slice 'theirs' belongs to another Evaluation"),
        (POOL, [MINE, THEIRS], {"by": "loss"}, "slice 'theirs' belongs to another Evaluation"),
        (POOL, "mine", {"by": "direction"}, "expected a fitted finder or slices, not str"),
        (POOL, of(BARE, np.ones(4)), {"by": "nearest", "of": BARE}, "needs predictions of `of`"),
        (POOL, MINE, {"by": "nearest", "of": POOL, "k": 0}, "k must be a whole number of at least 1, not 0"),
        (POOL, MINE, {"by": "nearest", "of": POOL, "k": 2.5}, "k must be a whole number of at least 1, not 2.5"),
        (
            POOL,
            MINE,
            {"by": "nearest", "of": POOL, "chunk_rows": -1},
            "chunk_rows must be a whole number of at least 1",
        ),
        (
            POOL,
            (),
            {"controls": "random"},
            "controls must be a list out of random, confidence, loss, all, not 'random'",
        ),
        (POOL, (), {"controls": ["nearest"]}, "controls must be a list out of .*, not \\['nearest'\\]"),
        (POOL, (), {"controls": None}, "controls must be a list out of .*, not None"),
        (POOL, (), {"controls": ["loss", "loss"]}, "the arms of a plan need names of their own"),
        (POOL, (), {"held_out": np.eye(8)}, "held_out must be an Evaluation, not ndarray"),
        (POOL, (), {"annotations": {"p0": "dog"}}, "annotations must be an Annotations, not dict"),
        (POOL, (), {"exclude": ["nobody"]}, "there is no example with id 'nobody'"),
        (POOL, (), {"added_weight": 0}, "added_weight must be a finite number above 0"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_line(pool, slices, how, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        select(pool, slices, **{"by": "loss", "budget": 1, **how})
    assert "\n" not in str(error.value)
