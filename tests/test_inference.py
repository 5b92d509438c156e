import subprocess
import sys
import textwrap
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, OneHotEncoder, StandardScaler
from torch import nn

from failviz import Evaluation, encoders, evaluate
from failviz.store import RowTable


def net(seed=0, n_in=6, n_out=3):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(n_in, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, n_out))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


class Mean:
    """An encoder: mean colour of each picture."""

    name = "mean"

    def __init__(self, shift=0.0):
        self.shift = shift

    def fingerprint(self):
        return f"mean {self.shift}"

    def encode_images(self, images, *, batch_size, progress):
        shown = [np.asarray(images.image(i)).mean((0, 1)) for i in range(len(images))]
        return np.array(shown, np.float32) + self.shift


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
    images = [(torch.full((3, 4, 4), i / 10), i % 3) for i in range(7)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    ev = evaluate(model, images, encoders=Mean(), batch_size=2, progress=False)
    assert ev.spaces == ["hidden", "mean"]
    np.testing.assert_allclose(ev.space("mean")[:, 0], np.arange(7) * 25.5, atol=1)
    assert evaluate(model, images, encoders={"m": Mean()}, hidden=False, progress=False).spaces == ["m"]
    with pytest.raises(ValueError, match="named alike"):
        evaluate(model, images, encoders=[Mean(), Mean()], progress=False)
    with pytest.raises(ValueError, match="both be called 'hidden'"):
        evaluate(model, images, encoders={"hidden": Mean()}, progress=False)


def test_encoders_see_the_data_and_never_a_stretched_picture_of_it():
    normalised = [(torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(i)), i % 3) for i in range(6)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 3))
    ev = evaluate(model, normalised, encoders={"own": encoders.Hidden(model)}, progress=False)
    np.testing.assert_allclose(ev.space("own"), ev.space("hidden"), atol=1e-6)
    with pytest.raises(ValueError, match="normalised"):
        evaluate(model, normalised, encoders=encoders.Torchvision("shufflenet_v2_x0_5", None), progress=False)


def test_pipelines_are_embedded_by_what_their_last_step_receives():
    texts = [f"{'good' if i % 2 else 'bad'} film number{i % 7}" for i in range(40)]
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, np.arange(40) % 2)
    ev = evaluate(words, (texts, np.arange(40) % 2), source=texts, batch_size=9, progress=False)
    np.testing.assert_allclose(ev.space("features"), words[:-1].transform(texts).toarray(), atol=1e-6)
    assert ev.source.text(3) == texts[3] and ev.error_rate == 0
    table = np.random.default_rng(0).normal(size=(40, 2)) * (1, 1000)
    assert ev.feature_names() == words[:-1].get_feature_names_out().tolist() and "film" in ev.feature_names()
    scaled = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, np.arange(40) % 2)
    ev = evaluate(scaled, (table, np.arange(40) % 2), progress=False)
    np.testing.assert_allclose(ev.space().std(axis=0), 1, atol=1e-5)
    assert ev.feature_names() is None  # "x0" and "x1" say nothing


class Mute(FunctionTransformer):
    def get_feature_names_out(self):  # scikit-learn passes an argument
        return ["age", "dose in mg"]


def fitted(frame, y, *steps):
    return make_pipeline(*steps, LogisticRegression()).fit(frame, y)


