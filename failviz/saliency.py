"""What a feature of a network looks like: the examples that show it most, where in a picture it is, and a picture
changed so that it shows more of it.

Singla, Nushi, Shah, Kamar & Horvitz 2021 (Barlow), arXiv 2012.01750, section 4: so they explain the rule of a failure
tree, with features of an adversarially robust network. Features of an ordinary one work here too, and their attacks
look like noise more often than like anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from failviz import _checks
from failviz._model_state import at_work, home_of
from failviz._progress import progress as progress_bar
from failviz.evaluation import Evaluation
from failviz.slices import scope_mask, scope_named

STEPS, STEP_LENGTH = 1000, 1.0
"""Of a feature attack, as published."""

Transform = Callable[[torch.Tensor], torch.Tensor]


def most_activating(
    evaluation: Evaluation,
    feature: int,
    *,
    n: int = 6,
    scope: tuple[str, int | str] | str = "all",
    space: str | None = None,
) -> np.ndarray:
    """The examples in which a feature is highest.

    Parameters
    ----------
    evaluation : Evaluation
    feature : int
        Its number in the space, as rules of `FailureTree` name it (`slice.stats["path"]`).
    n : int, default 6
    scope : "all", ("label", c) or ("prediction", c)
        Among which examples; the group of a tree is the `scope` of its slices.
    space : str, optional
        Default the first.

    Returns
    -------
    str array (at most n,)
        Ids, highest first; equal values in the order of the Evaluation.

    Examples
    --------
    >>> most_activating(Evaluation([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]]), 0, n=2).tolist()
    ['1', '2']
    """
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"most_activating takes an Evaluation, not {type(evaluation).__name__}.")
    embeddings = evaluation.space(space)
    feature = _number(feature, embeddings.shape[1])
    _checks.whole_number(n, "n", least=1)
    rows = np.flatnonzero(scope_mask(scope_named(scope, evaluation), evaluation))
    values = np.asarray(embeddings[:, feature])[rows]
    return evaluation.ids[rows[np.argsort(-values, kind="stable")[:n]]]


def heat_map(
    model: torch.nn.Module,
    images: np.ndarray | torch.Tensor,
    feature: int,
    *,
    hidden: bool | str = True,
    layer: str | None = None,
    transform: Transform | None = None,
) -> np.ndarray:
    """Where in each picture a feature of the hidden layer is seen.

    Maps of the last convolution are added up, each weighted by how much the feature grows with it (Grad-CAM; Selvaraju
    et al. 2017, arXiv 1610.02391). Where the feature is the mean of one map, as in a ResNet, that is this map: the
    class activation map of the paper.

    Parameters
    ----------
    model : torch.nn.Module
        In eval mode for the while; given back as it was.
    images : float array or tensor (n, 3, h, w)
        As `transform`, or else the model, takes them.
    feature : int
        Its number in the hidden layer.
    hidden : bool or str
        As in `evaluate`: True is the input of the last linear layer, a name the output of that layer, averaged over
        positions.
    layer : str, optional
        Whose maps; default the last layer before `hidden` that gives maps and does not pool.
    transform : callable, optional
        Tensor (n, 3, h, w) to what the model takes, such as a normalisation.

    Returns
    -------
    float32 array (n, h, w)
        Between 0 and 1, the largest of each picture 1; all 0 where nothing raises the feature.

    Raises
    ------
    ValueError, TypeError
        For images of another shape, a feature or layer that is not there, and models without maps.
    """
    pictures = _pictures(images, model)
    with at_work(model, home_of(model)), _watched(model, hidden, layer) as seen, torch.enable_grad():
        values = _feature(model, pictures.requires_grad_(True), feature, seen, transform)
        maps = seen.get("maps")
        if maps is None:
            said = f"the layer {layer!r} gives" if layer is not None else "no layer before the hidden one gives"
            raise ValueError(f"{said} no maps (n, channels, h, w): a heat map needs a convolutional network.")
        (gradient,) = torch.autograd.grad(values.sum(), maps, allow_unused=True)
        if gradient is None:
            raise ValueError(f"feature {feature} does not depend on the maps of {layer!r}: name an earlier layer.")
        heat = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).clamp(min=0)
        heat = F.interpolate(heat.detach().float(), size=pictures.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    highest = heat.amax(dim=(1, 2), keepdim=True)
    shares: np.ndarray = (heat / torch.where(highest > 0, highest, torch.ones_like(highest))).cpu().numpy()
    return shares


def feature_attack(
    model: torch.nn.Module,
    images: np.ndarray | torch.Tensor,
    feature: int,
    *,
    n_steps: int = STEPS,
    step_length: float = STEP_LENGTH,
    hidden: bool | str = True,
    transform: Transform | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Change pictures step by step so that they show more of a feature: what is drawn in is what the feature sees.

    Gradient ascent on the picture, steps of one L2 length, colours clamped to [0, 1].

    Parameters
    ----------
    model, feature, hidden, transform : as in `heat_map`
    images : float array or tensor (n, 3, h, w) in [0, 1]
    n_steps : int, default 1000
    step_length : float, default 1
        L2 length of a step, in units of colour from 0 to 1. (The published ball of 500 around the picture never binds.)
    progress : bool, default True

    Returns
    -------
    float32 array (n, 3, h, w) in [0, 1]
        A picture in which nothing raises the feature (a ReLU that is shut has no gradient) stays as it is.

    Raises
    ------
    ValueError, TypeError
        As `heat_map`, and for colours outside [0, 1].
    """
    _checks.whole_number(n_steps, "n_steps", least=1)
    if not (isinstance(step_length, int | float) and not isinstance(step_length, bool) and 0 < step_length < np.inf):
        raise ValueError(f"step_length must be a number above 0, not {step_length!r}.")
    pictures = _pictures(images, model)
    if pictures.min() < 0 or pictures.max() > 1:
        raise ValueError(
            f"colours must lie between 0 and 1, not {float(pictures.min()):.3g} to {float(pictures.max()):.3g}: give "
            "pictures as they look, and a normalisation as transform=."
        )
    with at_work(model, home_of(model)), _watched(model, hidden, None) as seen, torch.enable_grad():
        for _ in progress_bar(range(n_steps), desc="feature attack", enabled=progress):
            values = _feature(model, pictures.requires_grad_(True), feature, seen, transform)
            (gradient,) = torch.autograd.grad(values.sum(), pictures)
            length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
            step = step_length * gradient / torch.where(length > 0, length, torch.ones_like(length))
            pictures = (pictures + step).clamp(0, 1).detach()
    attacked: np.ndarray = pictures.float().cpu().numpy()
    return attacked


