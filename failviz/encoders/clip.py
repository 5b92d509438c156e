"""CLIP image and text embeddings through open_clip (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from failviz.encoders.base import Encoder


class OpenClip(Encoder):
    """Images and texts in one space; features are not normalised, as failure directions want them.

    Parameters
    ----------
    name : str
        An open_clip architecture, for instance "ViT-B-32".
    pretrained : str or None
        Which weights, for instance "laion2b_s34b_b79k": downloaded on first use, then cached by
        open_clip. None gives random weights, which are good for trying out shapes only.
    device : str or torch.device, optional
    space_name : str
        Name of the space, default "clip".

    Raises
    ------
    ValueError
        For an architecture or weights that open_clip does not know.

    Notes
    -----
    Needs its weights once, over the network::

        clip = OpenClip("ViT-B-32", "laion2b_s34b_b79k")
        clip.encode_texts(["a photo of a sneaker on grass"]).shape  # (1, 512)
    """

    def __init__(self, name: str, pretrained: str | None, *, device: Any = None, space_name: str = "clip"):
        import open_clip

        known = open_clip.list_models()
        if name not in known and not name.startswith(("hf-hub:", "local-dir:")):
            near = [other for other in known if name.lower()[:5] in other.lower()][:5]
            raise ValueError(f"open_clip has no model {name!r}; it has {', '.join(near or known[:5])}, ...")
        tags = open_clip.list_pretrained_tags_by_model(name)
        if pretrained is not None and tags and pretrained not in tags and not _is_file(pretrained):
            raise ValueError(f"open_clip has no weights {pretrained!r} for {name}; it has {', '.join(tags)}.")
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=pretrained)
        super().__init__(model, space_name, device)
        self._clip: Any = self.model.to(self.device)  # with encode_image and encode_text
        self._preprocess = preprocess
        self._tokenizer = open_clip.get_tokenizer(name)

    def encode_texts(self, texts: Sequence[str], *, batch_size: int = 256, progress: bool = True) -> np.ndarray:
        """Embed sentences; float32 array (m, d), not normalised."""
        if isinstance(texts, str):
            raise TypeError("encode_texts wants a list of sentences, not one string.")
        tokens = self._tokenizer(list(texts)) if len(texts) else []
        return self._in_batches(len(texts), lambda row: tokens[row], self._clip.encode_text, batch_size, progress)

    def _prepare(self, image: Any) -> torch.Tensor:
        return self._preprocess(image)

    def _encode_batch(self, batch: torch.Tensor) -> torch.Tensor:
        return self._clip.encode_image(batch)


def _is_file(path: str) -> bool:
    import os

    return os.path.exists(path)
