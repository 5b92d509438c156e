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


def feature_of(model, pictures, feature):
    with torch.no_grad():
        return model.relu(model.conv(torch.from_numpy(pictures))).mean(dim=(2, 3))[:, feature].numpy()


def test_an_attack_raises_its_feature_by_steps_of_one_length_within_the_colours():
    model = Pooled()
    grey = 0.5 + 0.2 * (images() - 0.5)
    once = feature_attack(model, grey, 1, n_steps=1, step_length=np.float32(0.25), progress=False)
    np.testing.assert_allclose(np.linalg.norm((once - grey).reshape(3, -1), axis=1), 0.25, rtol=1e-5)
    assert (feature_of(model, once, 1) > feature_of(model, grey, 1)).all()
    x = images()
    more = feature_attack(model, x, 1, n_steps=40, step_length=0.2, progress=False)
    assert more.shape == x.shape and more.dtype == np.float32 and more.min() == 0 and more.max() == 1
    assert (feature_of(model, more, 1) > 1.5 * feature_of(model, x, 1)).all()


def test_pictures_do_not_depend_on_one_another(monkeypatch):
    model, x = Pooled(), images(5)
    heat = heat_map(model, x, 2)
    attacked = feature_attack(model, x, 2, n_steps=3, step_length=0.3, progress=False)
    for row in range(5):
        np.testing.assert_allclose(heat_map(model, x[[row]], 2)[0], heat[row], atol=1e-5)
        alone = feature_attack(model, x[[row]], 2, n_steps=3, step_length=0.3, progress=False)
        np.testing.assert_allclose(alone[0], attacked[row], atol=1e-5)
    monkeypatch.setattr("failviz.saliency._BATCH", 2)
    np.testing.assert_allclose(heat_map(model, x, 2), heat, atol=1e-5)
    in_parts = feature_attack(model, x, 2, n_steps=3, step_length=0.3, progress=False)
    np.testing.assert_allclose(in_parts, attacked, atol=1e-5)


class Mixed(Pooled):
    """A linear layer, with weights of both signs, between the maps and the features."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(5, 6)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(input=self.mix(self.pool(self.relu(self.conv(x))).flatten(1)))


def test_maps_count_by_how_much_they_raise_the_feature_and_not_where_they_lower_it():
    model, x = Mixed(), images()
    with torch.no_grad():
        maps = model.relu(model.conv(torch.from_numpy(x))).numpy()
    for feature in range(6):
        weights = model.mix.weight[feature].detach().numpy()
        assert weights.min() < 0 < weights.max()
        heat = np.maximum(0, np.einsum("k,nkij->nij", weights, maps))
        highest = heat.max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(heat_map(model, x, feature), heat / np.where(highest > 0, highest, 1), atol=1e-4)


class Branches(Pooled):
    """As Inception: parts that are joined outside of any layer."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], dim=1)

    def __init__(self):
        super().__init__()
        self.conv = self.Block()


