"""What a feature looks like: top examples, heat maps against the class activation map, attacks that raise it."""

import numpy as np
import pytest
import torch
from torch import nn

from failviz import Evaluation, FailureTree, datasets, evaluate, plots
from failviz.saliency import feature_attack, heat_map, most_activating


class Pooled(nn.Module):
    """As a ResNet ends: maps, their means, a linear layer."""

    def __init__(self, channels=5):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 4)

    def forward(self, x):
        return self.fc(self.pool(self.relu(self.conv(x))).flatten(1))


def images(n=3, side=8, seed=0):
    return np.random.default_rng(seed).random((n, 3, side, side)).astype(np.float32)


def test_the_heat_of_a_pooled_channel_is_that_channel():
    """METHODS 2.4: the class activation map, resized, and relative to its own highest value."""
    model, x = Pooled(), images()
    with torch.no_grad():
        maps = model.relu(model.conv(torch.from_numpy(x))).numpy()
    for feature in range(5):
        heat = heat_map(model, x, feature)
        channel = maps[:, feature]
        highest = channel.max(axis=(1, 2), keepdims=True)
        assert heat.shape == (3, 8, 8) and heat.dtype == np.float32
        np.testing.assert_allclose(heat, channel / np.where(highest > 0, highest, 1), atol=1e-5)


def test_a_channel_of_zeros_gives_no_heat_and_no_nan():
    model = Pooled()
    with torch.no_grad():
        model.conv.bias[2], model.conv.weight[2] = -5.0, 0.0
    assert (heat_map(model, images(), 2) == 0).all()
    x = images()
    np.testing.assert_array_equal(feature_attack(model, x, 2, n_steps=3, progress=False), x)


def test_an_attack_raises_its_feature_by_steps_of_one_length_within_the_colours():
    model, x = Pooled(), images()
    once = feature_attack(model, x, 1, n_steps=1, step_length=0.01, progress=False)
    inside = ((x > 0.02) & (x < 0.98)).all(axis=(1, 2, 3))
    length = np.linalg.norm((once - x).reshape(3, -1), axis=1)
    assert (length <= 0.01 + 1e-5).all() and np.allclose(length[inside], 0.01, atol=1e-5)
    more = feature_attack(model, x, 1, n_steps=40, step_length=0.2, progress=False)
    assert more.shape == x.shape and more.min() >= 0 and more.max() <= 1

    def feature(pictures):
        with torch.no_grad():
            return model.relu(model.conv(torch.from_numpy(pictures))).mean(dim=(2, 3))[:, 1].numpy()

    assert (feature(once) > feature(x)).all() and (feature(more) > 1.5 * feature(x)).all()


def test_what_is_borrowed_is_given_back():
    model, x = Pooled().train(), images()
    before, kept = {k: v.clone() for k, v in model.state_dict().items()}, x.copy()
    x.setflags(write=False)
    heat_map(model, x, 0)
    with torch.no_grad():  # a person's own no_grad does not stop it
        feature_attack(model, torch.from_numpy(kept), 0, n_steps=2, progress=False)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    np.testing.assert_array_equal(x, kept)


def test_frozen_weights_named_layers_and_a_transform():
    model, x = Pooled(), images()
    plain = heat_map(model, x, 3)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_allclose(heat_map(model, x, 3), plain, atol=1e-6)
    np.testing.assert_allclose(heat_map(model, x, 3, hidden="relu", layer="conv"), plain, atol=0.2)  # before the ReLU
    np.testing.assert_allclose(heat_map(model, x, 3, hidden="pool"), plain, atol=1e-6)
    np.testing.assert_allclose(heat_map(model, 2 * x + 1, 3, transform=lambda t: (t - 1) / 2), plain, atol=1e-4)
    moved = feature_attack(model, x, 3, n_steps=2, progress=False, transform=lambda t: 2 * t)
    assert not np.array_equal(moved, x)


