"""Two coordinates per example, for the map: PCA at once, UMAP or t-SNE when there is time.

PCA: Hotelling 1933. UMAP: McInnes, Healy & Melville 2018, arXiv 1802.03426. t-SNE: van der Maaten
& Hinton 2008. The slow methods see at most some thousands of landmarks in 50 principal
components; every other example is placed at the distance-weighted mean of its three nearest
landmarks. The picture is for looking only: no test and no slice depends on it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from failviz._neighbours import nearest
from failviz._parallel import ignoring

Method = Literal["auto", "pca", "umap", "tsne"]
Embed = Callable[[np.ndarray, np.ndarray, str, int], np.ndarray]

_PCA_ROWS = 5_000  # rows from which the components are learned
_BLOCK_ROWS = 8_192
_LANDMARKS = {"umap": 20_000, "tsne": 5_000}
_FEWEST = 10  # below this a neighbourhood means nothing: PCA


def principal_components(embeddings: np.ndarray, k: int, random_state: Any = 0) -> np.ndarray:
    """Coordinates (n, k) float32 on the first k principal components, padded with zeros.

    Components are learned from at most 5,000 rows. Each points so that its loading of largest
    size is positive, so that the same data always gives the same picture.
    """
    n = len(embeddings)
    rng = check_random_state(random_state)
    rows = np.sort(rng.permutation(n)[:_PCA_ROWS]) if n > _PCA_ROWS else np.arange(n)
    sample = np.asarray(embeddings[rows], dtype=np.float64)
    # An extreme row may overflow a square in any precision: the picture does not depend on scale.
    scale = np.abs(sample).max() or 1.0
    mean = (sample / scale).mean(axis=0)
    centred = sample / scale - mean
    found = min(k, *centred.shape)
    if min(centred.shape) <= 600 or found > min(centred.shape) // 4:
        axes = _exact_axes(centred)[:found]
    else:
        axes = randomized_svd(centred, found, n_iter=4, random_state=rng)[2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    out = np.zeros((n, k), dtype=np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        block = np.asarray(embeddings[start : start + _BLOCK_ROWS], dtype=np.float64) / scale - mean
        out[start : start + _BLOCK_ROWS, : len(axes)] = block @ axes.T
    noise = np.abs(out) <= 1e-7 * max(1.0, float(np.abs(mean).max()))  # constant data: rounding, not structure
    return np.zeros_like(out) if noise.all() else out


def _exact_axes(centred: np.ndarray) -> np.ndarray:
    """Principal axes as rows, largest variance first, from the smaller of the two Gram matrices."""
    if centred.shape[1] <= centred.shape[0]:
        return np.linalg.eigh(centred.T @ centred)[1].T[::-1]
    return np.linalg.svd(centred, full_matrices=False)[2]


def pca_layout(embeddings: np.ndarray, random_state: Any = 0) -> np.ndarray:
    """Two principal coordinates at once, so that there is a map before anything slow has run.

    Parameters
    ----------
    embeddings : array (n, d)
        float16 or float32, memory-mapped or not.
    random_state : int, RandomState or None
        Which rows the components are learned from, when there are more than 5,000.

    Returns
    -------
    float32 array (n, 2)
        All zeros for constant data.
    """
    return principal_components(_table(embeddings), 2, random_state)


def layout(
    embeddings: np.ndarray, method: Method = "auto", random_state: int | None = 0, *, embed: Embed | None = None
) -> np.ndarray:
    """Two coordinates per example in which near means alike.

    Parameters
    ----------
    embeddings : array (n, d)
    method : "auto", "pca", "umap" or "tsne"
        "auto" is UMAP where umap-learn is installed (`pip install failviz[fast]`), else t-SNE.
        Fewer than 10 examples, or constant data, always give PCA.
    random_state : int or None
        The same seed gives the same layout on the same machine.
    embed : callable, optional
        `embed(reduced, landmarks, method, seed) -> (n, 2)`: runs the slow step elsewhere, as
        `EmbedInChild()` does; by default it runs here.

    Returns
    -------
    float32 array (n, 2)

    Raises
    ------
    ValueError
        For an unknown method or embeddings that are not (n, d).
    ModuleNotFoundError
        For method="umap" without umap-learn.
    """
    embeddings = _table(embeddings)
    method = resolve(method)
    if method == "pca" or len(embeddings) < _FEWEST:
        return pca_layout(embeddings, random_state)
    rng = check_random_state(random_state)
    reduced = principal_components(embeddings, min(50, max(2, embeddings.shape[1])), rng)
    if not reduced.any():
        return reduced[:, :2].copy()
    reduced /= reduced[:, 0].std() or 1.0
    n, most = len(reduced), _LANDMARKS[method]
    landmarks = np.sort(rng.permutation(n)[:most]) if n > most else np.arange(n)
    return (embed or embed_here)(reduced, landmarks, method, int(rng.randint(2**31 - 1)))


def resolve(method: str) -> Method:
    """The method that "auto" stands for here; refuses an unknown name and a missing package."""
    if method not in ("auto", "pca", "umap", "tsne"):
        raise ValueError(f"layout method must be 'auto', 'pca', 'umap' or 'tsne', not {method!r}.")
    installed = importlib.util.find_spec("umap") is not None
    if method == "umap" and not installed:
        raise ModuleNotFoundError("layout method 'umap' needs umap-learn: pip install failviz[fast], or use 'tsne'.")
    if method == "auto":
        return "umap" if installed else "tsne"
    return method  # type: ignore[return-value]


def embed_here(reduced: np.ndarray, landmarks: np.ndarray, method: str, seed: int) -> np.ndarray:
    """UMAP or t-SNE of the landmark rows of `reduced` (n, k), begun from PCA; the rest placed beside them."""
    points = reduced[landmarks]
    spread = points[:, :2].std(axis=0)
    start = points[:, :2] / np.where(spread > 0, spread, 1.0)  # as wide as high, or the map becomes a ribbon
    with ignoring(Warning), threadpool_limits(1):  # numba's and umap's remarks about themselves
        if method == "umap":
            from umap import UMAP

            # Examples that start at one place would never part, so a little noise is added.
            noise = np.random.RandomState(seed).normal(scale=1e-3, size=start.shape)
            begin = (start / (np.abs(start).max() or 1.0) * 10 + noise).astype(np.float32)
            model = UMAP(n_neighbors=min(15, len(points) - 1), init=begin, random_state=seed, n_jobs=1)
        else:
            from sklearn.manifold import TSNE

            begin = start / (start[:, 0].std() or 1.0) * 1e-4
            model = TSNE(perplexity=min(30.0, (len(points) - 1) / 3), init=begin, random_state=seed, n_jobs=1)
        placed = np.asarray(model.fit_transform(points), dtype=np.float32)
    out = np.empty((len(reduced), 2), dtype=np.float32)
    out[landmarks] = placed
    others = np.setdiff1d(np.arange(len(reduced)), landmarks, assume_unique=True)
    out[others] = place_by_neighbours(reduced[others], points, placed)
    return out


def place_by_neighbours(points: np.ndarray, landmarks: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Put each point (n, k) at the inverse-distance mean of the places of its three nearest landmarks."""
    rows, gap = nearest(points, landmarks, 3)
    weight = 1 / (gap + 1e-6 + 1e-3 * gap.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("nkc,nk->nc", placed[rows], weight).astype(np.float32)


class EmbedInChild:
    """Run UMAP or t-SNE in a child process with one thread, so that the kernel stays free.

    numba compiles UMAP for some ten seconds while it holds the interpreter, and its thread pools
    must not be entered from two threads; a child has neither problem and can be stopped.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __call__(self, reduced: np.ndarray, landmarks: np.ndarray, method: str, seed: int) -> np.ndarray:
        threads = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
        environment = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in threads}}
        root = str(Path(__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        with tempfile.TemporaryDirectory(prefix="failviz-layout-") as folder:
            np.savez(Path(folder) / "in.npz", reduced=reduced, landmarks=landmarks, method=method, seed=seed)
            command = [sys.executable, "-m", "failviz.projection", folder, str(os.getpid())]
            self._child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # the kernel's Interrupt button is not meant for it
            )
            if self._stopped:
                self.stop()
            _, complaint = self._child.communicate()
            if self._child.returncode != 0:
                last = (complaint.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
                raise RuntimeError(f"the layout could not be computed ({last}): the PCA map stays.")
            return np.load(Path(folder) / "out.npy", allow_pickle=False)

    def stop(self) -> None:
        """End the child; the call under way then raises RuntimeError."""
        self._stopped = True
        if self._child is not None and self._child.poll() is None:
            self._child.kill()


def quantise(positions: np.ndarray) -> np.ndarray:
    """Positions as uint16 (n, 2) in a square with a 4% margin, the longer side filling it, aspect kept.

    Raises
    ------
    ValueError
        When positions are not finite numbers of shape (n, 2).
    """
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise ValueError(f"a layout must be finite numbers of shape (n, 2), and this one has shape {positions.shape}.")
    low, high = positions.min(axis=0), positions.max(axis=0)
    side = float((high / 2 - low / 2).max()) * 2 or 1.0
    unit = 0.5 + 0.92 * (positions / side - (low / 2 + high / 2) / side)
    return np.clip(np.rint(unit * 65535), 0, 65535).astype(np.uint16)


def _table(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asanyarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"embeddings must have shape (n, d), one row per example, not {embeddings.shape}.")
    return embeddings


def _end_with(parent: int, folder: Path) -> None:
    """Where the kernel was killed nobody waits for this child, and nobody else removes its folder."""
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _main(folder: Path, parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()
    with np.load(folder / "in.npz", allow_pickle=False) as given:
        placed = embed_here(given["reduced"], given["landmarks"], str(given["method"]), int(given["seed"]))
    np.save(folder / "out.npy", placed)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
