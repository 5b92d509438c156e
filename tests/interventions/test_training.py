import math
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from failviz import Evaluation, datasets, evaluate
from failviz.interventions.plan import DataMark, RetrainPlan, outline
from failviz.interventions.training import Course, Progress, TrainingDiverged, retrain

CLASSES = ("a", "b", "c")


class Rows(torch.utils.data.Dataset):
    """Three clusters that a linear model tells apart; remembers what was read."""

    def __init__(self, n=23, seed=1, shift=0.0):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(n) % 3
        self.x = torch.randn(n, 4, generator=generator) + 3 * torch.eye(4)[self.labels] + shift
        self.reads = []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.reads.append(i)
        return self.x[i], int(self.labels[i])


def net(seed=0, n_in=4, n_out=3, dropout=0.0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(n_in, 6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, n_out))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return model.eval()


def batch_normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def mark(data, ids=None):
    labels = np.asarray([int(data[i][1]) for i in range(len(data))])
    return DataMark(len(data), "hash", outline(ids or [str(i) for i in range(len(data))], labels))


def planned(train=None, pool=None, name="plan", **facts):
    marks = {"train": train, "pool": pool}
    found = {what: mark(data) for what, data in marks.items() if data is not None}
    return RetrainPlan(name, class_names=CLASSES, **{**found, **facts})


def adding(pool, rows=(0, 4, 5), **facts):
    return planned(pool=pool, additions={str(row): int(pool.labels[row]) for row in rows}, **facts)


def bits(model):
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


quiet = partial(retrain, progress=False)


# -- what comes back ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["finetune", "scratch", "last_layer"])
def test_a_new_model_comes_back_and_the_one_given_is_not_changed(how):
    model, train, pool = net(dropout=0.5), Rows(), Rows(seed=2)
    model[2].train()
    handle = model[1].register_forward_hook(lambda *call: None)
    before, hooks = bits(model), dict(model[1]._forward_hooks)
    found = quiet(model, adding(pool), train, pool, how=how)
    assert type(found) is type(model) and found is not model and bits(found) != before
    assert bits(model) == before and model[1]._forward_hooks == hooks
    assert all(parameter.grad is None for parameter in [*model.parameters(), *found.parameters()])
    for one in (model, found):
        assert [module.training for module in one.modules()] == [False, False, False, True, False]
        assert {parameter.device.type for parameter in one.parameters()} == {"cpu"}
        assert not one[3]._forward_hooks and not one[3]._forward_pre_hooks
    handle.remove()


def test_the_same_seed_gives_the_same_weights_and_no_global_state_is_touched():
    model, train, pool = net(), Rows(), Rows(seed=2)
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    for how in ("finetune", "scratch", "last_layer"):
        runs = [bits(quiet(model, adding(pool), train, pool, how=how, batch_size=4, random_state=k)) for k in (0, 0, 1)]
        assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_training_works_where_gradients_are_off():
    pool = Rows(seed=2)
    with torch.no_grad():
        assert bits(quiet(net(), adding(pool), Rows(), pool)) != bits(net())


# -- what is learnt ----------------------------------------------------------------------------


class Pairs(list):
    """A list of (input, label) pairs that says its labels."""

    @property
    def labels(self):
        return [label for _, label in self]