def test_columns_of_a_frame_name_the_features(tmp_path):
    y = np.arange(40) % 2
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["age", "dose in mg"])
    plain = LogisticRegression().fit(frame, y)
    both = ColumnTransformer([("scaled", StandardScaler(), ["dose in mg"]), ("kept", "passthrough", ["age"])])
    for model in (plain, fitted(frame, y, StandardScaler()), fitted(frame.to_numpy(), y, StandardScaler())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of names that it did not see in the fit
            assert evaluate(model, (frame, y), progress=False).feature_names() == ["age", "dose in mg"]
    mixed = evaluate(fitted(frame, y, both), (frame, y), progress=False)
    assert mixed.feature_names() == ["scaled__dose in mg", "kept__age"]
    polar = pl.DataFrame({"age": frame["age"].to_numpy(), "smokes": y == 1})
    assert evaluate(LogisticRegression().fit(polar, y), (polar, y), progress=False).feature_names() == ["age", "smokes"]
    for _ in range(2):  # the second time the folder is only opened
        ev = evaluate(plain, (frame, y), path=tmp_path / "run", progress=False)
        assert ev.feature_names("features") == ["age", "dose in mg"]


def test_features_without_telling_names_have_none():
    y = np.arange(40) % 2
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["age", "dose in mg"])
    wider = FunctionTransformer(lambda table: np.column_stack([table, table]), feature_names_out="one-to-one")
    for step in (FunctionTransformer(lambda table: table + 1), Mute(), wider):
        assert evaluate(fitted(frame, y, step), (frame, y), progress=False).feature_names() is None
    for columns in ([0, 1], ["0", "1"], ["age", " "]):
        other = frame.set_axis(columns, axis=1)
        assert evaluate(LogisticRegression().fit(other, y), (other, y), progress=False).feature_names() is None
    array = np.random.default_rng(0).normal(size=(40, 5))
    assert evaluate(fitted(array, y, SelectKBest(k=2)), (array, y), progress=False).feature_names() is None
    plain = LogisticRegression().fit(frame.to_numpy(), y)
    turned = evaluate(plain, (frame, y), transform=lambda row: row.to_numpy()[::-1].copy(), progress=False)
    assert turned.feature_names() is None
    np.testing.assert_allclose(turned.space(), frame.to_numpy()[:, ::-1], rtol=1e-6)


def test_rows_of_a_frame_show_themselves():
    y = np.arange(4) % 2
    frame = pd.DataFrame({"age": [54, 3, 7, 9], "dose": [0.5, 1 / 3, 2.0, 1e9]}, index=[7, 7, 8, 9])
    ev = evaluate(LogisticRegression().fit(frame, y), (frame, y), progress=False)
    assert (ev.source.kind, ev.source.text(1)) == ("text", "age 3\ndose 0.333333")
    assert ev.take([3, 1]).source.text(0) == "age 9\ndose 1e+09"


def test_labels_may_be_names():
    x, y = np.arange(12.0, dtype=np.float32).reshape(6, 2), np.array(["cat", "dog"] * 3)
    net = nn.Linear(2, 2)
    for model in (net, lambda rows: np.full((len(rows), 2), 0.5)):
        for labels in (y, y.astype(object), y[:, None], pd.Series(y), pl.Series(y.tolist())):
            ev = evaluate(model, (x, labels), class_names=["dog", "cat"], progress=False)
            assert ev.labels.tolist() == [1, 0] * 3 and ev.class_names == ["dog", "cat"]
        with pytest.raises(ValueError, match="label of row 0 is 'cat', and the model knows 'dog', 'fox': name"):
            evaluate(model, (x, y), class_names=["dog", "fox"], progress=False)
        with pytest.raises(ValueError, match="labels must be class numbers, and that of row 0 is 'cat'"):
            evaluate(model, (x, y), progress=False)
    numbers = (y == "dog").astype(int)
    ev = evaluate(LogisticRegression().fit(x, numbers), (x, y), class_names=["cat", "dog"], progress=False)
    assert ev.labels.tolist() == numbers.tolist()
    for frame in (pd.DataFrame(x, columns=[*"ab"]), pl.DataFrame(x, schema=[*"ab"])):
        np.testing.assert_array_equal(evaluate(net, (frame, numbers), progress=False).space("hidden"), x)


def test_a_run_goes_on_with_the_same_names_of_classes_only(tmp_path):
    x, y = np.arange(12.0, dtype=np.float32).reshape(6, 2), np.array(["cat", "dog"] * 3)
    model, path = nn.Linear(2, 2), tmp_path / "run"
    for _ in range(2):
        assert (
            evaluate(model, (x, y), class_names=["cat", "dog"], path=path, progress=False).labels.tolist() == [0, 1] * 3
        )
    with pytest.raises(ValueError, match="begun with another class names"):
        evaluate(model, (x, y), class_names=["dog", "cat"], path=path, progress=False)
    renamed = evaluate(model, (x, y == "dog"), class_names=["Cat", "Dog"], path=tmp_path / "numbers", progress=False)
    again = evaluate(model, (x, y == "dog"), class_names=["a", "b"], path=tmp_path / "numbers", progress=False)
    assert renamed.labels.tolist() == again.labels.tolist() and again.class_names == ["a", "b"]  # numbers stay numbers


