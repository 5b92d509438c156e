"""Data with a cluster of high losses, and the published optimiser by torch, for all tests of Spotlight."""

import math

import numpy as np

from failviz.discovery.spotlight_level import squared_distances


def blobs(n=600, d=8, seed=0, share=0.06):
    """Rows in clusters, losses high in one, that cluster as a mask."""
    rng = np.random.default_rng(seed)
    cluster = rng.choice(8, n, p=np.r_[share, np.full(7, (1 - share) / 7)])
    x = (2 * rng.normal(size=(8, d)))[cluster] + rng.normal(size=(n, d))
    wrong = rng.random(n) < np.where(cluster == 0, 0.7, 0.1)
    return x.astype(np.float32), np.where(wrong, rng.gamma(4.0, 0.5, n), rng.gamma(1.0, 0.1, n)), cluster == 0


def kernel_of(x, centre, precision):
    """k of each row, from its definition."""
    if np.ndim(precision) == 0:
        return np.maximum(0.0, 1.0 - precision * squared_distances(x, centre))
    return np.maximum(0.0, 1.0 - np.einsum("ij,jk,ik->i", x - centre, precision, x - centre))


def published_with_autograd(x, losses, size, widths, *, full=False, weights=None, penalties=()):
    """The published optimiser as its paper writes it, gradients by torch; penalties: pairs (coefficient, classes)."""
    import torch

    class ResetOnPlateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def _reduce_lr(self, epoch):
            super()._reduce_lr(epoch)
            self._reset()

    d, kind = x.shape[1], {"dtype": torch.from_numpy(x).dtype}
    counts = torch.ones(len(x), **kind) if weights is None else torch.tensor(weights, **kind)
    x, y = torch.from_numpy(x), torch.tensor(losses, **kind)
    centre = torch.zeros(d, requires_grad=True, **kind)
    log_tau = torch.full((d,) if full else (), math.log(1e-3 if full else 1e-4), requires_grad=True, **kind)
    axes = torch.eye(d, requires_grad=True, **kind)
    optimizer = torch.optim.Adam([centre, log_tau, axes] if full else [centre, log_tau], lr=1e-2)
    scheduler = ResetOnPlateau(optimizer, patience=10, factor=0.5)

    def precision():
        if full:
            return axes @ torch.diag(torch.exp(log_tau)) @ torch.inverse(axes)
        return torch.eye(d, **kind) * torch.exp(log_tau)

    for width in widths:
        optimizer.zero_grad()
        difference = x - centre
        mass = counts * torch.clamp(1 - ((difference @ precision()) * difference).sum(dim=1), min=0)
        weight = mass.sum()
        objective = mass @ y / weight
        for coefficient, classes in penalties:
            totals = torch.stack([mass[torch.from_numpy(classes == c)].sum() for c in np.unique(classes)])
            objective = objective - coefficient * torch.special.entr(totals / weight).sum()
        if weight < size + width:
            objective = objective - (weight - (size + width)) ** 2 / width**2
        (-objective).backward()
        optimizer.step()
        scheduler.step(-objective.detach())
        if full:
            with torch.no_grad():
                left, _, right = torch.linalg.svd(axes)
                axes.copy_(left @ right)
    found = precision().detach().numpy()
    return centre.detach().numpy(), found if full else found[0, 0]
