"""Layouts: deterministic, defined for tiny and constant data, and never in the way of the first picture."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA

from failviz import projection
from failviz.projection import EmbedInChild, layout, pca_layout, place_by_neighbours, quantise


def two_groups(n: int = 60, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 2
    return (rng.normal(size=(n, d)) + group[:, None] * 8).astype(np.float32), group


def far_apart(positions: np.ndarray, group: np.ndarray) -> bool:
    """Whether each example is nearer to the middle of its own group than to that of the other."""
    middles = np.stack([positions[group == g].mean(axis=0) for g in (0, 1)])
    return bool((np.linalg.norm(positions[:, None] - middles, axis=2).argmin(axis=1) == group).all())


def test_pca_agrees_with_scikit_learn_up_to_sign() -> None:
    x = two_groups()[0]
    ours, theirs = pca_layout(x), PCA(2).fit_transform(x)
    theirs *= np.sign((theirs * ours).sum(axis=0))
    spread = np.abs(theirs).max()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours / ours[:, 0].std(), theirs / theirs[:, 0].std(), atol=1e-4 * spread)


def test_large_and_wide_data_use_a_sample_and_find_the_same_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    x, group = two_groups(700, 650)
    assert far_apart(pca_layout(x), group)  # randomised
    monkeypatch.setattr(projection, "_PCA_ROWS", 50)
    assert far_apart(pca_layout(x), group)  # from a sample
    np.testing.assert_array_equal(pca_layout(x), pca_layout(x))


def test_the_picture_does_not_depend_on_the_sign_or_scale_of_rounding() -> None:
    x = two_groups()[0]
    np.testing.assert_allclose(pca_layout(x), pca_layout(x.copy()[::-1])[::-1], atol=1e-5)
    np.testing.assert_allclose(quantise(pca_layout(x)), quantise(pca_layout(x * 1e30)), atol=2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 1), (3, 7), (9, 2), (12, 1)])
def test_small_data_gives_finite_positions(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    positions = layout(x, embed=lambda reduced, *_: reduced[:, :2])
    assert positions.shape == (shape[0], 2)
    assert np.isfinite(positions).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 60000.0])
def test_constant_data_stands_in_one_place(value: float) -> None:
    positions = layout(np.full((40, 5), value, dtype=np.float32))
    np.testing.assert_array_equal(positions, np.zeros((40, 2)))
    assert len(np.unique(quantise(positions), axis=0)) == 1


@pytest.mark.parametrize("method", ["auto", "tsne"])
def test_the_fallback_without_umap_parts_the_groups_and_is_deterministic(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: None)
    x, group = two_groups()
    first = layout(x, method, random_state=1)
    assert far_apart(first, group)
    np.testing.assert_array_equal(first, layout(x, method, random_state=1))


def test_umap_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install failviz"):
        layout(two_groups()[0], "umap")


def test_umap_in_a_child_parts_the_groups_and_leaves_this_process_alone() -> None:
    if projection.importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    loaded = "umap" in sys.modules
    x, group = two_groups()
    assert far_apart(layout(x, "umap", embed=EmbedInChild()), group)
    assert ("umap" in sys.modules) == loaded


def test_a_stopped_child_says_that_pca_stays() -> None:
    child = EmbedInChild()
    child.stop()
    with pytest.raises(RuntimeError, match="the PCA map stays"):
        layout(two_groups()[0], "tsne", embed=child)


def test_what_is_no_landmark_is_placed_beside_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(projection._LANDMARKS, "tsne", 30)
    x, group = two_groups(200)
    assert far_apart(layout(x, "tsne"), group)


def test_a_landmark_is_placed_on_itself() -> None:
    rng = np.random.default_rng(0)
    landmarks, placed = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    np.testing.assert_allclose(place_by_neighbours(landmarks, landmarks, placed), placed, atol=0.02)
    one = place_by_neighbours(landmarks, landmarks[:1], placed[:1])
    np.testing.assert_allclose(one, np.repeat(placed[:1], 20, axis=0), rtol=1e-6)


@pytest.mark.parametrize(("method", "kind"), [("circle", ValueError), ("", ValueError)])
def test_an_unknown_method_is_refused(method: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="layout method must be"):
        layout(two_groups()[0], method)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 2)), np.zeros((2, 2, 2))])
def test_embeddings_of_the_wrong_shape_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        pca_layout(bad)


FINITE = st.floats(-1e300, 1e300)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(2)), elements=FINITE))
def test_quantised_positions_keep_order_aspect_and_margin(positions: np.ndarray) -> None:
    out = quantise(positions)
    assert out.dtype == np.uint16
    assert out.min() >= 0.04 * 65535 - 1
    assert out.max() <= 0.96 * 65535 + 1
    for axis in (0, 1):
        order = np.argsort(positions[:, axis], kind="stable")
        assert (np.diff(out[order, axis].astype(int)) >= 0).all()


def test_quantising_keeps_the_aspect() -> None:
    out = quantise(np.array([[0.0, 0.0], [4.0, 1.0]])).astype(int)
    width, height = out[1] - out[0]
    assert width == pytest.approx(0.92 * 65535, abs=2)
    assert height == pytest.approx(width / 4, abs=2)


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.array([[0.0, np.nan]]), np.array([[np.inf, 0.0]])])
def test_positions_that_are_no_positions_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"finite numbers of shape \(n, 2\)"):
        quantise(bad)