def test_labels_may_be_the_models_own_names_too():
    model, x = nn.Linear(2, 3), torch.ones(2, 2)
    model.config = SimpleNamespace(id2label={0: "cat", 1: "dog", 2: "fox"})
    for labels in (["cat", "fox"], ["Cat", "Fox"], np.array([0, 2], dtype=object)):
        for data in ((x.numpy(), labels), list(zip(x, labels, strict=True))):
            ev = evaluate(model, data, class_names=["Cat", "Dog", "Fox"], progress=False)
            assert ev.labels.tolist() == [0, 2] and ev.class_names == ["Cat", "Dog", "Fox"]


def test_missing_labels_are_no_class():
    with pytest.raises(ValueError, match="label of row 1 is nan, and the model knows 'cat', 'nan'"):
        evaluate(
            nn.Linear(2, 2), (np.ones((2, 2), np.float32), ["cat", np.nan]), class_names=["cat", "nan"], progress=False
        )


def test_labels_in_a_column_of_their_own_and_losses_of_ones_own():
    x, y = np.arange(8.0).reshape(4, 2), np.array(["a", "b", "a", "b"])
    model, seen = LogisticRegression().fit(x, y), []

    def loss(probs, labels):
        seen.extend(labels.tolist())
        return -np.log(probs[np.arange(len(probs)), labels])

    ev = evaluate(model, [(row, y[i : i + 1]) for i, row in enumerate(x)], collate=stacked, loss=loss, progress=False)
    assert ev.labels.tolist() == seen[-4:] == [0, 1, 0, 1]  # the first is asked about twice
    np.testing.assert_allclose(ev.losses, evaluate(model, (x, y), progress=False).losses, rtol=1e-6)


def stacked(items):
    return np.stack([row for row, _ in items]), np.stack([label for _, label in items])


def test_names_that_a_collate_gives_belong_to_the_run_too(tmp_path):
    x, model, path = torch.arange(12.0).reshape(6, 2), nn.Linear(2, 2), tmp_path / "run"

    def collate(rows):
        return torch.stack([row for row, _ in rows]), np.array([("cat", "dog")[k] for _, k in rows])

    settings = {"collate": collate, "path": path, "progress": False}
    items = [(row, i % 2) for i, row in enumerate(x)]
    assert evaluate(model, items, class_names=["cat", "dog"], **settings).labels.tolist() == [0, 1] * 3
    with pytest.raises(ValueError, match="begun with another class names"):
        evaluate(model, items, class_names=["dog", "cat"], **settings)


def test_another_source_is_not_taken_for_the_one_that_was_begun(tmp_path):
    x, pictures = np.ones((4, 2), np.float32), np.zeros((4, 6, 6, 3), np.uint8)
    settings = {"encoders": Mean(), "path": tmp_path / "run", "progress": False}
    model = nn.Linear(2, 2)
    assert evaluate(model, (x, [0, 1, 0, 1]), source=pictures, **settings).space("mean").max() == 0
    assert evaluate(model, (x, [0, 1, 0, 1]), source=pictures, **settings).space("mean").max() == 0
    with pytest.raises(ValueError, match="begun with another source"):
        evaluate(model, (x, [0, 1, 0, 1]), source=pictures + 100, **settings)


def test_columns_that_come_late_are_refused(tmp_path):
    table = RowTable(tmp_path / "run", 4)
    table.begin("model", {})
    table.write("model", 0, {"probs": np.ones((2, 2))})
    with pytest.raises(ValueError, match="features comes with some rows and not with others, first at row 2: delete"):
        table.write("model", 2, {"probs": np.ones((2, 2)), "features": np.ones((2, 3))})
    items = [(torch.ones(2), 1), (torch.ones(2), 1), (torch.ones(2),)]
    with pytest.raises(ValueError, match="labels comes with some rows and not with others, first at row 2: every row"):
        evaluate(nn.Linear(2, 2), items, batch_size=2, progress=False)