class Residual(Pooled):
    """As the ResNets for small pictures: an empty shortcut, and a last function that is no layer."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.shortcut = nn.Conv2d(5, 5, 3, padding=1), nn.Sequential()

        def forward(self, x):
            out = self.conv(x)
            out += self.shortcut(x)
            return nn.functional.relu(out)

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 5, 1), self.Block())


class ChannelsLast(Pooled):
    """As Swin: maps (n, h, w, c)."""

    class Last(nn.Module):
        def __init__(self, conv):
            super().__init__()
            self.weight = nn.Linear(3, 11)

        def forward(self, x):
            return torch.relu(self.weight(x.permute(0, 2, 3, 1)))

    def __init__(self):
        super().__init__()
        self.conv = self.Last(None)
        self.fc = nn.Linear(11, 4)

    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(1, 2)))


@pytest.mark.parametrize("kind", [Branches, Residual, ChannelsLast])
def test_the_right_maps_are_found_in_networks_of_other_shapes(kind):
    model, x = kind(), images()
    with torch.no_grad():
        maps = model.conv(torch.from_numpy(x))
    maps = maps.permute(0, 3, 1, 2).numpy() if kind is ChannelsLast else maps.relu().numpy()
    for feature in range(maps.shape[1]):
        highest = maps[:, feature].max(axis=(1, 2), keepdims=True)
        expected = maps[:, feature] / np.where(highest > 0, highest, 1)
        np.testing.assert_allclose(heat_map(model, x, feature), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 96), (33, 100), (40, 40)])
@pytest.mark.parametrize("layer", [None, "2"])
def test_maps_need_not_have_the_proportions_of_the_picture(size, layer):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 6, (5, 9)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
    )
    x = np.random.default_rng(0).random((2, 3, *size)).astype(np.float32)
    with torch.no_grad():
        maps = model[:3](torch.from_numpy(x))[:, [1]].clamp(min=0)
    expected = nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
    found = heat_map(model, x, 1, layer=layer)
    np.testing.assert_allclose(found, expected / expected.max(axis=(1, 2), keepdims=True), atol=1e-5)
    larger = heat_map(model, x, 1, layer=layer, transform=lambda t: nn.functional.interpolate(t, (64, 64)))
    assert larger.shape == (2, *size) and larger.max() == 1


class Attended(Pooled):
    """Neither matrices of attention (n, heads, t, t), though as square as the picture, nor keys (n, heads, t, d) are
    maps."""

    def __init__(self):
        super().__init__()
        self.attention, self.drop, self.window = nn.Softmax(dim=-1), nn.Dropout(), nn.Identity()
        self.norm = nn.LayerNorm(5)

    def forward(self, x):
        maps = self.relu(self.conv(x))
        rows = maps.flatten(2).transpose(1, 2)
        keys = self.norm(rows[:, None])
        share = self.drop(self.attention(keys @ keys.transpose(2, 3)))
        self.window(share.repeat(4, 1, 1, 1))
        return self.fc((share[:, 0] @ rows).mean(dim=1) * 0 + rows.mean(dim=1))


def test_attention_is_no_map():
    x = images()
    np.testing.assert_allclose(heat_map(Attended(), x, 3), heat_map(Pooled(), x, 3), atol=1e-5)


def test_of_a_layer_before_others_the_maps_before_it():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    x = images()
    with torch.no_grad():
        before, after = model[0](torch.from_numpy(x)).numpy(), model[:2](torch.from_numpy(x)).numpy()
    highest = after[:, 2].max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(heat_map(model, x, 2, hidden="1"), after[:, 2] / highest, atol=1e-5)
    # What comes after a layer and changes its output in place does not change what was seen of it: values below 0 are
    # part of the map of the convolution, and not of what its ReLU has left of it.
    model.append(nn.Linear(6, 2))
    mixed = heat_map(model, x, 2, hidden="4", layer="0")
    model[1] = nn.ReLU()
    np.testing.assert_allclose(mixed, heat_map(model, x, 2, hidden="4", layer="0"), atol=1e-6)
    assert not np.allclose(mixed, heat_map(model, x, 2, hidden="4", layer="1"), atol=0.05) and (before < 0).any()
    with pytest.raises(ValueError, match=r"the layer '2' does not give maps .* on the way to the hidden layer"):
        heat_map(model, x, 2, hidden="1", layer="2")


class Tokens(Pooled):
    """A hidden layer with positions (n, t, d), as transformers have."""

    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()

    def forward(self, x):
        return self.fc(self.norm(self.relu(self.conv(x)).flatten(2).transpose(1, 2)).mean(dim=1))


def test_tokens_are_averaged():
    x = images()
    np.testing.assert_allclose(heat_map(Tokens(), x, 3, hidden="norm"), heat_map(Pooled(), x, 3), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_the_same_way(dtype):
    """Here a gradient is below what half precision holds, unless it is scaled."""
    x = images(1, side=448)
    single, half = Pooled(), Pooled()
    with torch.no_grad():
        for model in (single, half):
            model.conv.weight *= 0.01
    half.to(dtype)
    moves = [feature_attack(model, x, 1, n_steps=1, step_length=0.1, progress=False) - x for model in (single, half)]
    one, other = moves
    assert (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other) > 0.97
    np.testing.assert_allclose(heat_map(half, x, 1), heat_map(single, x, 1), atol=0.05)


class Steep(Pooled):
    """A gradient that half precision cannot hold when it is scaled."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveMaxPool2d(1)
        with torch.no_grad():
            self.conv.weight *= 30


