"""The Explorer from a notebook's side: state, selection, slices, verdicts in words, names that persist."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import polars as pl
import pytest
import traitlets
from widget_cases import Wire, make_evaluation, make_slice

from failviz import projection
from failviz.annotations import Annotations, fingerprint
from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.sources import as_source
from failviz.verification import verify
from failviz.widget import Explorer
from failviz.widget.channels import few

Build = Callable[..., Explorer]


# -- selection ---------------------------------------------------------------------------------


def test_selection_takes_ids_slices_masks_and_none_and_gives_ids(explorer: Explorer) -> None:
    evaluation = explorer.evaluation
    explorer.selection = ["img-7", "img-2"]
    assert explorer.selection == ["img-2", "img-7"]
    explorer.selection = explorer.slices[0]
    assert explorer.selection == explorer.slices[0].members.tolist()
    explorer.selection = evaluation.errors
    assert explorer.selection_state["count"] == int(evaluation.errors.sum())
    explorer.selection = [True] + [False] * 119
    assert explorer.selection == ["img-0"]
    explorer.selection = None
    assert explorer.selection == []


def test_every_change_of_the_selection_is_a_new_revision(explorer: Explorer) -> None:
    before = explorer.selection_state["revision"]
    seen: list[dict[str, int]] = []
    explorer.observe(lambda change: seen.append(change["new"]), "selection_state")
    explorer.selection = ["img-1", "img-3"]
    explorer.selection = ["img-2", "img-4"]
    assert [state["revision"] for state in seen] == [before + 1, before + 2]


def test_an_unknown_id_is_named_and_the_selection_stays(explorer: Explorer) -> None:
    with pytest.raises(ValueError, match="'img-999'"):
        explorer.selection = ["img-0", "img-999"]
    assert explorer.selection == ["img-1", "img-3"]


def test_a_mask_of_the_wrong_length_and_a_foreign_slice_are_refused(explorer: Explorer) -> None:
    with pytest.raises(ValueError, match=r"shape \(120,\)"):
        explorer.selection = np.ones(3, dtype=bool)
    with pytest.raises(ValueError, match="another Evaluation"):
        explorer.selection = make_slice(make_evaluation(seed=1))


def test_a_bitset_from_the_browser_becomes_the_selection_in_python(explorer: Explorer) -> None:
    mask = np.zeros(120, dtype=bool)
    mask[[0, 9, 119]] = True
    bits = np.packbits(mask, bitorder="little")
    reply = Wire(explorer).ask("select", {"how": "bitset", "slice": None}, [memoryview(bits.tobytes())])
    assert reply["result"]["count"] == 3
    assert explorer.selection == ["img-0", "img-9", "img-119"]
    assert explorer.selected()[1] == [bits.tobytes()]


# -- state -------------------------------------------------------------------------------------


def test_active_slice_takes_a_key_a_name_or_a_slice(explorer: Explorer) -> None:
    found, drawn = explorer.slices
    key = explorer.active_slice
    explorer.active_slice = "my group"
    assert explorer.active_slice.startswith("d")
    explorer.active_slice = found
    assert explorer.active_slice == key
    explorer.active_slice = drawn
    explorer.active_slice = None
    assert explorer.active_slice is None


def test_an_unknown_slice_is_refused_in_a_sentence(explorer: Explorer) -> None:
    with pytest.raises(traitlets.TraitError, match="There is no slice 'f9' here"):
        explorer.active_slice = "f9"


def test_a_renamed_slice_still_answers_to_the_name_it_was_found_under(explorer: Explorer) -> None:
    found, before = explorer.slices[0].name, len(explorer.annotations)
    for _ in range(2):  # as a notebook that is run twice
        explorer.active_slice = found
        explorer.label_slice(found, name="on grass")
    assert explorer.slices[0].name == "on grass"
    assert len(explorer.annotations) == before + 1


def test_the_selection_can_be_observed(explorer: Explorer) -> None:
    heard: list[Any] = []
    explorer.observe(heard.append, "selection")
    explorer.selection = ["img-7", "img-2"]
    explorer.selection = ["img-2", "img-7"]
    Wire(explorer).ask("select", {"how": "clear", "slice": None})
    explorer.unobserve(heard.append, "selection")
    explorer.selection = ["img-9"]
    assert [(change.old, change.new, change.owner) for change in heard] == [
        (["img-1", "img-3"], ["img-2", "img-7"], explorer),
        (["img-2", "img-7"], [], explorer),
    ]


def test_the_selection_links_both_ways(evaluation: Evaluation, explorer: Explorer, open_explorer: Build) -> None:
    other = open_explorer(evaluation)
    ids = ipywidgets.TagsInput(allowed_tags=evaluation.ids.tolist())
    between = ipywidgets.link((explorer, "selection"), (other, "selection"))
    ipywidgets.link((ids, "value"), (other, "selection"))
    explorer.selection = ["img-4", "img-2"]
    assert other.selection == ids.value == ["img-2", "img-4"]
    ids.value = ["img-5"]
    assert explorer.selection == other.selection == ["img-5"]
    between.unlink()
    other.selection = None
    assert (explorer.selection, ids.value) == (["img-5"], [])


def test_what_another_kernel_says_reaches_the_screen(
    evaluation: Evaluation, open_explorer: Build, tmp_path: Path
) -> None:
    explorer = open_explorer(evaluation, make_slice(evaluation), tmp_path / "said.sqlite")
    elsewhere = Annotations(tmp_path / "said.sqlite", evaluation)
    elsewhere.label(explorer.slices[0], name="on grass")
    for _ in range(2):
        assert "result" in Wire(explorer).ask("selection")
        assert explorer.revisions["slices"] == 1
    elsewhere.close()
    explorer.annotations.close()
    assert "result" in Wire(explorer).ask("selection")


def test_the_slice_in_hand_is_at_hand(evaluation: Evaluation, explorer: Explorer, open_explorer: Build) -> None:
    explorer.active_slice = "my group"
    explorer.label_slice("my group", name="ours")
    in_hand = explorer.in_hand
    assert in_hand is not None
    assert (in_hand.name, in_hand.members.tolist()) == ("ours", ["img-1", "img-3"])
    assert open_explorer(evaluation).in_hand is None


def test_two_explorers_of_one_evaluation_hear_of_each_other(tmp_path: Path) -> None:
    evaluation = make_evaluation()
    place = tmp_path / "said.sqlite"
    one, two = (Explorer(evaluation, [make_slice(evaluation)], annotations=place, layout="pca") for _ in range(2))
    before = two.revisions["slices"]
    one.label_slice(one.slices[0].name, name="on grass")
    assert two.slices[0].name == "on grass" and two.revisions["slices"] > before
    assert two.slice_table()["history"]["n_labels"] == 1
    one.close()
    two.undo()
    assert two.slices[0].name == "sneaker, hardest"
    two.close()


def test_the_map_is_drawn_in_the_space_that_was_searched() -> None:
    evaluation = make_evaluation()
    two = Evaluation(
        {"own": evaluation.space() * 0 + 1, "searched": evaluation.space()},
        labels=evaluation.labels,
        predictions=evaluation.predictions,
    )
    found = make_slice(two)
    found = replace(found, seen={"searched": np.zeros((1, 3), dtype=np.uint64)})
    opened = Explorer(two, [found], annotations=":memory:", layout="pca")
    facts, (points,) = opened.map_positions()
    assert facts["method"] == "PCA of searched" and len(set(points)) > 4
    opened.close()


def test_a_name_of_an_earlier_session_gives_way_to_what_is_found_now(tmp_path: Path) -> None:
    evaluation = make_evaluation()
    place = tmp_path / "said.sqlite"
    found = make_slice(evaluation)
    first = Explorer(evaluation, [found], annotations=place, layout="pca")
    first.label_slice(found.name, name="on grass")
    first.close()
    other = replace(found, weights=np.roll(found.weights, 1) * found.in_scope, scores=np.roll(found.scores, 0))
    again = Explorer(evaluation, [other], annotations=place, layout="pca")
    for _ in range(2):
        again.active_slice = found.name
        assert again.active_slice == fingerprint(other)
        again.label_slice(found.name, name="on grass")
    again.close()


def test_an_ambiguous_name_is_refused_with_the_keys(explorer: Explorer) -> None:
    explorer.create_slice("my group")
    with pytest.raises(traitlets.TraitError, match="2 slices are called 'my group': use a key, d"):
        explorer.active_slice = "my group"


def test_a_view_that_names_a_removed_slice_changes_nothing(explorer: Explorer) -> None:
    before = explorer.active_slice
    for stale in ("d0000", 3, ["d0000"]):
        explorer.set_state({"active_slice": stale})
        assert explorer.active_slice == before
    explorer.set_state({"active_slice": explorer.slice_table()["slices"][1]["key"]})
    assert explorer.slices[1].name == "my group"
    assert explorer.active_slice != before


@pytest.mark.parametrize("step", [-1, 21])
def test_a_step_out_of_range_is_refused(explorer: Explorer, step: int) -> None:
    with pytest.raises(traitlets.TraitError, match="between 0 and 20"):
        explorer.step = step


def test_state_links_to_other_widgets_and_nests(explorer: Explorer) -> None:
    slider = ipywidgets.IntSlider(max=explorer.n_steps - 1)
    ipywidgets.link((slider, "value"), (explorer, "step"))
    slider.value = 17
    assert explorer.step == 17
    explorer.step = 3
    assert slider.value == 3
    dropdown = ipywidgets.Dropdown(options=[None, *(row["key"] for row in explorer.slice_table()["slices"])])
    ipywidgets.link((explorer, "active_slice"), (dropdown, "value"))
    dropdown.index = 2
    assert explorer.active_slice == dropdown.value
    assert explorer in ipywidgets.HBox([explorer]).children
    assert explorer in ipywidgets.Tab([explorer]).children


def test_the_browser_sets_its_own_state_and_not_pythons(explorer: Explorer) -> None:
    before = explorer.selection_state
    explorer.set_state({"step": 4, "selection_state": {"count": 99, "revision": 99}, "n_steps": 3})
    assert explorer.step == 4
    assert explorer.selection_state == before
    assert explorer.n_steps == 21


def test_what_python_keeps_is_not_set_by_a_cell_and_nonsense_is_refused(explorer: Explorer) -> None:
    for name, value in (("selection_state", {"count": 5}), ("revisions", {}), ("n_steps", 5)):
        with pytest.raises(traitlets.TraitError, match="read-only"):
            setattr(explorer, name, value)
    with pytest.raises(traitlets.TraitError, match="map"):
        explorer.view = "nonsense"
    with pytest.raises(traitlets.TraitError, match="step must be a whole number"):
        explorer.step = True
    with pytest.raises(TypeError, match="selection must be ids, a Slice, a boolean mask or None, not int"):
        explorer.selection = 5
    explorer.selection = explorer.evaluation.ids[:1]
    assert explorer.selection_state["count"] == 1
    for height in (-5, "big"):
        with pytest.raises((TypeError, ValueError), match="height must be"):
            Explorer(explorer.evaluation, annotations=":memory:", height=height)


def test_the_text_form_says_what_is_there(explorer: Explorer) -> None:
    bundle = explorer._repr_mimebundle_()
    text = bundle[0]["text/plain"]
    assert text.splitlines()[0] == "Explorer: 120 images, 18 wrong; 2 slices"
    assert "sneaker, hardest: 13 of 14 wrong, confirmed" in text


def test_height_reaches_the_screen(evaluation: Evaluation, open_explorer: Build) -> None:
    assert open_explorer(evaluation, height=700).layout.height == "700px"


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "words"),
    [
        (("not an evaluation",), {}, TypeError, "Explorer shows an Evaluation, not str"),
        ((None, 3), {}, TypeError, "expected a fitted finder or slices, not int"),
        ((None, ()), {"space": "clip"}, ValueError, "no space 'clip'"),
        ((None, ()), {"layout": "circle"}, ValueError, "layout method must be"),
        ((None, ()), {"layout": np.zeros((3, 2))}, ValueError, r"shape \(120, 2\)"),
        ((None, (), 7), {}, TypeError, "annotations must be Annotations or a path"),
    ],
)
def test_bad_arguments_are_refused(
    evaluation: Evaluation, arguments: Any, options: Any, kind: type[Exception], words: str
) -> None:
    first, *rest = arguments
    rest = rest if len(rest) > 1 else [*(rest or [()]), ":memory:"]
    with pytest.raises(kind, match=words):
        Explorer(evaluation if first is None else first, *rest, **options)


def test_a_foreign_slice_is_refused(evaluation: Evaluation) -> None:
    with pytest.raises(ValueError, match="belongs to another Evaluation"):
        Explorer(evaluation, make_slice(make_evaluation(seed=1)), ":memory:")


def test_annotations_about_another_evaluation_are_refused(evaluation: Evaluation) -> None:
    other = Annotations(":memory:", make_evaluation(seed=1))
    with pytest.raises(ValueError, match="another Evaluation"):
        Explorer(evaluation, (), other)
    other.close()


def test_nothing_to_show_is_still_an_explorer(open_explorer: Build) -> None:
    explorer = open_explorer(make_evaluation(4))
    assert explorer.active_slice is None
    assert explorer.slices == []
    assert (
        "no slice to show"
        in Wire(explorer).ask(
            "gallery", {"of": "slice", "slice": None, "order": "score", "only": "all", "offset": 0, "limit": 5}
        )["error"]["message"]
    )


# -- verdicts in words -------------------------------------------------------------------------


def row_of(explorer: Explorer, place: int = 0) -> dict[str, Any]:
    return explorer.slice_table()["slices"][place]


def test_a_slice_the_search_did_not_see_is_confirmed_with_its_numbers(explorer: Explorer) -> None:
    row = row_of(explorer)
    assert (row["status"], row["badge"]) == ("confirmed", "confirmed")
    assert row["explanation"] == (
        "Held-out images the search never saw: 13 of 14 wrong, against 0 of 46 elsewhere in the class. "
        "Of all slices marked confirmed, at most 10% are expected to be chance."
    )
    assert (row["confused_as"], row["confused_with"]) == ("mistaken for", [{"name": "sandal", "count": 13}])


def test_the_wrong_members_of_a_group_of_one_prediction_are_really_something_else(
    evaluation: Evaluation, open_explorer: Build
) -> None:
    score = np.where(evaluation.predictions == 0, evaluation.space()[:, 0] - 0.5, -np.inf)
    taken = Slice.of(evaluation, scores=score, weights=score > 0, scope=("prediction", 0), name="a", method="a tree")
    row = row_of(open_explorer(evaluation, [taken]))
    n = int((taken.is_member & evaluation.errors).sum())
    assert n > 0 and (row["confused_as"], row["confused_with"]) == ("really", [{"name": "sneaker", "count": n}])


def test_a_slice_found_on_these_very_rows_is_never_confirmed(evaluation: Evaluation, open_explorer: Build) -> None:
    slice_ = make_slice(evaluation, seen={"embedding": evaluation.row_fingerprints()})
    row = row_of(open_explorer(evaluation, [slice_]))
    assert (row["status"], row["badge"]) == ("in-sample", "seen while searching")
    assert "not a held-out test" in row["explanation"]


def test_a_slice_without_a_record_of_its_search_says_so(evaluation: Evaluation, open_explorer: Build) -> None:
    assert "is not recorded" in row_of(open_explorer(evaluation, make_slice(evaluation, seen={})))["explanation"]


def test_a_slice_that_reads_the_outcome_proves_nothing(evaluation: Evaluation, open_explorer: Build) -> None:
    row = row_of(open_explorer(evaluation, make_slice(evaluation, uses_outcome=True)))
    assert (row["status"], row["badge"]) == ("not confirmed", "reads the outcome")


def test_an_unsettled_slice_says_about_how_many_more(open_explorer: Build) -> None:
    evaluation = make_evaluation(24, seed=3)
    member = np.zeros(24)
    member[np.flatnonzero(evaluation.errors)[:1]] = 1
    member[np.flatnonzero(evaluation.correct)[:2]] = 1
    slice_ = Slice.of(evaluation, scores=member, weights=member, scope="all", name="few", method="by hand")
    row = row_of(open_explorer(evaluation, slice_))
    assert row["status"] == "needs more"
    assert row["badge"].startswith("needs about ")
    assert "would probably settle whether it" in row["explanation"]


def test_a_space_whose_rows_repeat_claims_no_held_out_test(open_explorer: Build) -> None:
    evaluation = make_evaluation()
    table = Evaluation(
        np.round(evaluation.space()[:, :1]), labels=evaluation.labels, predictions=evaluation.predictions
    )
    row = row_of(open_explorer(table, make_slice(table, seen={"embedding": table.row_fingerprints()})))
    assert "never saw" not in row["explanation"] and "cannot be told" in row["explanation"]


def test_an_empty_and_a_harmless_slice_are_not_confirmed(evaluation: Evaluation, open_explorer: Build) -> None:
    easy = make_slice(evaluation, "easy")
    easy = replace(~easy, name="easy")
    none = replace(make_slice(evaluation, "none"), weights=np.zeros(120))
    rows = open_explorer(evaluation, [easy, none]).slice_table()["slices"]
    assert [(row["status"], row["badge"]) for row in rows] == [
        ("not confirmed", "not confirmed"),
        ("not confirmed", "empty"),
    ]
    assert rows[1]["error_rate"] is None


def test_verdicts_that_were_given_are_shown_as_they_are(evaluation: Evaluation, open_explorer: Build) -> None:
    verdicts = verify([make_slice(evaluation)], evaluation)
    explorer = open_explorer(evaluation, verdicts)
    assert explorer.verdicts[0] == verdicts[0] or explorer.verdicts[0].p == verdicts[0].p
    assert len(open_explorer(evaluation, [verdicts[0], make_slice(evaluation)]).slices) == 1  # the same group once


class Finder:
    """A fitted finder, as far as the Explorer is concerned."""

    def fit(self, evaluation: Evaluation) -> "Finder":
        self.seen = {"embedding": evaluation.row_fingerprints()}
        return self

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        return [make_slice(evaluation, seen=self.seen)]


def test_a_fitted_finder_is_verified_on_new_rows_and_only_measured_on_its_own(open_explorer: Build) -> None:
    ours, other = make_evaluation(seed=5), make_evaluation(seed=6)
    finder = Finder().fit(other)
    assert row_of(open_explorer(ours, finder))["status"] == "confirmed"
    assert row_of(open_explorer(other, finder))["status"] == "in-sample"


# -- names, tags, drawn slices -----------------------------------------------------------------


def test_a_name_for_a_found_slice_is_there_again_after_reopening(
    evaluation: Evaluation, open_explorer: Build, tmp_path: Path
) -> None:
    place = tmp_path / "labels.sqlite"
    first = open_explorer(evaluation, make_slice(evaluation), Annotations(place, evaluation))
    key = first.active_slice
    assert first.label_slice(key, "on grass", ["background"], "more of these")["message"] == "saved"
    first.selection = ["img-5"]
    first.create_slice("mine")
    again = open_explorer(make_evaluation(), make_slice(evaluation), Annotations(place, evaluation))
    found, drawn = again.slice_table()["slices"]
    assert (found["key"], found["name"], found["tags"]) == (key, "on grass", ["background"])
    assert (found["note"], found["found_name"], found["status"]) == ("more of these", "sneaker, hardest", "confirmed")
    assert (drawn["name"], drawn["kind"], drawn["n"]) == ("mine", "drawn", 1)
    without = open_explorer(evaluation, (), Annotations(place, evaluation))
    assert [row["badge"] for row in without.slice_table()["slices"]] == ["named earlier", "drawn on these data"]
    for explorer in (first, again, without):
        explorer.annotations.close()


def test_a_given_path_is_where_labels_go(evaluation: Evaluation, open_explorer: Build, tmp_path: Path) -> None:
    explorer = open_explorer(evaluation, (), str(tmp_path / "here.sqlite"))
    assert explorer.overview()["notice"] is None
    assert (tmp_path / "here.sqlite").exists()
    explorer.annotations.close()


def test_undo_and_redo_move_through_what_was_said(explorer: Explorer) -> None:
    key = explorer.active_slice
    explorer.label_slice(key, "on grass", [], "")
    assert explorer.slices[0].name == "on grass"
    assert explorer.undo() == {"message": "undid: name a slice"}
    assert explorer.slices[0].name == "sneaker, hardest"
    history = explorer.slice_table()["history"]
    assert (history["undo"], history["redo"]) == ("draw a slice", "name a slice")
    explorer.redo()
    assert explorer.slices[0].name == "on grass"
    assert explorer.redo() == {"message": "nothing to redo"}


def test_undoing_a_new_slice_returns_to_the_one_before(explorer: Explorer) -> None:
    assert len(explorer.slices) == 2
    explorer.active_slice = "my group"
    before = explorer.active_slice
    explorer.selection = [f"img-{i}" for i in (3, 4, 5)]
    explorer.active_slice = explorer.create_slice("mine")["key"]
    explorer.selection = [f"img-{i}" for i in (7, 8)]
    explorer.active_slice = explorer.create_slice("another")["key"]
    assert len(explorer.slices) == 4
    explorer.undo()
    explorer.undo()
    assert explorer.active_slice == before != fingerprint(explorer.slices[0])


def test_removing_the_slice_in_hand_takes_the_next_one(explorer: Explorer) -> None:
    explorer.active_slice = "my group"
    revision = explorer.revisions["slices"]
    explorer.delete_slice(explorer.active_slice)
    assert explorer.active_slice == fingerprint(explorer.slices[0])
    assert explorer.revisions["slices"] > revision
    explorer.undo()
    assert [slice_.name for slice_ in explorer.slices] == ["sneaker, hardest", "my group"]


def test_what_is_said_in_a_cell_reaches_the_screen(explorer: Explorer) -> None:
    revision = explorer.revisions["slices"]
    explorer.annotations.draw(["img-9"], "from a cell")
    assert explorer.revisions["slices"] == revision + 1
    assert explorer.slices[-1].name == "from a cell"


def test_drawing_nothing_is_refused(explorer: Explorer) -> None:
    explorer.selection = None
    reply = Wire(explorer).ask("create_slice", {"name": "x", "tags": [], "note": ""})
    assert "nothing is selected" in reply["error"]["message"]


# -- galleries and directions ------------------------------------------------------------------


def test_a_gallery_shows_members_hardest_first_page_by_page(explorer: Explorer) -> None:
    found = explorer.slices[0]
    whole = explorer.gallery(limit=500)
    scores = [example["score"] for example in whole["examples"]]
    assert whole["total"] == len(found) == len(scores)
    assert scores == sorted(scores, reverse=True)
    pages = [explorer.gallery(offset=start, limit=5)["examples"] for start in (0, 5, 10)]
    assert [example for page in pages for example in page] == whole["examples"]
    by_loss = [example["loss"] for example in explorer.gallery(of="all", order="loss", only="wrong")["examples"]]
    assert by_loss == sorted(by_loss, reverse=True)
    assert explorer.gallery(of="selection", slice=None, order="score")["total"] == 2
    everything = explorer.gallery(of="all", slice=explorer.active_slice, limit=500)["examples"]
    assert everything[0]["score"] == max(scores)
    assert everything[-1]["score"] is None  # out of scope comes last, and -inf never enters JSON


def test_steps_run_from_easiest_to_hardest_through_the_whole_scope(explorer: Explorer) -> None:
    key = explorer.active_slice
    answer = explorer.direction(key)
    scores = [step["score"] for step in answer["steps"]]
    in_scope = explorer.slices[0].scores[explorer.slices[0].in_scope]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (in_scope.min(), in_scope.max())
    assert sum(answer["right"]) + sum(answer["wrong"]) == answer["n"] == len(in_scope)
    assert len(answer["edges"]) == len(answer["right"]) + 1
    assert answer["boundary"] == 0.0
    for step in (0, 10, 20):
        strip = explorer.strip(key, step, 11)
        assert strip["examples"][strip["centre"]]["score"] == scores[step]
        assert [example["score"] for example in strip["examples"]] == sorted(e["score"] for e in strip["examples"])


def test_a_drawn_slice_has_no_direction(explorer: Explorer) -> None:
    reply = Wire(explorer).ask("direction", {"slice": "my group"})
    assert "has no direction to step along" in reply["error"]["message"]


def test_any_metadata_can_be_shown_and_free_text_is_no_colour(open_explorer: Build) -> None:
    n = 120
    columns: dict[str, Any] = {
        "ragged": [[1], [2, [3]]] * (n // 2),
        "when": pd.date_range("2026-01-01", periods=n),
        "took": pd.to_timedelta(np.arange(n), unit="s").to_series().mask(np.arange(n) == 1).reset_index(drop=True),
        "sentence": [f"sentence {i}" for i in range(n)],
        "camera": [f"camera {i % 40:02}" for i in range(n)],
        "empty": [None] * n,
        "maybe": pd.array([True, None, False] * (n // 3), dtype="boolean"),
        "count": pd.array([1, None] * (n // 2), dtype="Int64"),
        "width": range(n),
        "ratio": [0.5, float("nan"), float("inf"), 2.0] * (n // 4),
        "caption": ["a shoe", None] * (n // 2),
    }
    explorer = open_explorer(make_evaluation(n, metadata=pd.DataFrame(columns)))
    kinds = {channel["label"]: channel["kind"] for channel in explorer.overview()["channels"]}
    assert not {"sentence", "empty"} & set(kinds)
    assert explorer.channel("meta:when")[0]["categories"] == ["2026-01", "2026-02", "2026-03", "2026-04"]
    facts, [codes] = explorer.channel("meta:took")
    assert (kinds["took (s)"], facts["high"], codes[1]) == ("number", 118.0, 255)
    assert (kinds["width"], kinds["ratio"], kinds["count"]) == ("number", "number", "category")
    facts, [codes] = explorer.channel("meta:camera")
    assert len(facts["categories"]) == 21
    assert facts["categories"][-1] == "other"
    assert set(codes) == set(range(21))
    assert explorer.channel("meta:maybe")[0]["categories"] == ["False", "True"]
    assert list(explorer.channel("meta:maybe")[1][0][:3]) == [1, 255, 0]
    facts, [codes] = explorer.channel("meta:ratio")
    assert (facts["low"], facts["high"], list(codes[:4])) == (0.5, 2.0, [0, 255, 255, 254])
    assert explorer.channel("meta:count")[0]["categories"] == ["1"]
    shown = dict(explorer.example(1)["metadata"])
    assert (shown["maybe"], shown["ragged"], shown["caption"]) == ("missing", "[2, [3]]", "missing")
    captions = [example["caption"] for example in explorer.gallery(of="all", limit=500)["examples"]]
    assert set(captions) == {"a shoe", None}


def test_a_thousand_classes_become_twenty_and_other() -> None:
    numbers = np.concatenate([np.arange(1000), np.repeat(np.arange(500, 520), 5)])
    codes, names = few(numbers, [f"class {i}" for i in range(1000)], np.bincount(numbers))
    assert names == [*(f"class {i}" for i in range(500, 520)), "other"]
    assert codes[0] == 20
    assert codes[505] == 5


# -- pictures ----------------------------------------------------------------------------------


def test_an_unreadable_picture_is_named_and_the_others_come(open_explorer: Build, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (20, 10), (i, i, i)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    evaluation = make_evaluation(3, source=sorted(tmp_path.glob("*.png")))
    reply, buffers = open_explorer(evaluation).thumbnails([2, 1, 0], 64)
    assert [item["buffer"] for item in reply["items"]] == [0, None, 1]
    assert "1.png" in reply["items"][1]["error"]
    assert len(buffers) == 2


def test_texts_come_as_text_and_no_source_as_a_sentence(open_explorer: Build) -> None:
    explorer = open_explorer(make_evaluation(4, source=["a film", "b " * 900, "c", "d"]))
    first, second = explorer.thumbnails([0, 1])[0]["items"]
    assert first["text"] == "a film"
    assert second["text"].endswith("…")
    assert explorer.overview()["unit"] == "texts"
    [item] = open_explorer(make_evaluation(4, source=None, metadata=None)).thumbnails([0])[0]["items"]
    assert "without a source" in item["error"]


def test_rows_of_a_table_show_their_facts(open_explorer: Build) -> None:
    unshown = make_evaluation(4, source=None)
    explorer = open_explorer(unshown)
    [item] = explorer.thumbnails([1])[0]["items"]
    facts = unshown.metadata.iloc[1]
    assert item["text"] == f"background {facts['background']}\nbrightness {facts['brightness']:.6g}\nyear 2001"
    assert (explorer.overview()["unit"], explorer.overview()["source"]) == ("examples", "text")
    table = make_evaluation(
        4, source=as_source(pl.DataFrame({"age": [54, 3, 7, 9], "city": ["Oslo", None, "Bern", "Rome"]}))
    )
    explorer = open_explorer(table)
    assert [item["text"] for item in explorer.thumbnails([0, 1])[0]["items"]] == [
        "age 54\ncity Oslo",
        "age 3\ncity missing",
    ]
    assert explorer.overview()["unit"] == "rows"


# -- the layout --------------------------------------------------------------------------------


def test_pca_comes_at_once_and_the_better_layout_follows(
    evaluation: Evaluation, open_explorer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def embed(self: Any, reduced: np.ndarray, *_: Any) -> np.ndarray:
        assert go.wait(10)
        return reduced[:, 1::-1]

    monkeypatch.setattr(projection.EmbedInChild, "__call__", embed)
    explorer = open_explorer(evaluation, layout="tsne")
    facts, [points] = explorer.map_positions()
    assert facts == {"n": 120, "method": "PCA", "final": False, "revision": 1}
    go.set()
    assert explorer.wait_for_layout(10)
    better, [moved] = explorer.map_positions()
    assert better == {"n": 120, "method": "t-SNE", "final": True, "revision": 2}
    assert moved != points
    assert explorer.revisions["layout"] == 1


def test_a_cell_that_is_run_again_computes_its_map_once(
    evaluation: Evaluation, open_explorer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def embed(self: Any, reduced: np.ndarray, *_: Any) -> np.ndarray:
        calls.append(len(reduced))
        time.sleep(0.2)
        return reduced[:, :2]

    monkeypatch.setattr("failviz.widget.positions._FINISHED", {})
    monkeypatch.setattr(projection.EmbedInChild, "__call__", embed)
    explorers = [open_explorer(evaluation, layout="tsne") for _ in range(3)]
    for explorer in explorers:
        explorer.map_positions()
    assert all(explorer.wait_for_layout(10) for explorer in explorers) and len(calls) == 1
    assert {explorer.map_positions()[0]["method"] for explorer in explorers} == {"t-SNE"}


def test_a_layout_that_fails_leaves_pca(
    evaluation: Evaluation, open_explorer: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the layout could not be computed (no room): the PCA map stays.")

    monkeypatch.setattr("failviz.widget.positions._FINISHED", {})
    monkeypatch.setattr(projection.EmbedInChild, "__call__", fail)
    explorer = open_explorer(evaluation, layout="tsne")
    assert explorer.wait_for_layout(10)
    said = "PCA (the better map failed: no room)"
    assert explorer.map_positions()[0] == {"n": 120, "method": said, "final": True, "revision": 2}
    assert "no room" in caplog.text


def test_a_given_layout_is_used(evaluation: Evaluation, open_explorer: Build) -> None:
    explorer = open_explorer(evaluation, layout=evaluation.space()[:, :2])
    assert explorer.map_positions()[0]["method"] == "given"


# -- many threads ------------------------------------------------------------------------------


def test_requests_from_many_threads_are_each_answered_once(explorer: Explorer) -> None:
    wire = Wire(explorer)
    key = explorer.active_slice
    asked: list[str] = []

    def hammer(worker: int) -> None:
        for i in range(15):
            for command, args in (
                ("gallery", {"of": "slice", "slice": key, "order": "score", "only": "all", "offset": 0, "limit": 5}),
                ("thumbnails", {"rows": [worker, i], "size": 32}),
                ("select", {"how": "slice", "slice": key}),
                ("create_slice", {"name": f"{worker}-{i}", "tags": [], "note": ""}),
                ("slices", {}),
                ("undo", {}),
            ):
                identity = f"{worker}-{i}-{command}"
                asked.append(identity)
                explorer._handle_custom_msg({"id": identity, "command": command, "args": args}, [])

    threads = [threading.Thread(target=hammer, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    answered = [reply["id"] for reply, _ in wire.replies]
    assert sorted(answered) == sorted(asked)
    assert [reply for reply, _ in wire.replies if "error" in reply] == []
    assert len(explorer.annotations.history()) == 1 + 60  # undone or not, nothing is lost


def test_a_cancelled_request_is_answered_as_cancelled(open_explorer: Build) -> None:
    from failviz.sources import Shown

    started, go = threading.Event(), threading.Event()

    def show(row: int) -> np.ndarray:
        started.set()
        assert go.wait(10)
        return np.zeros((8, 8, 3), dtype=np.uint8)

    explorer = open_explorer(make_evaluation(8, source=Shown(show, 8)))
    wire = Wire(explorer)
    explorer._dispatcher._threaded = lambda: True
    for identity in (7, 8):
        explorer._handle_custom_msg({"id": identity, "command": "thumbnails", "args": {"rows": [0, 1], "size": 16}}, [])
    assert started.wait(10)
    for identity, target in ((9, 8), (10, 7), (11, 99)):
        explorer._handle_custom_msg({"id": identity, "command": "cancel", "args": {"target": target}}, [])
    go.set()
    deadline = time.monotonic() + 10
    while len(wire.replies) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [reply for reply, _ in wire.replies] == [
        {"id": 8, "error": {"message": "cancelled"}},
        {"id": 7, "error": {"message": "cancelled"}},
    ]


def test_an_unexpected_failure_is_named_and_logged(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise KeyError("oops")

    monkeypatch.setitem(explorer._dispatcher._handlers, "example", broken)
    assert Wire(explorer).ask("example", {"row": 0})["error"]["message"] == "KeyError: 'oops'"
    assert "a request failed" in caplog.text


def test_a_reply_that_cannot_be_sent_is_logged(explorer: Explorer, caplog: pytest.LogCaptureFixture) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise RuntimeError("the page is gone")

    explorer.send = closed  # type: ignore[method-assign]
    explorer._handle_custom_msg({"id": 1, "command": "open", "args": {}}, [])
    assert "could not be sent" in caplog.text


def test_closing_twice_is_harmless(evaluation: Evaluation) -> None:
    explorer = Explorer(evaluation, (), ":memory:", layout="pca")
    explorer.close()
    explorer.close()
    explorer.annotations.close()