def test_names_of_classes_do_not_contradict_the_models():
    x, y = np.arange(12.0).reshape(6, 2), np.array(["benign", "malignant"] * 3)
    model = LogisticRegression().fit(x, y)
    assert evaluate(model, (x, y), class_names=["benign", "malignant"], progress=False).labels.tolist() == [0, 1] * 3
    assert evaluate(model, (x, y), class_names=["good", "bad"], progress=False).class_names == ["good", "bad"]
    with pytest.raises(ValueError, match="class_names has 'malignant' at position 0, and the model calls class 1 so"):
        evaluate(model, (x, y), class_names=["malignant", "benign"], progress=False)
    numbered = LogisticRegression().fit(x, [1, 2] * 3)
    with pytest.raises(ValueError, match="class_names has '2' at position 0, and the model calls class 1 so"):
        evaluate(numbered, (x, [1, 2] * 3), class_names=[2, 1], progress=False)
    with pytest.raises(ValueError, match="class_names has '1' at position 0, and the model calls class 1 so"):
        evaluate(LogisticRegression().fit(x, [0, 1] * 3), (x, [0, 1] * 3), class_names=[1, 0], progress=False)


def test_holes_in_a_table_are_named_with_what_to_do():
    y = np.arange(40) % 2
    frame = pd.DataFrame({"age": np.arange(40.0), "dose": np.where(np.arange(40) == 5, np.nan, 1.0)})
    model = HistGradientBoostingClassifier(max_iter=2).fit(frame, y)
    with pytest.raises(ValueError, match=r"row 5 holds nan in 'dose'\. The model may take that"):
        evaluate(model, (frame, y), progress=False)
    with pytest.raises(ValueError, match="row 5 holds nan in column 1"):
        evaluate(
            HistGradientBoostingClassifier(max_iter=2).fit(frame.to_numpy(), y), (frame.to_numpy(), y), progress=False
        )


def test_holes_that_a_transform_makes_are_named_by_their_place():
    y = np.arange(4) % 2
    frame = pd.DataFrame({"age": np.arange(4.0), "dose": [np.nan, 1.0, 1.0, 1.0]})
    model = HistGradientBoostingClassifier(max_iter=2).fit(frame.to_numpy()[:, ::-1], y)
    with pytest.raises(ValueError, match="row 0 holds nan in column 0"):
        evaluate(model, (frame, y), transform=lambda row: row.to_numpy()[::-1].copy(), progress=False)


def test_tables_that_hold_no_numbers_are_refused_by_name_before_a_torch_module():
    y = np.arange(3) % 2
    whole = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    assert evaluate(nn.Linear(2, 2), (whole + 0.5, y), progress=False).space().tolist()[0] == [1.5, 4.5]
    tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2))
    assert evaluate(tokens, (whole, y), progress=False).space().shape == (3, 8)  # whole numbers stay so
    for column in (["x", "y", "z"], ["1", "2", "3"], pd.to_datetime(["2020-01-01"] * 3)):
        with pytest.raises(TypeError, match="must hold numbers, and column 'b' does not: leave it out"):
            evaluate(nn.Linear(2, 2), (whole.assign(b=column), y), progress=False)


def test_an_encoder_of_pictures_is_refused_for_a_table_before_the_run():
    y, frame = np.arange(4) % 2, pd.DataFrame({"a": np.arange(4.0)})
    model = LogisticRegression().fit(frame, y)
    for given in ({}, {"source": frame}, {"source": ["a", "b", "c", "d"]}):
        with pytest.raises(ValueError, match="encoders need images, and this data set shows none: give source="):
            evaluate(model, (frame, y), encoders=Mean(), progress=False, **given)
    pictures = np.zeros((4, 4, 4, 3), np.uint8)
    assert evaluate(model, (frame, y), encoders=Mean(), source=pictures, progress=False).spaces == ["features", "mean"]


def test_an_estimator_without_its_features_needs_an_encoder():
    y = np.arange(8) % 2
    images = np.random.default_rng(0).random((8, 4, 4, 3))
    model = make_pipeline(FunctionTransformer(lambda rows: rows.reshape(len(rows), -1)), LogisticRegression())
    model.fit(images, y)
    assert evaluate(model, (images, y), hidden=False, encoders=Mean(), source=images, progress=False).spaces == ["mean"]
    with pytest.raises(ValueError, match="nothing to embed the examples with"):
        evaluate(model, (images, y), hidden=False, progress=False)


def test_true_and_false_beside_numbers_are_a_table():
    y = np.arange(20) % 2
    frame = pd.DataFrame({"age": np.arange(20.0), "smokes": y == 1, "children": pd.array(y, dtype="Int64")})
    ev = evaluate(LogisticRegression().fit(frame, y), (frame, y), progress=False)
    np.testing.assert_array_equal(ev.space(), np.column_stack([np.arange(20.0), y, y]))


