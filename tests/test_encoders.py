import json

import numpy as np
import pytest
import torch
from torch import nn

from failviz import encoders

IMAGES = np.random.default_rng(0).integers(0, 255, size=(5, 40, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A CLIP small enough for a test, loaded by open_clip itself; random weights."""
    import open_clip

    tower = {"width": 32, "layers": 1}
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "head_width": 16, **tower},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "heads": 2, **tower},
    }
    path = tmp_path_factory.mktemp("clip") / "failviz-tiny.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return encoders.OpenClip("failviz-tiny", None)


def test_open_clip_puts_images_and_texts_in_one_space(tiny_clip):
    rows = tiny_clip.encode_images(IMAGES, batch_size=2, progress=False)
    assert rows.shape == (5, 16) and rows.dtype == np.float32
    np.testing.assert_allclose(rows, tiny_clip.encode_images(IMAGES, batch_size=5, progress=False), atol=1e-5)
    assert np.std(np.linalg.norm(rows, axis=1)) > 0  # not normalised
    texts = tiny_clip.encode_texts(["a photo of a sneaker", "on grass", "on sand"], batch_size=2, progress=False)
    assert texts.shape == (3, 16)


def test_open_clip_names_what_it_has(tiny_clip):
    with pytest.raises(ValueError, match=r"no model 'ViT-B-99'; it has .*ViT-B-16"):
        encoders.OpenClip("ViT-B-99", None)
    with pytest.raises(ValueError, match="no weights 'mine' for ViT-B-32; it has"):
        encoders.OpenClip("ViT-B-32", "mine")
    with pytest.raises(TypeError, match="list of sentences"):
        tiny_clip.encode_texts("a photo")
    with pytest.raises(ValueError, match="nothing to encode"):
        tiny_clip.encode_texts([])


def test_torchvision_models_give_their_last_hidden_layer():
    encoder = encoders.Torchvision("shufflenet_v2_x0_5", None)
    rows = encoder.encode_images(IMAGES[:2], progress=False)
    assert rows.shape == (2, 1024) and np.isfinite(rows).all()
    with pytest.raises(ValueError, match="no model 'resnet999'"):
        encoders.Torchvision("resnet999", None)
    with pytest.raises(ValueError, match="no weights 'MINE' for resnet18; it has IMAGENET1K_V1"):
        encoders.Torchvision("resnet18", "MINE")


def test_hidden_layers_of_ones_own_model():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 3, 7), nn.ReLU(), nn.Linear(7, 2))
    pairs = [(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(i)), 0) for i in range(3)]
    rows = encoders.Hidden(model).encode_images(pairs, progress=False)
    with torch.no_grad():
        np.testing.assert_allclose(rows, model[:3](torch.stack([x for x, _ in pairs])), atol=1e-6)
    named = encoders.Hidden(model, "1", name="first")
    assert named.name == "first" and named.encode_images(IMAGES[:, :4, :4], progress=False).shape == (5, 7)
    with pytest.raises(ValueError, match="no layer named 'x'; its last layers are"):
        encoders.Hidden(model, "x")
    with pytest.raises(ValueError, match="no linear layer"):
        encoders.Hidden(nn.Flatten())
