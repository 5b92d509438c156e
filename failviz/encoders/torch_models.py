"""Hidden layers of torch models: torchvision's pretrained ones, or a model of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from failviz._model_state import home_of
from failviz.encoders.base import Encoder
from failviz.sources import Source


class _LayerEncoder(Encoder):
    """Records what a layer receives or gives while the model runs."""

    def __init__(self, model: torch.nn.Module, layer: str | None, name: str, device: Any):
        super().__init__(model, name, device)
        modules = dict(model.named_modules())
        if layer is None:
            linear = [key for key, module in modules.items() if isinstance(module, torch.nn.Linear)]
            if not linear:
                raise ValueError("the model has no linear layer to take the input of: name a layer.")
            self._layer, self._take_input = modules[linear[-1]], True
        elif layer in modules:
            self._layer, self._take_input = modules[layer], False
        else:
            near = ", ".join(list(modules)[-8:])
            raise ValueError(f"the model has no layer named {layer!r}; its last layers are {near}.")

    def _encode_batch(self, batch: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []

        def keep(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            kept.append(inputs[0] if self._take_input else output)

        handle = self._layer.register_forward_hook(keep)
        try:
            self.model(batch)
        finally:
            handle.remove()
        rows = kept[-1]
        return rows.mean(dim=(2, 3)) if rows.ndim == 4 else rows.mean(dim=1) if rows.ndim == 3 else rows


class Hidden(_LayerEncoder):
    """A hidden layer of a model of your own.

    Parameters
    ----------
    model : torch.nn.Module
    layer : str or None
        Record the output of this layer, averaged over positions when it has any; None records
        the input of the last linear layer.
    transform : callable, optional
        PIL image to tensor (3, h, w). Data sets whose items are tensors need none; images from
        files default to values in [0, 1].
    name : str
    device : str or torch.device, optional
        Default: where the model is.

    Raises
    ------
    ValueError
        When the model has no such layer; the message lists the last ones it has.
    """

    reads_items = True

    def __init__(
        self,
        model: torch.nn.Module,
        layer: str | None = None,
        *,
        transform: Callable[[Any], torch.Tensor] | None = None,
        name: str = "hidden",
        device: Any = None,
    ):
        super().__init__(model, layer, name, device or home_of(model))
        self._preprocess = transform

    def encode_images(self, images: Any, *, batch_size: int = 64, progress: bool = True) -> np.ndarray:
        """As Encoder's; items of a data set that are tensors already go to the model as they are."""
        if not isinstance(images, Source) and not isinstance(images, str | np.ndarray) and len(images):
            first = _input(images[0])
            if isinstance(first, torch.Tensor):
                return self._in_batches(
                    len(images), lambda row: _input(images[row]), self._encode_batch, batch_size, progress
                )
        return super().encode_images(images, batch_size=batch_size, progress=progress)

    def _prepare(self, image: Any) -> torch.Tensor:
        if self._preprocess is not None:
            return self._preprocess(image)
        from torchvision.transforms.functional import to_tensor

        return to_tensor(image)


class Torchvision(_LayerEncoder):
    """The last hidden layer of a torchvision classifier.

    Parameters
    ----------
    name : str
        A torchvision model, for instance "resnet50".
    weights : str or None
        For instance "IMAGENET1K_V2" or "DEFAULT": downloaded on first use. None gives random
        weights, which are good for trying out shapes only.
    device : str or torch.device, optional

    Raises
    ------
    ValueError
        For a model or weights that torchvision does not know.
    """

    def __init__(self, name: str, weights: str | None, *, device: Any = None):
        import torchvision.models as models

        if name not in models.list_models():
            raise ValueError(f"torchvision has no model {name!r}; it has {', '.join(models.list_models()[:6])}, ...")
        if weights is None:
            from torchvision.transforms._presets import ImageClassification

            chosen, preprocess = None, ImageClassification(crop_size=224)
        else:
            known = models.get_model_weights(name)
            names = [*known.__members__, "DEFAULT"]
            if weights not in names:
                raise ValueError(f"torchvision has no weights {weights!r} for {name}; it has {', '.join(names)}.")
            chosen = known[weights]
            preprocess = chosen.transforms()
        super().__init__(models.get_model(name, weights=chosen), None, name, device)
        self.model.to(self.device)
        self._preprocess = preprocess

    def _prepare(self, image: Any) -> torch.Tensor:
        return self._preprocess(image)


def _input(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) else item