def framed(rows):
    return pd.DataFrame({"a": rows[:, 0], "words": rows[:, 1].astype(str)})


def pictured(rows):
    return pd.DataFrame({"a": rows[:, 0], "picture": [np.full((40, 40), row[1]) for row in rows]})


def middle(table):
    return np.array([[picture[20, 20]] for picture in table["picture"]])


def polar(rows):
    return pl.DataFrame({f"c{k}": rows[:, k // 10] for k in range(20)})


@pytest.mark.parametrize("make", [framed, pictured, polar, scipy.sparse.csr_matrix])
def test_another_table_is_not_taken_for_the_one_that_was_begun(tmp_path, make):
    y, numbers = np.arange(20) % 2, np.arange(1.0, 41.0).reshape(20, 2)
    table, other = make(numbers), make(numbers + 1)
    first_steps = {framed: OneHotEncoder(handle_unknown="ignore"), pictured: FunctionTransformer(middle)}
    model = make_pipeline(first_steps.get(make, MaxAbsScaler()), LogisticRegression()).fit(table, y)
    first = evaluate(model, (table, y), path=tmp_path / "run", progress=False)
    assert np.array_equal(evaluate(model, (table, y), path=tmp_path / "run", progress=False).probs, first.probs)
    with pytest.raises(ValueError, match="another data set"):
        evaluate(model, (other, y), path=tmp_path / "run", progress=False)


def test_the_models_own_layer_is_known_whoever_recorded_it():
    images = [(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(i)), i % 3) for i in range(6)]
    model, other = (nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 3)) for _ in range(2))
    watched = {"first": encoders.Hidden(model, "1"), "other": encoders.Hidden(other)}
    assert evaluate(model, images, encoders=watched, progress=False).model_spaces == ("hidden", "first")


def test_frames_and_series_are_read_by_position():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    frame["y"] = np.where(frame["a"] > 0, "yes", "no")
    frame = frame.sample(frac=1, random_state=0)
    model = LogisticRegression(C=100).fit(frame[["a", "b"]], frame["y"])
    ev = evaluate(model, (frame[["a", "b"]], frame["y"]), batch_size=7, progress=False)
    assert ev.error_rate == pytest.approx(1 - model.score(frame[["a", "b"]], frame["y"]))
    mixed = evaluate(
        lambda x: model.predict_proba(pd.DataFrame(x, columns=["a", "b"])),
        (frame[["a", "b"]].to_numpy(), (frame["y"] == "yes").astype(int)),
        progress=False,
    )
    assert mixed.error_rate == ev.error_rate
    sparse = evaluate(
        LogisticRegression().fit(scipy.sparse.csr_array(np.eye(6)), np.arange(6) % 2),
        (scipy.sparse.csr_array(np.eye(6)), np.arange(6) % 2),
        encoders={"m": Mean()},
        source=np.zeros((6, 2, 2), np.uint8),
        progress=False,
    )
    assert sparse.spaces == ["features", "m"]


class Squeezes(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.layer = nn.Linear(6, n_out)

    def forward(self, x):
        return self.layer(x).squeeze()


@pytest.mark.parametrize("n_out", [1, 3])
def test_models_that_squeeze_survive_a_batch_of_one(n_out):
    data = Rows(n=5)
    data.y = data.y % max(2, n_out)
    a, b = (evaluate(Squeezes(n_out).requires_grad_(False), data, batch_size=size, progress=False) for size in (5, 2))
    assert a.n_classes == b.n_classes == max(2, n_out)


def test_padding_does_not_reach_the_hidden_layer():
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=2, **sizes)).eval()
    rng = np.random.default_rng(0)
    rows = [{"input_ids": rng.integers(1, 50, size), "label": 0, "text": "unused"} for size in (3, 9, 5, 7)]

    def collate(items):
        longest = max(len(item["input_ids"]) for item in items)
        padded = [np.pad(item["input_ids"], (0, longest - len(item["input_ids"]))) for item in items]
        ids = torch.tensor(np.array(padded))
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.zeros(len(items)).long()}

    layer = "bert.encoder.layer.0.output"
    a, b = (evaluate(model, rows, hidden=layer, collate=collate, batch_size=k, progress=False) for k in (1, 4))
    np.testing.assert_allclose(a.space(), b.space(), atol=1e-5)


