import numpy as np
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
    normalised = torch.linspace(-2, 2, 25).reshape(1, 1, 5, 5).expand(1, 3, 5, 5)
    low, high = as_source(normalised).image(0).convert("L").getextrema()
    assert low < 60 and high > 190


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


@pytest.mark.parametrize("thing", [3, Pairs([(1.5, 0)]), Pairs([np.ones(4)])])
def test_what_cannot_be_shown_is_refused(thing):
    with pytest.raises(TypeError, match="cannot show examples"):
        as_source(thing)


def test_bad_sources_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no image files"):
        sources.ImageFiles.folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sources.ImageFiles.folder(tmp_path / "none")
    with pytest.raises(ValueError, match="empty"):
        as_source([])
    with pytest.raises(ValueError, match="kind must be"):
        sources.Shown(str, 2, kind="sound")
