"""The model under study: a small convolutional network that learnt the bias of the train split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attributes import CLASS_NAMES
from .items import DATA, read_verified

HIDDEN = 128


class SceneClassifier(nn.Module):
    """Four convolutions, one hidden layer, one linear output; about 260,000 weights.

    Takes images (n, 3, 64, 64) in [0, 1], gives logits (n, 10). `model.hidden` is the layer of 128 features right
    before `model.output`.

    Parameters
    ----------
    n_classes : int, default 10
    """

    def __init__(self, n_classes: int = len(CLASS_NAMES)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _stage(3, 32, kernel=5, stride=2),  # 32 x 32
            _stage(32, 48, kernel=3, stride=1),
            nn.MaxPool2d(2),  # 16 x 16
            _stage(48, 104, kernel=3, stride=1),
            nn.MaxPool2d(2),  # 8 x 8
            _stage(104, 136, kernel=3, stride=1),
            nn.MaxPool2d(2),  # 4 x 4
        )
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(136 * 4, HIDDEN), nn.ReLU())
        self.output = nn.Linear(HIDDEN, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 10) of images (n, 3, 64, 64) in [0, 1]."""
        centred = (images - 0.45) / 0.25
        return self.output(self.hidden(self.pool(self.features(centred))))


def _stage(n_in: int, n_out: int, *, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())


def load_demo_classifier() -> SceneClassifier:
    """The classifier of the demo, trained on the biased train split; in eval mode, on the CPU.

    Returns
    -------
    SceneClassifier
        A `torch.nn.Module`: images (n, 3, 64, 64) float32 in [0, 1] to logits (n, 10).

    Raises
    ------
    ValueError
        If the shipped weights are missing or corrupt.

    Examples
    --------
    >>> load_demo_classifier()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """
    from safetensors.torch import load

    with torch.device("meta"):
        model = SceneClassifier()  # no weights drawn: the global random state stays untouched
    model.load_state_dict(load(read_verified(DATA / "classifier.safetensors")), assign=True)
    return model.eval().to(memory_format=torch.channels_last)  # in which a CPU convolves up to twice as fast