def test_the_rule_of_a_tree_of_the_demo_is_explained():
    scenes, model = datasets.load_fashion_scenes(), datasets.load_demo_classifier()
    val = scenes.val.take(np.arange(1500))
    ev = evaluate(model, val, progress=False)
    found = FailureTree(space="hidden", random_state=0, progress=False).fit(ev).slices(ev)[0]
    feature = found.stats["path"][0].feature
    top = most_activating(ev, feature, scope=found.scope)
    rows = ev.rows_of(top)
    values, group = ev.space("hidden")[:, feature], ev.predictions == found.scope[1]
    assert len(top) == 6 and group[rows].all()
    assert (np.diff(values[rows]) <= 0).all() and values[rows].min() >= np.sort(values[group])[-6]
    x = np.stack([val[row][0].numpy() for row in rows[:3]])
    heat = heat_map(model, x, feature)
    assert heat.shape == (3, 64, 64) and np.allclose(heat.max(axis=(1, 2)), 1, atol=1e-6) and heat.min() >= 0
    attacked = feature_attack(model, x, feature, n_steps=5, progress=False)
    with torch.no_grad():
        before, after = (
            model.hidden(model.pool(model.features((torch.from_numpy(one) - 0.45) / 0.25)))[:, feature]
            for one in (x, attacked)
        )
    assert (after > 1.5 * before).all()
    ax = plots.heat_map(x[0], heat[0])
    assert len(ax.images) == 2 and ax.images[1].get_array().shape == (64, 64, 4)


def test_most_activating_within_a_class_and_ties_in_order():
    ev = Evaluation([[1.0], [2.0], [2.0], [3.0], [0.0]], labels=[0, 0, 0, 1, 0], class_names=["cat", "dog"])
    assert most_activating(ev, 0, scope=("label", "cat"), n=3).tolist() == ["1", "2", "0"]
    assert most_activating(ev, 0, n=99).tolist() == ["3", "1", "2", "0", "4"]


def test_refusals():
    model, x = Pooled(), images()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 2))
    ev = Evaluation([[1.0], [2.0]])
    for error, match, call in (
        (TypeError, "torch module", lambda: heat_map(len, x, 0)),
        (ValueError, "floats of shape", lambda: heat_map(model, (255 * x).astype(np.uint8), 0)),
        (ValueError, "floats of shape", lambda: heat_map(model, x[0], 0)),
        (ValueError, "floats of shape", lambda: heat_map(model, x[:0], 0)),
        (ValueError, "finite", lambda: heat_map(model, np.full_like(x, np.nan), 0)),
        (ValueError, "numbered from 0 to 4", lambda: heat_map(model, x, 5)),
        (ValueError, "feature must be", lambda: heat_map(model, x, 1.5)),
        (ValueError, "no layer named 'cov'", lambda: heat_map(model, x, 0, layer="cov")),
        (ValueError, "no layer named 'hid'", lambda: heat_map(model, x, 0, hidden="hid")),
        (ValueError, "names no layer", lambda: heat_map(model, x, 0, hidden=False)),
        (ValueError, "convolutional", lambda: heat_map(flat, x, 0)),
        (ValueError, "'fc' gives", lambda: heat_map(model, x, 0, layer="fc")),
        (ValueError, "no linear layer", lambda: heat_map(nn.Sequential(nn.Conv2d(3, 2, 1)), x, 0)),
        (ValueError, "between 0 and 1", lambda: feature_attack(model, x + 1, 0)),
        (ValueError, "n_steps", lambda: feature_attack(model, x, 0, n_steps=0)),
        (ValueError, "step_length", lambda: feature_attack(model, x, 0, step_length=-1)),
        (TypeError, "takes an Evaluation", lambda: most_activating(x, 0)),
        (ValueError, "numbered from 0 to 0", lambda: most_activating(ev, 1)),
        (ValueError, "n must be", lambda: most_activating(ev, 0, n=0)),
        (ValueError, "a heat of shape", lambda: plots.heat_map(x[0], np.zeros((3, 3)))),
        (ValueError, "heat must lie", lambda: plots.heat_map(x[0], np.full((8, 8), 2.0))),
    ):
        with pytest.raises(error, match=match):
            call()
