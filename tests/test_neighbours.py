import numpy as np
import pytest

from failviz._neighbours import nearest


@pytest.mark.parametrize("engine", ["faiss", "numpy"])
def test_the_nearest_are_the_nearest(engine):
    rng = np.random.default_rng(0)
    points, base = rng.normal(size=(1500, 6)), rng.normal(size=(70, 6))
    rows, distances = nearest(points, base, 4, engine=engine)
    true = np.linalg.norm(base.astype(np.float32) - points.astype(np.float32)[:, None], axis=2)
    np.testing.assert_allclose(distances, np.sort(true, axis=1)[:, :4], rtol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(true, rows, axis=1), distances, rtol=1e-5)


def test_both_engines_agree_ties_included():
    rng = np.random.default_rng(1)
    base = np.repeat(rng.normal(size=(30, 3)), 2, axis=0)  # every row twice
    points = base[::3] + 0.01
    for k in (1, 3, 200):
        a, b = (nearest(points, base, k, engine=engine)[0] for engine in ("faiss", "numpy"))
        assert (a == b).all() and a.shape == (len(points), min(k, 60))
    first, second = nearest(points, base, 2)[0].T
    assert (first + 1 == second).all() and (first % 2 == 0).all()