def test_a_steep_feature_is_no_nan_in_half_precision():
    x = images(1, side=160)
    heat, attacked = (
        heat_map(Steep().half(), x, 1),
        feature_attack(Steep().half(), x, 1, n_steps=2, step_length=0.1, progress=False),
    )
    assert np.isfinite(heat).all() and heat.max() == 1
    assert np.isfinite(attacked).all() and not np.array_equal(attacked, x)
    broken = Steep().half()
    with torch.no_grad():
        broken.conv.weight[1, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"model.float\(\)"):
        feature_attack(broken, x, 1, n_steps=1, progress=False)


def test_one_channel_will_do_and_so_will_a_cell_without_gradients():
    model = Pooled()
    model.conv = nn.Conv2d(1, 5, 3, padding=1)
    x = images()[:, :1]
    plain = heat_map(model, x, 0)
    assert plain.max() == 1
    with torch.inference_mode():
        np.testing.assert_array_equal(heat_map(model, torch.from_numpy(x), 0), plain)
        feature_attack(model, torch.from_numpy(x), 0, n_steps=2, progress=False)


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
    np.testing.assert_allclose(heat_map(model, x, 3, layer="relu"), plain, atol=1e-6)
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
    unrecorded = Pooled()
    unrecorded.conv.forward = torch.no_grad()(unrecorded.conv.forward)
    ev = Evaluation([[1.0], [2.0]])
    for error, match, call in (
        (TypeError, "torch module", lambda: heat_map(len, x, 0)),
        (ValueError, "floats of shape", lambda: heat_map(model, (255 * x).astype(np.uint8), 0)),
        (ValueError, "floats of shape", lambda: heat_map(model, x[0], 0)),
        (TypeError, "real numbers", lambda: heat_map(model, None, 0)),
        (TypeError, "real numbers", lambda: heat_map(model, "cat.png", 0)),
        (ValueError, "no_grad", lambda: feature_attack(model, x, 0, transform=lambda t: t.detach())),
        (ValueError, "no_grad", lambda: heat_map(unrecorded, x, 0)),
        (ValueError, "floats of shape", lambda: heat_map(model, x[:0], 0)),
        (ValueError, "finite", lambda: heat_map(model, np.full_like(x, np.nan), 0)),
        (ValueError, "numbered from 0 to 4", lambda: heat_map(model, x, 5)),
        (ValueError, "feature must be", lambda: heat_map(model, x, 1.5)),
        (ValueError, "no layer named 'cov'", lambda: heat_map(model, x, 0, layer="cov")),
        (ValueError, "no layer named 'hid'", lambda: heat_map(model, x, 0, hidden="hid")),
        (ValueError, "names no layer", lambda: heat_map(model, x, 0, hidden=False)),
        (ValueError, "names no layer", lambda: heat_map(model, x, 0, hidden=None)),
        (ValueError, "convolutional", lambda: heat_map(flat, x, 0)),
        (ValueError, "'fc' does not give", lambda: heat_map(model, x, 0, layer="fc")),
        (ValueError, "no linear layer", lambda: heat_map(nn.Sequential(nn.Conv2d(3, 2, 1)), x, 0)),
        (ValueError, "between 0 and 1", lambda: feature_attack(model, x + 1, 0)),
        (ValueError, "n_steps", lambda: feature_attack(model, x, 0, n_steps=0)),
        (ValueError, "step_length", lambda: feature_attack(model, x, 0, step_length=-1)),
        (TypeError, "takes an Evaluation", lambda: most_activating(x, 0)),
        (ValueError, "numbered from 0 to 0", lambda: most_activating(ev, 1)),
        (ValueError, "n must be", lambda: most_activating(ev, 0, n=0)),
        (ValueError, "a heat of shape", lambda: plots.heat_map(x[0], np.zeros((3, 3)))),
        (ValueError, "colours must be bytes", lambda: plots.heat_map(np.full((8, 8, 3), np.nan), np.zeros((8, 8)))),
        (ValueError, "colours must be bytes", lambda: plots.heat_map(2 * x[0], np.zeros((8, 8)))),
        (ValueError, "heat must lie", lambda: plots.heat_map(x[0], np.full((8, 8), 2.0))),
    ):
        with pytest.raises(error, match=match):
            call()
