import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from failviz import Evaluation, evaluate


def net(seed=0, n_in=6, n_out=3):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(n_in, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, n_out))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


class Rows(torch.utils.data.Dataset):
    def __init__(self, n=23, width=6, seed=1):
        generator = torch.Generator().manual_seed(seed)
        self.x, self.y = torch.randn(n, width, generator=generator), torch.arange(n) % 3
        self.reads = []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.reads.append(i)
        return self.x[i], int(self.y[i])


def test_probabilities_losses_and_hidden_layer_are_the_models_own():
    model, data = net(), Rows()
    ev = evaluate(model, data, batch_size=7, progress=False)
    with torch.no_grad():
        logits, hidden = model.eval()(data.x), model[:3](data.x)
    np.testing.assert_allclose(ev.probs, torch.softmax(logits, 1), atol=1e-6)
    np.testing.assert_allclose(ev.losses, nn.functional.cross_entropy(logits, data.y, reduction="none"), atol=1e-5)
    np.testing.assert_allclose(ev.space("hidden"), hidden, atol=1e-6)
    assert ev.labels.tolist() == data.y.tolist()


def test_the_answer_does_not_depend_on_batch_size_and_the_model_is_given_back():
    model, data = net().train(), Rows()
    a, b = (evaluate(model, data, batch_size=size, progress=False) for size in (1, 100))
    np.testing.assert_allclose(a.probs, b.probs, atol=1e-6)
    assert model.training and model[2].training and not model[3]._forward_hooks


def test_a_named_layer_own_loss_and_own_transform():
    ev = evaluate(
        net(),
        Rows(),
        hidden="1",
        transform=lambda x: x * 0,
        loss=lambda outputs, labels: nn.functional.cross_entropy(outputs, labels, reduction="none") * 2,
        ids=[f"r{i}" for i in range(23)],
        metadata={"k": range(23)},
        class_names=["a", "b", "c"],
        progress=False,
    )
    assert ev.spaces == ["1"] and len(np.unique(ev.space(), axis=0)) == 1
    np.testing.assert_allclose(ev.losses, -2 * np.log(ev.probs[np.arange(23), ev.labels]), atol=1e-4)
    assert ev.ids[3] == "r3" and ev.metadata["k"][22] == 22 and ev.class_names == ["a", "b", "c"]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_a_binary_model_with_one_output(shape):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def forward(self, x):
            return self.layer(x).reshape(shape)

    model, data = One(), Rows()
    data.y %= 2
    ev = evaluate(model, data, progress=False)
    np.testing.assert_allclose(ev.probs[:, 1], torch.sigmoid(model(data.x).detach().reshape(-1)), atol=1e-6)


def test_convolutional_layers_are_averaged_over_positions():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    images = [(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(i)), i % 2) for i in range(5)]
    ev = evaluate(model, images, hidden="0", progress=False)
    assert ev.space().shape == (5, 4) and ev.source.kind == "image"
    np.testing.assert_allclose(ev.space(), evaluate(model, images, progress=False).space("hidden"), atol=1e-6)


def test_a_hugging_face_text_model_with_dict_batches():
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=50, num_labels=3, **sizes)
    model = BertForSequenceClassification(config).eval()
    rng = np.random.default_rng(0)
    rows = [{"input_ids": torch.tensor(rng.integers(0, 50, 8)), "label": i % 3, "text": f"text {i}"} for i in range(9)]

    def collate(items):
        return {
            "input_ids": torch.stack([item["input_ids"] for item in items]),
            "labels": torch.tensor([item["label"] for item in items]),
        }

    ev = evaluate(model, rows, collate=collate, batch_size=4, progress=False)
    assert ev.space("hidden").shape == (9, 16) and ev.probs.shape == (9, 3) and ev.losses is not None
    assert ev.source.kind == "text" and ev.source.text(2) == "text 2"


def test_estimators_and_callables():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), np.array(["no", "yes"])[np.arange(40) % 2]
    forest = LogisticRegression().fit(x, y)
    ev = evaluate(forest, (x, y), progress=False)
    assert ev.class_names == ["no", "yes"] and (ev.correct == (forest.predict(x) == y)).all()
    np.testing.assert_allclose(ev.space("features"), x, rtol=1e-6)
    called = evaluate(lambda rows: np.full((len(rows), 2), 0.5), (x, np.arange(40) % 2), progress=False)
    assert called.losses == pytest.approx(np.full(40, np.log(2)))
    assert evaluate(lambda rows: np.full((len(rows), 2), 0.5), list(x), progress=False).labels is None


