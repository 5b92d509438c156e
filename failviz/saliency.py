"""What a feature of a network looks like: the examples that show it most, where in a picture it is, and a picture
changed so that it shows more of it.

Singla, Nushi, Shah, Kamar & Horvitz 2021 (Barlow), arXiv 2012.01750, section 4: so they explain the rule of a failure
tree, with features of an adversarially robust network. Features of an ordinary one work here too, and their attacks
look like noise more often than like anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
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
_BATCH = 64
_UNRECORDED = (
    "how the feature depends on the picture is not recorded: some part of the model, or transform=, runs under "
    "torch.no_grad() or leaves torch."
)
_SCALES = (2.0**14, 2.0**7, 1.0, 2.0**-7)  # of gradients; half precision holds numbers from 2^-24 to 2^16
_NO_MAPS = ("Pool", "Dropout", "Softmax")
"""In the names of modules whose outputs are none, or are maps made smaller."""
_ASPECT, _CROPPED = np.log(2.5), np.log(1.25)
"""By which maps may differ from the picture in their proportions, and by which borders without padding make them."""

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
        Its number in the space, as rules of `FailureTree` name it (`slice.stats["path"]`). A rule that asks for a low
        value holds where these examples are not.
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

    The maps of a layer are added up, each weighted by how much the feature grows with it (Grad-CAM; Selvaraju et al.
    2017, arXiv 1610.02391). Where the feature is the mean of one of these maps, as in a ResNet, that gives this map:
    the class activation map of the paper.

    Parameters
    ----------
    model : torch.nn.Module
        In eval mode for the while; given back as it was.
    images : float array or tensor (n, c, h, w)
        As `transform`, or else the model, takes them.
    feature : int
        Its number in the hidden layer.
    hidden : bool or str
        As in `evaluate`: True is the input of the last linear layer, a name the output of that layer, averaged over
        positions.
    layer : str, optional
        Whose maps; default the last module before the hidden layer that gives maps (n, c, h', w') or (n, h', w', c)
        and does not pool. Name it where the model does more with the maps outside of its modules.
    transform : callable, optional
        Tensor (n, c, h, w) to what the model takes, such as a normalisation or another size. What is seen where must
        stay: crop pictures before.

    Returns
    -------
    float32 array (n, h, w)
        Between 0 and 1, the largest of each picture 1; all 0 where nothing raises the feature.

    Raises
    ------
    ValueError, TypeError
        For images of another shape, a feature or layer that is not there, models without maps or without gradients.
    """
    heats = []
    with _at_work(model), _watched(model, hidden, layer) as seen:
        for pictures in _pictures(images, model).split(_BATCH):
            values = _feature(model, pictures.requires_grad_(True), feature, seen, transform)
            if "maps" not in seen:
                said = "no layer gives" if layer is None else f"the layer {layer!r} does not give"
                raise ValueError(
                    f"{said} maps (n, channels, h, w) on the way to the hidden layer: a heat map needs a convolutional "
                    "network."
                )
            maps = seen["maps"]
            gradient = _gradient(values, maps, pictures)
            if gradient is None:
                named = "that were found" if layer is None else f"of the layer {layer!r}"
                raise ValueError(f"feature {feature} does not depend on the maps {named}: name an earlier layer=.")
            is_last = _has_channels_last(maps, seen["given"])
            gradient, maps = (
                (one.permute(0, 3, 1, 2) if is_last else one).float() for one in (gradient, maps.detach())
            )
            heat = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True)
            size = tuple(pictures.shape[2:])
            heats.append(F.interpolate(heat.clamp(min=0), size=size, mode="bilinear", align_corners=False)[:, 0].cpu())
    heat = torch.cat(heats)
    highest = heat.amax(dim=(1, 2), keepdim=True)
    shares: np.ndarray = (heat / torch.where(highest > 0, highest, torch.ones_like(highest))).numpy()
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

    Gradient ascent on each picture, steps of one L2 length, colours clamped to [0, 1].

    Parameters
    ----------
    model, feature, hidden, transform : as in `heat_map`
    images : float array or tensor (n, c, h, w) in [0, 1]
    n_steps : int, default 1000
    step_length : float, default 1
        L2 length of a step, in units of colour from 0 to 1. (The published ball of 500 around the picture never binds.)
    progress : bool, default True

    Returns
    -------
    float32 array (n, c, h, w) in [0, 1]
        A picture in which nothing raises the feature (a ReLU that is shut has no gradient) stays as it is.

    Raises
    ------
    ValueError, TypeError
        As `heat_map`, and for colours outside [0, 1].
    """
    _checks.whole_number(n_steps, "n_steps", least=1)
    if isinstance(step_length, bool) or not isinstance(step_length, Real) or not 0 < step_length < np.inf:
        raise ValueError(f"step_length must be a number above 0, not {step_length!r}.")
    with _at_work(model), _watched(model, hidden, None) as seen:
        everything = _pictures(images, model)
        if everything.min() < 0 or everything.max() > 1:
            raise ValueError(
                "colours must lie between 0 and 1, and these go from "
                f"{float(everything.min()):.3g} to {float(everything.max()):.3g}: give pictures as they look, and a "
                "normalisation as transform=."
            )
        parts = list(everything.split(_BATCH))
        for step in progress_bar(range(n_steps * len(parts)), desc="feature attack", enabled=progress):
            pictures = parts[step // n_steps].requires_grad_(True)
            values = _feature(model, pictures, feature, seen, transform)
            gradient = _gradient(values, pictures, pictures)
            if gradient is None:
                raise ValueError(_UNRECORDED)
            length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
            move = float(step_length) * gradient / torch.where(length > 0, length, torch.ones_like(length))
            parts[step // n_steps] = (pictures + move).clamp(0, 1).detach()
    attacked: np.ndarray = torch.cat(parts).cpu().numpy()
    return attacked


@contextmanager
def _at_work(model: torch.nn.Module) -> Iterator[None]:
    """The model borrowed, and gradients taken, whatever the person's own cell has switched off."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"features are those of a torch module, and this is a {type(model).__name__}.")
    with torch.inference_mode(False), torch.enable_grad(), at_work(model, home_of(model)):
        yield


