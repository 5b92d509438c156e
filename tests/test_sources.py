import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

from failviz import sources
from failviz.sources import as_source


class Pairs:
    """A map-style data set of whatever `items` hold."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


RED = np.zeros((8, 6, 3), np.uint8)
RED[..., 0] = 255

SHOWN_AS_RED = {
    "uint8 array": np.stack([RED, RED]),
    "float array": np.stack([RED, RED]) / 255.0,
    "channels first": torch.tensor(np.stack([RED, RED])).permute(0, 3, 1, 2),
    "pairs of PIL": Pairs([(Image.fromarray(RED), 0)] * 2),
    "pairs of tensors": Pairs([(torch.tensor(RED / 255.0).permute(2, 0, 1), 0)] * 2),
    "dicts": Pairs([{"image": Image.fromarray(RED), "label": 1}] * 2),
    "dicts with a file name first": Pairs([{"file_name": "a.jpg", "image": Image.fromarray(RED), "label": 0}] * 2),
    "dicts with a caption": Pairs([{"text": "red", "photo": RED}] * 2),
    "bfloat16": torch.tensor(np.stack([RED, RED]) / 255.0, dtype=torch.bfloat16),
    "odd column": Pairs([{"label": 1, "photo": RED}] * 2),
    "callable": sources.Shown(lambda i: RED, 2),
}


@pytest.mark.parametrize("thing", SHOWN_AS_RED.values(), ids=SHOWN_AS_RED)
def test_images_of_every_kind(thing):
    source = as_source(thing)
    assert source.kind == "image" and len(source) == 2
    image = source.image(1)
    assert image.mode == "RGB" and image.size == (6, 8) and image.getpixel((2, 2)) == (255, 0, 0)


def test_grey_and_normalised_images_can_be_seen():
    assert as_source(np.full((1, 5, 5), 7, np.uint8)).image(0).getpixel((0, 0)) == (7, 7, 7)
    assert as_source(np.full((1, 5, 5), -2.0)).image(0).getpixel((0, 0)) == (0, 0, 0)
    normalised = torch.linspace(-2, 2, 25).reshape(1, 1, 5, 5).expand(1, 3, 5, 5)
    low, high = as_source(normalised).image(0).convert("L").getextrema()
    assert low < 60 and high > 190


def test_images_of_few_levels_are_not_black():
    from sklearn.datasets import load_digits

    digits = load_digits().images[:300]
    for images in (digits, digits.astype(np.int64), digits.astype(np.float32)):
        shown = np.asarray(as_source(images).image(3))
        assert shown.max() >= 220 and shown.min() == 0
        assert np.array_equal(shown, np.asarray(as_source(images).take([5, 3]).image(1)))
        assert np.asarray(as_source(images).image(3, exact=True)).max() <= 16  # what is measured is as it was
    brighter = np.repeat(np.minimum(digits, 12), 2, axis=0)
    brighter[599] = digits[3]  # of every second one the largest is looked up, and this is none of them
    assert np.asarray(as_source(brighter).image(599)).max() == 255
    dark = (digits / 16 * 60).astype(np.uint8)  # bytes are pixels, however dark
    assert np.asarray(as_source(dark).image(3)).max() <= 60
    for images in (digits / 16, digits / 16 * 255):
        assert np.asarray(as_source(images).image(3)).max() >= 220


def test_exact_images_are_never_stretched():
    torch.manual_seed(0)
    normalised = torch.rand(2, 3, 5, 5) * 4.7 - 2.1
    normalised[0, 0, 0, :2] = torch.tensor([-2.1, 2.6])
    for thing in (normalised, Pairs([(image, 0) for image in normalised]), sources.Shown(lambda i: normalised[i], 2)):
        source = as_source(thing)
        assert source.image(0).size == (5, 5)
        with pytest.raises(sources.UnreadableExample) as refusal:
            source.image(0, exact=True)
        assert str(refusal.value) == (
            "cannot read example 0: its values run from -2.1 to 2.6, so it is normalised: "
            "give source= with the images as they were"
        )


@pytest.mark.parametrize("values", [RED, RED / 255, RED / 255 * (1 + 1e-4), RED.astype(float), RED.astype(np.int64)])
def test_exact_images_are_the_shown_ones_where_nothing_is_stretched(values):
    source = as_source(values[None])
    assert source.image(0, exact=True).tobytes() == source.image(0).tobytes() == RED.tobytes()


def test_exact_images_refuse_what_eight_bits_do_not_hold():
    with pytest.raises(sources.UnreadableExample, match=r"from 0 to 3e\+03, which are no 8-bit pixels"):
        as_source(np.full((1, 4, 4), 3000, np.uint16) * np.eye(4, dtype=np.uint16)).image(0, exact=True)


def test_rows_of_a_frame_are_facts_line_by_line():
    frame = pd.DataFrame([[1, "two\nlines", None, 1 / 3]], columns=["a", "b", "b", "c"])
    assert as_source(frame).text(0) == "a 1\nb two lines\nb missing\nc 0.333333"
    assert as_source(pl.DataFrame({"a": [1, 2], "b": ["x", None]})).take([1]).text(0) == "a 2\nb missing"
    wide = as_source(pd.DataFrame(np.zeros((2, 5000)))).text(1)
    assert wide.startswith("0 0\n1 0\n") and wide.endswith("\n59 0\n…")
    long = as_source(pd.DataFrame({"review": ["good " * 300], "stars": [5]})).text(0)
    assert long.endswith("…\nstars 5") and len(long) < 250
    with pytest.raises(ValueError, match="empty"):
        as_source(frame.iloc[:0])


class MySource:
    """A source that someone wrote: it knows nothing of `exact` or `take`."""

    kind = "image"

    def __len__(self):
        return 3

    def image(self, row):
        return Image.new("RGB", (row + 1, 1))


def test_a_source_of_your_own_does_what_ours_do():
    source = as_source(MySource())
    assert source.kind == "image" and len(source) == 3
    assert source.image(2).size == source.take([2]).image(0, exact=True).size == (3, 1)
    assert as_source(source) is source


def test_usual_text_columns_come_before_other_strings():
    assert as_source(Pairs([{"id": "a1", "sentence": "one"}])).text(0) == "one"


def test_flat_images_leave_it_to_the_items():
    flat = Pairs([(RED, 0)] * 2)
    flat.images = np.zeros((2, 784))
    assert as_source(flat).image(0).getpixel((0, 0)) == (255, 0, 0)


def test_a_series_of_texts_goes_by_position():
    assert as_source(pd.Series(["a", "b"], index=[1, 0])).text(0) == "a"


@pytest.mark.parametrize(
    "thing",
    [
        ["one", "two"],
        Pairs([("one", 0), ("two", 1)]),
        Pairs([{"label": 0, "review": "one"}, {"label": 1, "review": "two"}]),
    ],
)
def test_texts_of_every_kind(thing):
    source = as_source(thing)
    assert source.kind == "text" and source.text(1) == "two" and source.take([1]).text(0) == "two"


def test_image_folder_and_broken_files(tmp_path):
    for name in ("b/2.png", "a/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(RED).save(tmp_path / name)
    (tmp_path / "a" / "0.png").write_bytes(b"not a picture")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    source = as_source(tmp_path)
    assert len(source) == 3 and source.image(2).size == (6, 8)
    with pytest.raises(sources.UnreadableExample, match=r"cannot read .*a/0\.png"):
        source.image(0)
    assert len(as_source([tmp_path / "a" / "1.png"])) == 1


def test_taking_rows_twice_composes():
    source = as_source(["a", "b", "c", "d"]).take([3, 1, 0]).take([2, 0])
    assert [source.text(i) for i in range(2)] == ["a", "d"]
    with pytest.raises(IndexError):
        source.text(2)


def test_a_failing_data_set_is_named_not_fatal():
    source = sources.Shown(lambda i: 1 / 0, 3)
    with pytest.raises(sources.UnreadableExample, match="cannot read example 1: ZeroDivisionError"):
        source.image(1)


class NoLength(Pairs):
    def __len__(self):
        raise TypeError("streams\nhave no length")


class BrokenProperty(Pairs):
    @property
    def images(self):
        raise RuntimeError("not loaded")


UNSHOWABLE = {
    "number": 3,
    "rows of features": Pairs([(1.5, 0)]),
    "vectors": Pairs([np.ones(4)]),
    "table": np.ones((3, 4)),
    "zero dimensions": np.array(3),
    "dictionary": {"train": [1]},
    "no length": NoLength([1]),
    "broken property": BrokenProperty([1]),
    "token numbers": Pairs([{"input_ids": np.ones((1, 128), int)}]),
    "broken later": Pairs(["a.png", None]),
    "empty dict": Pairs([{}]),
}


@pytest.mark.parametrize("thing", UNSHOWABLE.values(), ids=UNSHOWABLE)
def test_what_cannot_be_shown_is_refused_in_one_line(thing):
    with pytest.raises(TypeError, match="cannot show examples") as refusal:
        as_source(thing)
    assert "\n" not in str(refusal.value)


def test_bad_sources_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no image files"):
        sources.ImageFiles.folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sources.ImageFiles.folder(tmp_path / "none")
    with pytest.raises(ValueError, match="empty"):
        as_source([])
    with pytest.raises(ValueError, match="empty"):
        as_source(np.ones((0, 4, 4)))
    with pytest.raises(ValueError, match="kind must be"):
        sources.Shown(str, 2, kind="sound")