def test_dicts_that_are_not_named_as_the_model_names_them():
    rows = [{"image": torch.rand(6, generator=torch.Generator().manual_seed(i)), "label": i % 3} for i in range(4)]
    assert evaluate(net(), rows, progress=False).n_examples == 4
    assert evaluate(net(), [(x["image"].double(), x["label"]) for x in rows], progress=False).n_examples == 4
    with pytest.raises(ValueError, match="the model takes input"):
        evaluate(net(), [row | {"other": row["image"]} for row in rows], progress=False)


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
    sampled = set(np.linspace(0, 22, 9).astype(int))  # these tell one data set from another
    assert set(data.reads) == sampled | set(range(15, 23))
    assert isinstance(ev.space(), np.memmap)
    whole = evaluate(net(), Rows(), batch_size=5, progress=False)
    assert ev.hash == whole.hash
    again = Rows()
    assert evaluate(net(), again, progress=False, path=tmp_path / "run").hash == ev.hash and set(again.reads) == sampled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": lambda: net(seed=5)}, "another model"),
        ({"dataset": lambda: Rows(seed=9)}, "another data set"),
        ({"dataset": lambda: Rows(n=5)}, "begun for 23 rows, not 5"),
        ({"transform": lambda: torch.neg}, "another transform"),
        ({"loss": lambda: lambda outputs, labels: labels.double()}, "another loss"),
        ({"encoders": lambda: Mean(shift=1)}, "another encoder"),
        ({"hidden": lambda: "1"}, "another hidden"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, change, message):
    run = {"model": net, "dataset": Rows, "encoders": Mean}
    settings = {"progress": False, "path": tmp_path, "source": np.zeros((23, 4, 4, 3), np.uint8)}
    evaluate(**{name: make() for name, make in run.items()}, **settings)
    if "n=5" in message or "not 5" in message:
        settings["source"] = np.zeros((5, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        evaluate(**{name: make() for name, make in (run | change).items()}, **settings)


def test_a_finished_run_takes_one_more_encoder(tmp_path):
    settings = {"progress": False, "path": tmp_path, "source": np.zeros((23, 4, 4, 3), np.uint8)}
    evaluate(net(), Rows(), **settings)
    data = Rows()
    ev = evaluate(net(), data, encoders={"a/b": Mean()}, **settings)
    assert ev.spaces == ["hidden", "a/b"] and len(set(data.reads)) == 9 and ev.model_spaces == ("hidden",)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    Evaluation(np.eye(3)).save(tmp_path / "ev")
    with pytest.raises(FileExistsError, match="holds other files"):
        evaluate(net(), Rows(), progress=False, path=tmp_path / "ev")
    assert Evaluation.load(tmp_path / "ev").n_examples == 3


def test_evaluations_of_runs_can_be_saved(tmp_path):
    ev = evaluate(net(), Rows(), progress=False)
    ev.save(tmp_path / "ev")
    assert Evaluation.load(tmp_path / "ev").hash == ev.hash


def softmaxed(n_out=3):
    return nn.Sequential(net(n_out=n_out), nn.Softmax(dim=1) if n_out > 1 else nn.Sigmoid())


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return x, self.layer(x)


BAD = {
    "two tables": ({"model": Two()}, "several tables"),
    "layer": ({"hidden": "nope"}, "no layer named 'nope'"),
    "batch": ({"batch_size": 0}, "at least 1"),
    "half a batch": ({"batch_size": 2.5}, "batch_size must be a whole number"),
    "true batch": ({"batch_size": True}, "batch_size must be a whole number"),
    "loss": ({"loss": lambda outputs, labels: outputs.mean()}, "one value per example"),
    "no linear": ({"model": nn.Flatten()}, "no linear layer"),
    "outputs": ({"model": net(n_out=2)}, "label of row 2 is 2, and the model has classes 0 to 1"),
    "not probs": ({"model": lambda x: np.zeros(len(x))}, "class probabilities of shape"),
    "empty": ({"model": nn.Identity(), "dataset": []}, "empty"),
    "unequal": ({"dataset": (np.ones((3, 6)), [0])}, "X has 3 rows, and y has 1"),
    "no space": ({"hidden": False}, "nothing to embed"),
    "softmax": ({"model": softmaxed()}, "returns probabilities, not logits"),
    "sigmoid": ({"model": softmaxed(1)}, "returns probabilities, not logits"),
    "label -1": ({"dataset": [(torch.ones(6), -1)]}, "label of row 0 is -1"),
    "label 0.7": ({"dataset": [(torch.ones(6), 0.0), (torch.ones(6), 0.5)]}, r"label of row 1 is 0\.5"),
    "several labels": (
        {"dataset": (np.ones((4, 6)), np.ones((4, 2)))},
        r"one label per row, shape \(n,\), not \(4, 2\)",
    ),
    "one-hot": ({"dataset": [(torch.ones(6), torch.eye(3)[0])] * 2}, "labels must be class numbers"),
    "ids": ({"ids": ["a"] * 23}, "'a' comes again"),
    "metadata": ({"metadata": {"k": [1]}}, "'k' has 1"),
    "source": ({"source": ["text"]}, "shows 1 examples"),
    "names": ({"class_names": ["a", "b"]}, "2 class names, and the model has 3 outputs"),
    "ragged": ({"dataset": [(torch.ones(6), 0), (torch.ones(5), 0)]}, "do not make a batch"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_the_work(change, message):
    arguments = {"model": net(), "dataset": Rows(), "progress": False, "batch_size": 100} | change
    with pytest.raises(ValueError, match=message):
        evaluate(arguments.pop("model"), arguments.pop("dataset"), **arguments)


def test_a_table_without_labels_is_refused():
    for frame in (pd.DataFrame({"a": [1.0]}), pl.DataFrame({"a": [1.0]})):
        with pytest.raises(TypeError, match=r"wants a table and its labels: evaluate\(model, \(frame, labels\)\)"):
            evaluate(LogisticRegression(), frame, progress=False)


def test_facts_are_checked_before_any_item_is_read():
    for change in ({"ids": ["a"] * 23}, {"metadata": {"k": [1]}}, {"hidden": False}):
        data = Rows()
        with pytest.raises(ValueError):
            evaluate(net(), data, progress=False, **change)
        assert len(set(data.reads)) <= 1


def test_a_broken_item_is_named():
    class Broken(Rows):
        def __getitem__(self, i):
            if i == 4:
                raise OSError("truncated file")
            return super().__getitem__(i)

    with pytest.raises(ValueError, match="item 4 of the data set cannot be read: OSError: truncated file"):
        evaluate(net(), Broken(), progress=False)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda p: 1.2 * p, "row 14 sums to 1.2"),
        (lambda p: np.where(np.arange(3) == 1, np.nan, p), "probs must be finite, and row 14 holds nan"),
        (lambda p: p - 1, "row 14 is: pass probabilities"),
    ],
)
def test_outputs_that_are_no_probabilities_end_the_run_where_they_come(tmp_path, broken, message):
    calls = []

    def model(batch):
        calls.append(len(batch))
        good = np.full((len(batch), 3), 1 / 3)
        return broken(good) if len(calls) == 3 else good

    with pytest.raises(ValueError, match=message):
        evaluate(model, Rows(), batch_size=7, path=tmp_path / "run", progress=False)
    assert len(calls) == 3
    assert evaluate(model, Rows(), batch_size=7, path=tmp_path / "run", progress=False).n_examples == 23
    assert len(calls) == 5  # the two batches that were whole are not computed again


def test_what_is_no_model_or_no_data_set_is_refused():
    with pytest.raises(TypeError, match="must be a torch module"):
        evaluate(3, Rows())
    with pytest.raises(TypeError, match=r"give loader\.dataset"):
        evaluate(net(), torch.utils.data.DataLoader(Rows()))
    with pytest.raises(TypeError, match="length and items"):
        evaluate(net(), iter(Rows()))
    with pytest.raises(TypeError, match="no probabilities"):
        evaluate(type("Cluster", (), {"predict": None})(), Rows())
    with pytest.raises(TypeError, match=r"a Ridge predicts numbers, not classes: give its losses to Evaluation"):
        evaluate(Ridge(), Rows())


def test_a_label_that_the_model_does_not_know_is_named_with_what_it_knows():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = LogisticRegression().fit(rows, np.arange(60) % 10)
    with pytest.raises(ValueError, match=r"label of row 9 is 10, and the model knows 0, 1, 2, 3, 4, \.\.\., 9: name"):
        evaluate(model, (rows, np.arange(60) % 10 + 1), progress=False)