@contextmanager
def _watched(model: torch.nn.Module, hidden: bool | str, layer: str | None) -> Iterator[dict[str, torch.Tensor]]:
    """What the next run of the model leaves: "hidden", and the "maps" seen before it, each as a tensor of the graph."""
    modules = dict(model.named_modules())
    for name in (hidden, layer):
        if isinstance(name, str) and name not in modules:
            near = ", ".join(list(modules)[-8:])
            raise ValueError(f"the model has no layer named {name!r}; its last layers are {near}.")
    if hidden is not True and not isinstance(hidden, str):
        raise ValueError(f"hidden={hidden!r} names no layer: give the name of one, or True for the last hidden one.")
    seen: dict[str, torch.Tensor] = {}

    def note_pooled(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        seen["pooled"] = output

    def keep_maps(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        is_four = isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == len(seen["given"])
        if not is_four or output is seen.get("pooled"):
            return None
        if layer is None and not _is_like_picture(output, seen["given"]):
            return None
        seen["latest"] = output
        return output.clone()  # what comes next may change its input in place

    def keep_hidden(rows: Any) -> None:
        seen["hidden"] = rows
        if "latest" in seen:
            seen["maps"] = seen["latest"]

    def keep_input(module: torch.nn.Module, inputs: tuple[Any, ...], given: dict[str, Any], output: Any) -> None:
        keep_hidden(next((one for one in [*inputs, *given.values()] if isinstance(one, torch.Tensor)), None))

    def keep_output(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        keep_hidden(output[0] if isinstance(output, tuple) else output)

    handles = []
    try:
        for name, module in modules.items():
            if layer is None and any(word in type(module).__name__ for word in _NO_MAPS):
                handles.append(module.register_forward_hook(note_pooled))
            elif layer is None or name == layer:
                handles.append(module.register_forward_hook(keep_maps))
            if name == hidden:
                handles.append(module.register_forward_hook(keep_output))
            elif hidden is True and isinstance(module, torch.nn.Linear):
                handles.append(module.register_forward_hook(keep_input, with_kwargs=True))
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
    """Values (n,) of one feature of the hidden layer, of float32 pictures."""
    seen.clear()
    given = pictures if transform is None else transform(pictures)
    seen["given"] = given
    model(given.to(next((p.dtype for p in model.parameters() if p.is_floating_point()), given.dtype)))
    rows = seen.get("hidden")
    if rows is None:
        raise ValueError("the model ran no linear layer to take the input of: name a layer, hidden='layer.name'.")
    rows = rows.mean(dim=(2, 3)) if rows.ndim == 4 else rows.mean(dim=1) if rows.ndim == 3 else rows
    if rows.ndim != 2 or len(rows) != len(pictures):
        raise ValueError(f"the hidden layer gives shape {tuple(rows.shape)} for {len(pictures)} pictures: name one.")
    values = rows[:, _number(feature, rows.shape[1])]
    if not values.requires_grad:
        raise ValueError(_UNRECORDED)
    return values


def _gradient(values: torch.Tensor, by: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor | None:
    """Of the sum of values, up to a positive factor: so large that those of a mean over positions do not vanish in half
    precision, and so small that none is infinite. None where values do not depend on it."""
    most = float(pictures.shape[2:].numel())
    for scale in _SCALES:
        total = values.float().sum() * min(scale, most)
        (gradient,) = torch.autograd.grad(total, by, retain_graph=True, allow_unused=True)
        if gradient is None or bool(torch.isfinite(gradient).all()):
            return gradient
    raise ValueError("gradients of the feature are infinite or NaN: run the model in float32, model.float().")


def _is_like_picture(output: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether this could have a value for each channel and place of what the model was given; matrices of attention, in
    which positions stand twice, mostly could not."""
    places = output.shape[1:3] if _has_channels_last(output, given) else output.shape[2:]
    return places.numel() > 1 and _strain(places, given.shape[2:]) < _ASPECT


def _has_channels_last(maps: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether maps are (n, h, w, c): by which axes have the proportions of what the model was given."""
    first, last = (_strain(places, given.shape[2:]) for places in (maps.shape[2:], maps.shape[1:3]))
    return first > _CROPPED and last < first / 2


def _strain(places: torch.Size, size: torch.Size) -> float:
    """How far (h', w') is from the proportions of (h, w), in logarithms."""
    return abs(float(np.log(places[0] * size[1] / (places[1] * size[0]))))


def _pictures(images: Any, model: torch.nn.Module) -> torch.Tensor:
    """A copy of the images, float32 where the model is."""
    found = _checks.numeric(images, "images")
    if not np.issubdtype(found.dtype, np.floating) or found.ndim != 4 or 0 in found.shape:
        raise ValueError(
            f"images must be floats of shape (n, channels, h, w), not {found.dtype} of {found.shape}: pictures as "
            "bytes (n, h, w, 3) are images.transpose(0, 3, 1, 2) / 255."
        )
    return torch.tensor(_checks.finite(found, "images"), dtype=torch.float32, device=home_of(model))


def _number(feature: Any, n_features: int) -> int:
    number = _checks.whole_number(feature, "feature", least=0)
    if number >= n_features:
        raise ValueError(f"there is no feature {number}: they are numbered from 0 to {n_features - 1}.")
    return number
