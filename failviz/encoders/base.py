"""What every image encoder shares: batching, progress, rows that are float32 numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from failviz._data_items import describe
from failviz._model_state import at_work, weights_hash
from failviz._progress import progress as bar
from failviz.sources import as_source


class Encoder:
    """Maps images to embeddings (n, d); subclasses say how one image is prepared and a batch encoded.

    Parameters
    ----------
    model : torch.nn.Module
        Borrowed while images are encoded (in eval mode, on `device`) and given back as it was.
    name : str
        The name of the space that `evaluate(..., encoders=)` makes of it.
    device : str or torch.device, optional
        Default: the GPU when there is one, else the processor.
    """

    reads_items = False
    """True for an encoder that takes the items of a data set as a model does, rather than pictures of them."""

    def __init__(self, model: torch.nn.Module, name: str, device: Any = None):
        self.name = name
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model
        self._preprocess: Any = None

    def fingerprint(self) -> str:
        """What tells this encoder from another of the same name: its weights and its preprocessing."""
        return f"{weights_hash(self.model)} {describe(self._preprocess)}"

    def encode_images(self, images: Any, *, batch_size: int = 64, progress: bool = True) -> np.ndarray:
        """Embed images, in order.

        Parameters
        ----------
        images : anything `failviz.sources.as_source` shows
            Image arrays, files, a folder, a map-style data set.
        batch_size : int
        progress : bool
            Show a progress bar.

        Returns
        -------
        float32 array (n, d), not normalised.

        Raises
        ------
        UnreadableExample
            Naming the first image that cannot be read, or whose pixels are normalised already.
        """
        source = as_source(images)
        return self._in_batches(
            len(source),
            lambda row: self._prepare(source.image(row, exact=True)),
            self._encode_batch,
            batch_size,
            progress,
        )

    def _in_batches(self, n: int, item: Any, encode: Any, batch_size: int, progress: bool) -> np.ndarray:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
        if n == 0:
            raise ValueError(f"{self.name} got nothing to encode.")
        blocks = []
        with at_work(self.model, self.device):
            for start in bar(range(0, n, batch_size), desc=self.name, enabled=progress):
                batch = torch.stack([item(row) for row in range(start, min(start + batch_size, n))])
                with torch.inference_mode():
                    blocks.append(encode(batch.to(self.device)).float().cpu().numpy())
        return np.concatenate(blocks)

    def _prepare(self, image: Any) -> torch.Tensor:
        """PIL image (RGB) to the tensor (3, h, w) that the model wants."""
        raise TypeError(f"{type(self).__name__} does not say how an image is prepared")

    def _encode_batch(self, batch: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) to (b, d)."""
        raise TypeError(f"{type(self).__name__} does not say how a batch is encoded")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, device={str(self.device)!r})"