def test_encoders_add_spaces():
    class Mean:
        name = "mean"

        def encode_images(self, images, *, batch_size, progress):
            return np.array([np.asarray(images.image(i)).mean((0, 1)) for i in range(len(images))], np.float32)

    images = [(torch.full((3, 4, 4), i / 10), i % 3) for i in range(7)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    ev = evaluate(model, images, encoders=Mean(), batch_size=2, progress=False)
    assert ev.spaces == ["hidden", "mean"]
    np.testing.assert_allclose(ev.space("mean")[:, 0], np.arange(7) * 25.5, atol=1)
    assert evaluate(model, images, encoders={"m": Mean()}, hidden=False, progress=False).spaces == ["m"]
    with pytest.raises(ValueError, match="named alike"):
        evaluate(model, images, encoders=[Mean(), Mean()], progress=False)


def test_large_results_are_memory_mapped(monkeypatch):
    monkeypatch.setattr("failviz.inference.ON_DISK_BYTES", 10)
    ev, plain = evaluate(net(), Rows(), progress=False), None
    monkeypatch.undo()
    plain = evaluate(net(), Rows(), progress=False)
    assert isinstance(ev.space(), np.memmap) and ev.hash == plain.hash


def test_a_killed_run_is_resumed_where_it_was(tmp_path):
    script = textwrap.dedent(
        """
        import os, sys
        sys.path.insert(0, {here!r})
        from test_inference import Rows, net
        from failviz import evaluate

        class Dies(Rows):
            def __getitem__(self, i):
                if i == 17:
                    os.kill(os.getpid(), 9)
                return super().__getitem__(i)

        evaluate(net(), Dies(), batch_size=5, progress=False, path={path!r})
        """
    ).format(here=str(__import__("pathlib").Path(__file__).parent), path=str(tmp_path / "run"))
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    data = Rows()
    ev = evaluate(net(), data, batch_size=5, progress=False, path=tmp_path / "run")
    assert set(data.reads) == {0, *range(15, 23)}  # item 0 tells the data sets apart
    assert isinstance(ev.space(), np.memmap)
    whole = evaluate(net(), Rows(), batch_size=5, progress=False)
    assert ev.hash == whole.hash
    again = Rows()
    assert evaluate(net(), again, progress=False, path=tmp_path / "run").hash == ev.hash and set(again.reads) == {0}


def test_a_folder_of_another_run_is_refused(tmp_path):
    evaluate(net(), Rows(), progress=False, path=tmp_path)
    for model, data in ((net(seed=5), Rows()), (net(), Rows(seed=9)), (net(), Rows(n=5))):
        with pytest.raises(ValueError, match="beginning of another evaluation"):
            evaluate(model, data, progress=False, path=tmp_path)


def test_evaluations_of_runs_can_be_saved(tmp_path):
    ev = evaluate(net(), Rows(), progress=False)
    ev.save(tmp_path / "ev")
    assert Evaluation.load(tmp_path / "ev").hash == ev.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": "nope"}, "no layer named 'nope'"),
        ({"batch_size": 0}, "at least 1"),
        ({"loss": lambda outputs, labels: outputs.mean()}, "one value per example"),
        ({"model": nn.Flatten()}, "no linear layer"),
        ({"model": net(n_out=2)}, "a label is 2, and the model has 2 outputs"),
        ({"model": lambda x: np.zeros(len(x))}, "class probabilities of shape"),
        ({"model": nn.Identity(), "dataset": []}, "empty"),
        ({"dataset": (np.ones((3, 6)), [0])}, "X has 3 rows, and y has 1"),
        ({"hidden": False}, "nothing to embed"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"model": net(), "dataset": Rows(), "progress": False} | change
    with pytest.raises(ValueError, match=message):
        evaluate(arguments.pop("model"), arguments.pop("dataset"), **arguments)


def test_things_that_are_no_model_are_refused():
    with pytest.raises(TypeError, match="must be a torch module"):
        evaluate(3, Rows())