@contextmanager
def _watched(model: torch.nn.Module, hidden: bool | str, layer: str | None) -> Iterator[dict[str, torch.Tensor]]:
    """What the next run of the model leaves: "hidden", and "maps", each as a tensor of the graph."""
    modules = dict(model.named_modules())
    for name in (hidden, layer):
        if isinstance(name, str) and name not in modules:
            near = ", ".join(list(modules)[-8:])
            raise ValueError(f"the model has no layer named {name!r}; its last layers are {near}.")
    if hidden is False:
        raise ValueError("hidden=False names no layer: a feature belongs to one.")
    seen: dict[str, torch.Tensor] = {}

    def keep_maps(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            seen["maps"] = output

    def keep_input(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        seen["hidden"] = inputs[0]

    def keep_output(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        seen["hidden"] = output[0] if isinstance(output, tuple) else output

    handles = []
    try:
        for name, module in modules.items():
            is_leaf = not any(True for _ in module.children())
            if name == layer or (layer is None and is_leaf and "Pool" not in type(module).__name__ and name != hidden):
                handles.append(module.register_forward_hook(keep_maps))
            if name == hidden:
                handles.append(module.register_forward_hook(keep_output))
            elif hidden is True and isinstance(module, torch.nn.Linear):
                handles.append(module.register_forward_hook(keep_input))
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        seen.clear()


def _feature(
    model: torch.nn.Module,
    pictures: torch.Tensor,
    feature: int,
    seen: dict[str, torch.Tensor],
    transform: Transform | None,
) -> torch.Tensor:
    """Values (n,) of one feature of the hidden layer."""
    seen.clear()
    model(pictures if transform is None else transform(pictures))
    rows = seen.get("hidden")
    if rows is None:
        raise ValueError(
            "the model ran no linear layer whose input is its hidden layer: name one, hidden='layer.name'."
        )
    rows = rows.mean(dim=(2, 3)) if rows.ndim == 4 else rows.mean(dim=1) if rows.ndim == 3 else rows
    if rows.ndim != 2 or len(rows) != len(pictures):
        raise ValueError(
            f"the hidden layer gives shape {tuple(rows.shape)} for {len(pictures)} pictures: name another."
        )
    return rows[:, _number(feature, rows.shape[1])]


def _pictures(images: Any, model: torch.nn.Module) -> torch.Tensor:
    """A copy of the images, where the model is and in its precision."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"features are those of a torch module, and this is a {type(model).__name__}.")
    found = images.detach() if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    if not found.is_floating_point() or found.ndim != 4 or found.shape[1] != 3 or len(found) == 0:
        raise ValueError(
            f"images must be floats of shape (n, 3, h, w), not {str(found.dtype).removeprefix('torch.')} of "
            f"{tuple(found.shape)}: pictures as bytes (n, h, w, 3) are images.transpose(0, 3, 1, 2) / 255."
        )
    if not bool(torch.isfinite(found).all()):
        raise ValueError("images must be finite, and some colour is NaN or infinite.")
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return found.to(home_of(model), kind, copy=True)


def _number(feature: Any, n_features: int) -> int:
    number = _checks.whole_number(feature, "feature", least=0)
    if number >= n_features:
        raise ValueError(f"there is no feature {number}: they are numbered from 0 to {n_features - 1}.")
    return number