def spurious(n, agree, seed):
    """Label = sign of a faint feature; a loud one agrees with it in a share of the examples."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    loud = np.where(rng.random(n) < agree, labels, 1 - labels)
    x = np.column_stack([labels - 0.5, 4 * (loud - 0.5)]) + rng.normal(size=(n, 2)) * 0.1
    return Pairs(zip(torch.tensor(x, dtype=torch.float32), labels.tolist(), strict=True)), loud != labels


@pytest.mark.parametrize("how", ["finetune", "scratch"])
def test_additions_mend_the_group_that_the_training_set_hides(how):
    train, _ = spurious(200, 1.0, 0)
    pool, is_hard = spurious(100, 0.5, 1)
    test, is_hard_test = spurious(200, 0.5, 2)
    nothing = RetrainPlan("", class_names=("a", "b"), train=mark(train), weights={str(i): 2.0 for i in range(200)})
    biased = quiet(net(n_in=2, n_out=2), nothing, train, epochs=10, lr=0.03)
    chosen = {str(row): pool[row][1] for row in np.flatnonzero(is_hard)}
    plan = RetrainPlan("more", class_names=("a", "b"), additions=chosen, pool=mark(pool), added_weight=2)
    mended = quiet(biased, plan, train, pool, how=how, epochs=20, lr=0.03)
    before, after = (evaluate(model, test, progress=False) for model in (biased, mended))
    assert before.errors[is_hard_test].mean() > 0.9 and before.errors[~is_hard_test].mean() < 0.05
    assert after.errors[is_hard_test].mean() < 0.1 and after.errors[~is_hard_test].mean() < 0.1


def weighted_step(model, x, y, weights, rate=0.1):
    """One step of gradient descent on sum w l / sum w."""
    model.zero_grad()
    weights = torch.tensor(weights, dtype=torch.float32)
    losses = nn.functional.cross_entropy(model(x), y, reduction="none")
    ((losses * weights).sum() / weights.sum()).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= rate * parameter.grad
    return model


def close(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_a_step_is_one_on_the_weighted_mean_with_the_labels_of_the_plan():
    train, pool = Rows(6), Rows(5, seed=2)
    changes = {"weights": {"1": 3.0, "2": 0.0}, "relabels": {"4": 0}, "additions": {"0": 2, "3": 1}}
    plan = planned(train, pool, added_weight=2.5, **changes)
    found = quiet(net(), plan, train, pool, epochs=1, optimizer=sgd)
    x = torch.cat([train.x, pool.x[[0, 3]]])
    y = torch.tensor([0, 1, 2, 0, 0, 2, 2, 1])
    weights = [1, 3, 0, 1, 1, 1, 2.5, 2.5]
    assert close(found, weighted_step(net(), x, y, weights))
    for other in ([1] * 8, [1, 3, 0, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1, 2.5, 2.5]):
        assert not close(found, weighted_step(net(), x, y, other))


def test_weights_count_in_batches_of_one_too():
    train = Rows(2)
    light, heavy = (
        quiet(net(), planned(train, weights={"0": w}), train, epochs=1, batch_size=1, optimizer=sgd) for w in (0.5, 4)
    )
    assert not close(light, heavy)


def test_an_example_of_weight_0_is_as_if_absent_even_from_batch_norm():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    train = Rows(8)
    shorter = Pairs([train[i] for i in range(7)])
    with_it = quiet(model, planned(train, weights={"0": 2.0, "7": 0.0}), train, batch_size=3)
    without = quiet(model, planned(shorter, weights={"0": 2.0}), shorter, batch_size=3)
    assert bits(with_it) == bits(without)


def test_relabels_change_what_is_learnt():
    train = Rows(60)
    plan = planned(train, relabels={str(i): 0 for i in range(60) if i % 3 == 2})
    found = evaluate(quiet(net(), plan, train, epochs=20, lr=0.03), Rows(60, seed=3), progress=False)
    is_c = found.labels == 2
    assert (found.predictions[is_c] == 0).mean() > 0.9 and not found.errors[~is_c].mean() > 0.2


def test_the_label_of_an_addition_is_the_plans_whatever_the_pool_says():
    train, pool = Rows(), Rows(seed=2)
    lying = Pairs((x, 0) for x, _ in (pool[i] for i in range(len(pool))))
    plan = RetrainPlan("", class_names=CLASSES, additions={"4": 1, "5": 2}, pool=DataMark(23, "", mark(lying).outline))
    expected = bits(quiet(net(), plan, train, lying))
    mute = [x for x, _ in lying]
    assert bits(quiet(net(), plan, train, mute)) == expected
    assert bits(quiet(net(), plan, train, [(x, 2) for x in mute])) == expected


def test_the_order_in_which_a_plan_names_examples_does_not_matter():
    pool = Rows(seed=2)
    one, other = (bits(quiet(net(), adding(pool, rows), Rows(), pool, batch_size=4)) for rows in ((0, 4, 5), (5, 0, 4)))
    assert one == other


def test_only_the_plan_itself_is_run():
    train, pool = Rows(), Rows(seed=2)
    control = adding(pool, (7, 8, 9), name="random")
    plan = adding(pool, controls=(control,))
    models = {name: bits(quiet(net(), arm, train, pool)) for name, arm in plan.arms.items()}
    assert models["plan"] == bits(quiet(net(), plan, train, pool)) != models["random"]


# -- how ---------------------------------------------------------------------------------------


def test_scratch_forgets_the_weights_it_was_given():
    train, pool = Rows(), Rows(seed=2)
    runs = [quiet(net(seed), adding(pool), train, pool, how="scratch") for seed in (0, 1)]
    assert bits(runs[0]) == bits(runs[1])
    kept = quiet(net(0), adding(pool), train, pool, epochs=1, lr=1e-9)
    drawn = quiet(net(0), adding(pool), train, pool, epochs=1, lr=1e-9, how="scratch")
    assert close(kept, net(0)) and not close(drawn, net(0))


def test_scratch_draws_statistics_anew_and_leaves_what_is_frozen():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    with torch.no_grad():
        model[1].running_mean += 100
    model[0].requires_grad_(False)
    model[2].bias.requires_grad_(False)
    pool = Rows(seed=2)
    found = quiet(model, adding(pool), Rows(), pool, how="scratch")
    assert torch.equal(found[0].weight, model[0].weight) and torch.equal(found[2].bias, model[2].bias)
    assert found[1].running_mean.abs().max() < 50 and not torch.equal(found[2].weight, model[2].weight)


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift, self.layer = nn.Parameter(torch.zeros(4)), nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x + self.shift)


def test_scratch_names_the_module_that_cannot_draw_its_weights():
    pool = Rows(seed=2)
    with pytest.raises(ValueError, match=r"weights of the model \(Shifted\), which has no reset_parameters"):
        quiet(Shifted(), adding(pool), Rows(), pool, how="scratch")
    with pytest.raises(ValueError, match=r"weights of 0 \(Shifted\)"):
        quiet(nn.Sequential(Shifted()), adding(pool), Rows(), pool, how="scratch")


@pytest.mark.parametrize("replay", [None, 4])
def test_the_last_layer_alone_learns_as_it_does_when_all_else_is_frozen(replay):
    train, pool = Rows(), Rows(seed=2)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).eval()
    plan = planned(train, pool, additions={"1": 1, "3": 0}, weights={"2": 3.0, "5": 0.0}, relabels={"7": 0})
    settings = {"batch_size": 5, "lr": 0.01, "replay": replay}
    found = quiet(model, plan, train, pool, how="last_layer", **settings)
    same = {name for name, value in model.state_dict().items() if torch.equal(value, found.state_dict()[name])}
    assert set(model.state_dict()) - same == {"3.weight", "3.bias"}
    alone = nn.Sequential(*model[:2], nn.Identity(), model[3])
    alone[:2].requires_grad_(False)
    expected = quiet(alone, plan, train, pool, **settings)
    assert torch.allclose(found[3].weight, expected[3].weight, atol=1e-6)


def test_the_last_layer_reads_each_example_once_and_with_replay_no_more_than_it_needs():
    pool = Rows(seed=2)
    for replay, at_most in ((None, 200), (3, 12 + 9)):
        train = Rows(200)
        quiet(net(), adding(pool), train, pool, how="last_layer", epochs=4, replay=replay)
        assert len(set(train.reads)) <= at_most and len(train.reads) <= at_most + 9 + 2 * 2


class Scaled(nn.Module):
    def __init__(self, n_runs=1, scale=1.0, wrap=None):
        super().__init__()
        self.layer, self.n_runs, self.scale, self.wrap = nn.Linear(4, 4), n_runs, scale, wrap

    def forward(self, x):
        for _ in range(self.n_runs):
            x = self.layer(x)
        return {"logits": self.scale * x} if self.wrap else self.scale * x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Scaled(scale=0.5), "does more after it"),
        (Scaled(n_runs=2), "does more after it"),
        (nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.Flatten(), nn.Softsign()), "does more after it"),
        (nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.MaxPool1d(2), nn.Flatten()), "does more after it"),
        (nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 3, 1), nn.Flatten()), "no linear layer that runs"),
    ],
)
def test_the_last_layer_must_be_the_models_output(model, message):
    pool = Rows(seed=2)
    plan = planned(pool=pool, additions={"0": 0})
    with pytest.raises(ValueError, match=message):
        quiet(model, plan, (Rows().x, Rows().labels % 2), pool, how="last_layer")


def test_the_last_layer_with_a_loss_of_ones_own():
    def loss(outputs, labels):
        return 2 * nn.functional.cross_entropy(outputs, labels, reduction="none")

    pool = Rows(seed=2)
    assert bits(quiet(net(), adding(pool), Rows(), pool, how="last_layer", loss=loss)) != bits(net())
    with pytest.raises(ValueError, match="returns it in another form"):
        quiet(Scaled(wrap=True), adding(pool), Rows(), pool, how="last_layer", loss=loss)


def test_frozen_weights_and_their_statistics_stay():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    model[:2].requires_grad_(False)
    pool = Rows(seed=2)
    found = quiet(model, adding(pool), Rows(), pool)
    assert bits(found[:2]) == bits(model[:2]) and bits(found) != bits(model)
    with pytest.raises(ValueError, match="no weights that can learn"):
        quiet(model.requires_grad_(False), adding(pool), Rows(), pool)


def test_a_last_batch_of_one_joins_the_one_before():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    train, pool, sizes = Rows(4), Rows(seed=2), []
    handle = model[0].register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    quiet(model, adding(pool), train, pool, epochs=1, batch_size=3, validation=Rows(7))
    handle.remove()
    assert sizes[-4:] == [3, 4, 3, 4]


# -- replay, rates, validation -----------------------------------------------------------------


def test_replay_mixes_a_fresh_sample_with_all_that_the_plan_names():
    train, pool = Rows(200), Rows(seed=2)
    plan = planned(train, pool, additions={"1": 1, "9": 0}, weights={"50": 2.0}, relabels={"60": 1})
    seen = []

    class Kept(Rows):
        def __getitem__(self, i):
            seen.append(("pool" if self.x is pool.x else "train", i))
            return super().__getitem__(i)

    train.__class__ = pool.__class__ = Kept
    at = [0]
    quiet(net(), plan, train, pool, replay=10, epochs=2, on_progress=lambda report: at.append(len(seen)))
    epochs = [set(seen[at[1] - 14 : at[1]]), set(seen[at[1] : at[2]])]
    must = {("pool", 1), ("pool", 9), ("train", 50), ("train", 60)}
    assert all(len(epoch) == 14 and must <= epoch for epoch in epochs) and epochs[0] != epochs[1]
    with pytest.raises(ValueError, match="nothing is left"):
        quiet(net(), planned(train, weights={"3": 0.0}), train, replay=0)


def test_the_default_rate_warms_up_and_falls_to_zero_and_an_own_one_is_left_alone():
    course = Course(epochs=1, batch_size=1, lr=2.0, replay=None, patience=None, seed=0)
    rates = [course.rate(share) for share in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and max(rates) == rates[10] == 2 and rates[100] == pytest.approx(0, abs=1e-12)
    assert rates[5] == pytest.approx(1) and sorted(rates[10:], reverse=True) == rates[10:]
    made, pool = [], Rows(seed=2)

    def optimizer(parameters):
        made.append(torch.optim.SGD(parameters, lr=0.25, momentum=0.5))
        return made[0]

    quiet(net(), adding(pool), Rows(), pool, optimizer=optimizer)
    assert made[0].param_groups[0]["lr"] == 0.25


def test_the_weights_of_the_best_epoch_are_returned_and_patience_ends_the_rest():
    train, pool, validation = Rows(30), Rows(seed=2), Rows(90, seed=7)
    plan = planned(train, pool, additions={"0": 1}, relabels={str(i): (i + 1) % 3 for i in range(30)})
    settings = {"validation": validation, "batch_size": 8, "optimizer": sgd}
    start = quiet(
        batch_normed(), adding(pool), train, pool, epochs=30, lr=0.03
    )  # a good model, which the plan then spoils
    reports = []
    best = quiet(start, plan, train, pool, epochs=6, on_progress=reports.append, **settings)
    ends = [report for report in reports if report.batch == report.n_batches and not report.is_judging]
    losses = [report.validation_loss for report in ends]
    assert losses == sorted(losses) and reports[0].validation_loss is None
    found = evaluate(best, validation, progress=False)
    assert found.losses.mean() == pytest.approx(losses[0], abs=1e-5)
    assert 1 - found.error_rate == pytest.approx(ends[0].validation_accuracy)
    reports.clear()
    stopped = quiet(start, plan, train, pool, epochs=6, patience=2, on_progress=reports.append, **settings)
    assert reports[-1].epoch == 3 and bits(stopped) == bits(best)


# -- progress ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["finetune", "last_layer"])
def test_every_batch_is_reported(how):
    reports, pool = [], Rows(seed=2)
    quiet(net(), adding(pool), Rows(), pool, how=how, epochs=2, batch_size=10, on_progress=reports.append)
    trained = [report for report in reports if report.epoch > 0]
    assert [(report.epoch, report.batch) for report in trained] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert [report.share for report in trained] == pytest.approx(np.arange(1, 7) / 6)
    assert trained[3].words == "epoch 2 of 2" and all(math.isfinite(report.loss) for report in reports)
    if how == "last_layer":
        assert [report.words for report in reports[:2]] == ["features, batch 1 of 3", "features, batch 2 of 3"]
        assert {report.share for report in reports[:3]} == {0}
    with pytest.raises(AttributeError):
        reports[0].epoch = 3


class Cancelled(BaseException):
    pass


def stopping(epoch, batch=1, kind=Cancelled):
    def stop(report):
        if (report.epoch, report.batch) == (epoch, batch):
            raise kind

    return stop


@pytest.mark.parametrize(("how", "epoch"), [("finetune", 1), ("scratch", 2), ("last_layer", 0), ("last_layer", 2)])
def test_what_on_progress_raises_stops_the_training_and_passes_through(how, epoch):
    model, pool, reports = net(), Rows(seed=2), []

    def stop(report):
        reports.append(report)
        stopping(epoch, 2, KeyboardInterrupt)(report)

    with pytest.raises(KeyboardInterrupt):
        quiet(model, adding(pool), Rows(), pool, how=how, batch_size=5, on_progress=stop)
    assert (reports[-1].epoch, reports[-1].batch) == (epoch, 2) and bits(model) == bits(net())


def test_bars_are_shown_on_request(monkeypatch):
    shown, pool = [], Rows(seed=2)

    def bar(iterable, *, total=None, desc=None, enabled=True):
        shown.append((desc, total, enabled))
        return iterable

    monkeypatch.setattr("failviz.interventions._descent.bar", bar)
    retrain(net(), adding(pool), Rows(), pool, how="last_layer", batch_size=10)
    quiet(net(), adding(pool), Rows(), pool)
    assert shown == [("features", None, True), ("retrain", 9, True), ("retrain", 3, False)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e30, "epochs": 4}, r"at batch \d of epoch \d: lower lr \(it was 1e\+30\)"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1e30)}, "lower the learning rate of your optimizer"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=math.inf), "batch_size": 99}, "weights became .* in epoch 1"),
        ({"validation": [(torch.full((4,), math.nan), 1)]}, "the validation loss became nan in epoch 1"),
        ({"transform": lambda x: x / 0}, "the loss became nan at batch 1 of epoch 1.*inputs that are not finite"),
    ],
)
def test_a_loss_that_is_no_number_is_said(change, message):
    pool = Rows(seed=2)
    with pytest.raises(TrainingDiverged, match=message):
        quiet(net(), adding(pool), Rows(), pool, **{"batch_size": 5, **change})


# -- what the data and the models may be -------------------------------------------------------


def test_arrays_frames_and_arrays_that_may_not_be_written_to():
    train, pool = Rows(), Rows(seed=2)
    expected = bits(quiet(net(), adding(pool), train, pool))
    x, y = train.x.numpy().astype(np.float64), train.labels.numpy()
    frozen = x.copy()
    frozen.setflags(write=False)
    for inputs in (train.x, x, frozen, pd.DataFrame(x, columns=list("abcd"))):
        assert bits(quiet(net(), adding(pool), (inputs, y), (pool.x, pool.labels))) == expected


@pytest.mark.parametrize("how", ["finetune", "last_layer"])
@pytest.mark.parametrize("key", ["label", "labels"])
def test_a_hugging_face_text_model_with_dict_batches(how, key):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=50, num_labels=3, **sizes)
    model = BertForSequenceClassification(config).eval()
    rng = np.random.default_rng(0)
    rows = [{"input_ids": torch.tensor(rng.integers(0, 50, 8)), key: i % 3, "text": f"text {i}"} for i in range(9)]

    def collate(items):
        return {
            "input_ids": torch.stack([item["input_ids"] for item in items]),
            "labels": torch.tensor([item[key] for item in items]),
        }

    here = DataMark(9, "", outline([str(i) for i in range(9)], np.arange(9) % 3))
    plan = RetrainPlan("", class_names=CLASSES, additions={"1": 2, "2": 0}, relabels={"0": 1}, pool=here, train=here)
    found = quiet(model, plan, rows, rows, how=how, collate=collate, batch_size=4, lr=0.05, epochs=20)
    judged = evaluate(found, rows[3:], collate=collate, progress=False)
    assert judged.losses.mean() < evaluate(model, rows[3:], collate=collate, progress=False).losses.mean()


class One(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layer, self.shape = nn.Linear(4, 1), shape

    def forward(self, x):
        return self.layer(x).squeeze() if self.shape is None else self.layer(x).reshape(self.shape)


@pytest.mark.parametrize("how", ["finetune", "last_layer"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), None])
def test_a_binary_model_with_one_output(shape, how):
    data = Rows(60)
    data.labels %= 2
    plan = RetrainPlan("", class_names=("no", "yes"), weights={"0": 2.0}, train=mark(data))
    torch.manual_seed(0)
    found = quiet(One(shape), plan, data, how=how, lr=0.1, epochs=20, batch_size=59, validation=Rows(1))
    assert evaluate(found, data, progress=False).error_rate < 0.1
    with pytest.raises(ValueError, match="the model has 2 classes, and the plan's labels run to 2"):
        quiet(One(shape), planned(data, relabels={"0": 2}), data, how=how)


def test_a_transform_a_collate_and_a_loss_of_ones_own():
    train, pool = Rows(), Rows(seed=2)
    doubled = Rows(), Rows(seed=2)
    for rows in doubled:
        rows.x = rows.x * 2
    expected = quiet(net(), adding(pool), *doubled, optimizer=sgd)

    def collate(items):
        return torch.stack([x for x, _ in items]) * 2, torch.tensor([label for _, label in items])

    def loss(outputs, labels):
        return 2 * nn.functional.cross_entropy(outputs, labels, reduction="none")

    assert bits(quiet(net(), adding(pool), train, pool, optimizer=sgd, transform=lambda x: x * 2)) == bits(expected)
    assert bits(quiet(net(), adding(pool), train, pool, optimizer=sgd, collate=collate)) == bits(expected)
    half = partial(torch.optim.SGD, lr=0.05)
    assert close(quiet(net(), adding(pool), *doubled, optimizer=half, loss=loss), expected)


def test_a_device_named_is_the_one_trained_on():
    pool = Rows(seed=2)
    assert bits(quiet(net(), adding(pool), Rows(), pool, device="cpu")) == bits(
        quiet(net(), adding(pool), Rows(), pool)
    )


def test_the_demo_classifier_learns_some_scenes_and_keeps_the_rest():
    scenes = datasets.load_fashion_scenes()
    is_spot = np.flatnonzero(scenes.pool.blind_spot == 0)
    pool, test = scenes.pool.take(is_spot[:120]), scenes.pool.take(is_spot[120:200])
    train = scenes.train.take(np.arange(300))
    model, names = datasets.load_demo_classifier(), tuple(scenes.class_names)
    ids = [f"scene {i}" for i in range(120)]
    additions = dict(zip(ids, pool.true_labels.tolist(), strict=True))
    plan = RetrainPlan("", class_names=names, additions=additions, pool=DataMark(120, "", outline(ids, pool.labels)))
    mended = quiet(model, plan, train, pool, pool_ids=ids, how="last_layer", epochs=20, lr=0.01)
    before, after = (evaluate(each, test, progress=False).predictions == test.true_labels for each in (model, mended))
    assert before.mean() < 0.7 and after.mean() > 0.9
    assert evaluate(mended, train, progress=False).error_rate < 0.1


# -- ids ---------------------------------------------------------------------------------------


def test_ids_are_those_given_or_the_data_sets_own_or_numbers():
    train, pool = Rows(), Rows(seed=2)
    named = [f"p{i}" for i in range(23)]
    plan = RetrainPlan("", class_names=CLASSES, additions={"p4": 1, "p5": 2}, pool=mark(pool, named))
    expected = bits(quiet(net(), adding(pool, (4, 5)), train, pool))
    assert bits(quiet(net(), plan, train, pool, pool_ids=named)) == expected
    pool.ids = np.array(named)
    assert bits(quiet(net(), plan, train, pool)) == expected
    assert bits(quiet(net(), adding(pool, (4, 5)), train, pool)) == expected  # evaluated without giving them
    train.ids = named
    plan = RetrainPlan("", class_names=CLASSES, weights={"p2": 3.0}, train=mark(train, named))
    by_number = planned(train, weights={"2": 3.0})
    assert bits(quiet(net(), plan, train)) == bits(quiet(net(), by_number, train))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": Rows(20, seed=2)}, r"another pool \(23 examples\), not for this one \(20\)"),
        ({"train": Rows(20)}, r"another train \(23 examples\), not for this one \(20\)"),
        ({"pool_ids": [f"p{i}" for i in range(23)]}, r"adds '4', which is not among the ids of pool \(p0, p1, p2"),
        ({"train_ids": [f"t{i}" for i in range(23)]}, "weighs '2', which is not among the ids of train"),
        ({"train_ids": [str(i) for i in range(22)]}, "each of the 23 examples, and 22 came"),
        ({"train_ids": [str(22 - i) for i in range(23)]}, "another train of 23 examples: ids or labels are not those"),
        ({"pool_ids": ["a"] * 23}, "pool_ids must be unique, and 'a' comes again"),
    ],
)
def test_data_that_the_plan_was_not_made_for_is_refused(change, message):
    train, pool = Rows(), Rows(seed=2)
    plan = planned(train, pool, additions={"4": 1}, weights={"2": 3.0})
    with pytest.raises(ValueError, match=message):
        quiet(net(), plan, **{"train": train, "pool": pool, **change})


def test_other_labels_are_noticed_where_the_data_set_says_them():
    train, pool = Rows(), Rows(seed=2)
    plan = adding(pool)
    pool.labels = (pool.labels + 1) % 3
    with pytest.raises(ValueError, match="another pool of 23 examples: ids or labels"):
        quiet(net(), plan, train, pool)
    assert quiet(net(), plan, train, [pool[i] for i in range(23)])  # a list says none

    class Mapped(Rows):  # what it calls labels is not what its items come with
        def __getitem__(self, i):
            return self.x[i], 2 - int(self.labels[i])

    mapped = Mapped(seed=2)
    assert quiet(net(), planned(pool=mapped, additions={"1": 1}), train, mapped)


# -- checkpoints -------------------------------------------------------------------------------


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


RUNS = {
    "finetune": {},
    "scratch": {"how": "scratch"},
    "last layer": {"how": "last_layer", "replay": 5},
    "own optimizer": {"optimizer": momentum},
    "plain optimizer": {"optimizer": sgd},
    "groups": {"optimizer": lambda p: torch.optim.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:]}])},
    "validation": {"validation": Rows(seed=4), "patience": 3},
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_stopped_training_goes_on_and_ends_in_the_same_weights(run, tmp_path):
    train, pool = Rows(), Rows(seed=2)
    model, settings = batch_normed(), {"epochs": 4, "batch_size": 5, **run}
    whole = quiet(model, adding(pool), train, pool, **settings)
    kept = {**settings, "checkpoint": tmp_path / "run"}
    for epoch, batch in ((1, 2), (2, 2), (3, 1)):
        with pytest.raises(Cancelled):
            quiet(model, adding(pool), train, pool, **kept, on_progress=stopping(epoch, batch))
    reports = []
    found = quiet(model, adding(pool), train, pool, **kept, on_progress=reports.append)
    assert {report.epoch for report in reports} - {0} == {3, 4} and bits(found) == bits(whole)
    again = quiet(model, adding(pool), train, pool, **kept, on_progress=stopping(1))
    assert bits(again) == bits(whole) and [module.training for module in again.modules()] == [True] * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert {path.suffix for path in (tmp_path / "run").iterdir()} == {".json", ".safetensors"}


def test_a_training_that_patience_ended_is_finished(tmp_path):
    pool = Rows(seed=2)
    settings = {"validation": Rows(seed=4), "patience": 1, "epochs": 50, "checkpoint": tmp_path / "run"}
    settings["optimizer"] = partial(torch.optim.SGD, lr=3.0)
    reports = []
    found = quiet(net(), adding(pool), Rows(), pool, **settings, on_progress=reports.append)
    assert reports[-1].epoch < 50
    reports.clear()
    again = quiet(net(), adding(pool), Rows(), pool, **settings, on_progress=reports.append)
    assert reports == [] and bits(again) == bits(found)


def test_what_stops_after_the_last_batch_of_an_epoch_loses_nothing(tmp_path):
    pool, kept = Rows(seed=2), {"checkpoint": tmp_path / "run", "batch_size": 13, "epochs": 2}
    with pytest.raises(Cancelled):
        quiet(net(), adding(pool), Rows(), pool, **kept, on_progress=stopping(1, 2))
    reports = []
    quiet(net(), adding(pool), Rows(), pool, **kept, on_progress=reports.append)
    assert {report.epoch for report in reports} == {2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": adding(Rows(seed=2), (1, 2))}, "begun with another plan"),
        ({"model": net(seed=3)}, "begun with another model"),
        ({"how": "last_layer"}, "begun with another how"),
        ({"epochs": 5}, "begun with another epochs"),
        ({"lr": 0.5, "batch_size": 7}, "begun with another batch_size and lr"),
        ({"random_state": 1}, "begun with another seed"),
        ({"train": Rows(22)}, "begun with another train"),
        ({"train": Rows(seed=8)}, "begun with another train"),
        ({"validation": Rows()}, "begun with another validation"),
        ({"optimizer": sgd}, "begun with another lr and optimizer"),
        ({"transform": torch.neg}, "begun with another transform"),
    ],
)
def test_a_folder_of_another_training_is_refused(change, message, tmp_path):
    run = {"model": net(), "plan": adding(Rows(seed=2)), "train": Rows(), "pool": Rows(seed=2), "epochs": 1}
    quiet(**run, checkpoint=tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=message):
        quiet(**{**run, **change}, checkpoint=tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    pool = Rows(seed=2)
    Evaluation(np.eye(3)).save(tmp_path / "ev")
    quiet(net(), adding(pool), Rows(), pool, epochs=1, checkpoint=tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("ev", "run", "file"):
        with pytest.raises(FileExistsError, match="holds other files and was left alone"):
            quiet(net(), adding(pool), Rows(), pool, epochs=1, checkpoint=tmp_path / name)
    assert Evaluation.load(tmp_path / "ev").n_examples == 3 and (tmp_path / "run" / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    quiet(net(), adding(pool), Rows(), pool, epochs=np.int64(1), checkpoint=tmp_path / "empty")


def test_a_damaged_checkpoint_is_said(tmp_path):
    pool, kept = Rows(seed=2), tmp_path / "run"
    quiet(net(), adding(pool), Rows(), pool, checkpoint=kept)
    for name, content in (("weights.safetensors", b"no"), ("optimizer.safetensors", None), ("retraining.json", b"{")):
        shutil.copytree(kept, tmp_path / "copy")
        broken = tmp_path / "copy" / name
        broken.write_bytes(content) if content else broken.unlink()
        with pytest.raises(ValueError, match=r"copy is damaged \(.*\): delete that folder"):
            quiet(net(), adding(pool), Rows(), pool, checkpoint=tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")


# -- bad input ---------------------------------------------------------------------------------


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("only tensors created by\nthe user can be copied")


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x), self.layer(x)


POOL = Rows(seed=2)
BAD = {
    "model": ({"model": 3}, TypeError, r"needs a torch.nn.Module, not a int"),
    "plan": ({"plan": {}}, TypeError, "must be a RetrainPlan, not a dict"),
    "copy": ({"model": Uncopied(4, 3)}, TypeError, r"cannot be copied \(RuntimeError: only tensors created by\):"),
    "how": ({"how": "best"}, ValueError, "'finetune', 'scratch', 'last_layer', not 'best'"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be a whole number of at least 1, not 0"),
    "half epochs": ({"epochs": 1.5}, ValueError, r"epochs must be a whole number of at least 1, not 1\.5"),
    "batch": ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1"),
    "lr": ({"lr": 0}, ValueError, "lr must be a finite number above 0, not 0"),
    "nan lr": ({"lr": math.nan}, ValueError, "lr must be a finite number above 0, not nan"),
    "two rates": ({"lr": 0.1, "optimizer": sgd}, ValueError, "lr and optimizer were both given"),
    "made": ({"optimizer": sgd(net().parameters())}, TypeError, "a function that makes one of parameters.* a SGD"),
    "no optimizer": ({"optimizer": list}, TypeError, "a function that makes one of parameters.* a list"),
    "replay -1": ({"replay": -1}, ValueError, "replay must be a whole number of at least 0, not -1"),
    "replay": ({"replay": -1}, ValueError, "replay must be a whole number of at least 0, not -1"),
    "patience": ({"patience": 2}, ValueError, "patience waits for validation"),
    "patience 0": ({"patience": 0, "validation": Rows()}, ValueError, "patience must be a whole number of at least 1"),
    "loader": ({"train": torch.utils.data.DataLoader(Rows())}, TypeError, "train must be the data set, not its DataL"),
    "stream": ({"pool": iter(Rows())}, TypeError, "pool must be a data set with a length and items"),
    "empty": ({"validation": []}, ValueError, "validation is empty"),
    "empty arrays": ({"train": (np.ones((0, 4)), [])}, ValueError, "train is empty"),
    "unequal": ({"train": (np.ones((3, 4)), [0])}, ValueError, "X has 3 rows, and y has 1"),
    "unlabelled": ({"train": Rows().x}, ValueError, "train needs labels, and its items come without"),
    "mute": ({"validation": Rows().x}, ValueError, "validation needs labels, and its items come without"),
    "no pool": ({"pool": None}, ValueError, "adds 3 examples of a pool, and none came: give pool="),
    "nothing": ({"plan": planned(Rows())}, ValueError, "the plan changes nothing"),
    "classes": ({"model": net(n_out=2)}, ValueError, "the model has 2 classes, and the plan's labels run to 2"),
    "labels": ({"train": (Rows().x, np.arange(23) % 4)}, ValueError, "label of row 3 is 3, and the model has"),
    "late label": ({"train": [*(Rows()[i] for i in range(22)), (Rows().x[0], 7)]}, ValueError, "label of row 22 is 7"),
    "names": ({"train": (Rows().x, ["a"] * 23)}, ValueError, "labels must be class numbers"),
    "probabilities": ({"model": nn.Sequential(net(), nn.Softmax(dim=1))}, ValueError, "probabilities, not logits"),
    "two tables": ({"model": Twice()}, ValueError, "several tables"),
    "loss": ({"loss": lambda outputs, labels: outputs.mean()}, ValueError, r"shape \(26,\), not \(\): use reduction"),
    "ragged": ({"train": [(torch.ones(4), 0), (torch.ones(5), 0)]}, ValueError, "items of train do not make a batch"),
    "seed": ({"checkpoint": "never", "random_state": None}, ValueError, "checkpoint needs a whole number as random"),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_line(change, error, message):
    arguments = {"model": net(), "plan": adding(POOL), "train": Rows(), "pool": POOL, **change}
    with pytest.raises(error, match=message) as caught:
        quiet(**arguments)
    assert "\n" not in str(caught.value)


def test_a_model_that_keeps_an_activation_is_refused():
    model = net()
    model.kept = model(torch.ones(1, 4))
    with pytest.raises(TypeError, match="this model cannot be copied"):
        quiet(model, adding(POOL), Rows(), POOL)


number = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-3, 0), st.text(max_size=2))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["epochs", "batch_size", "lr", "replay", "patience"]), number)
def test_settings_that_are_no_numbers_are_refused(name, value):
    usable = value is None and name in ("lr", "replay", "patience")
    usable |= name == "replay" and value == 0 and not isinstance(value, bool | float)
    usable |= name == "lr" and isinstance(value, int | float) and 0 < value < math.inf
    good = {"epochs": 1, "batch_size": 1, "lr": 0.1, "replay": None, "patience": None, "seed": 0}
    if usable:
        assert Course(**{**good, name: value})
    else:
        with pytest.raises(ValueError, match=rf"^{name} must be .*, not .*\.$"):
            Course(**{**good, name: value})


def test_progress_is_a_share_between_0_and_1():
    assert Progress(3, 3, 7, 7, 0.1).share == 1 and Progress(1, 4, 1, 2, 0.1).share == 0.125


def test_a_pool_that_hides_its_labels_is_known_by_those_of_the_additions():
    train, pool = Rows(30), Rows(60, seed=2)
    plan = adding(pool, rows=range(20))
    hidden = [pool[row] for row in range(len(pool))]  # a list has neither labels nor targets
    quiet(net(), plan, train, hidden, epochs=1)
    with pytest.raises(ValueError, match="items that it adds have another label here"):
        quiet(net(), plan, train, [(x, (y + 1) % 3) for x, y in hidden], epochs=1)
