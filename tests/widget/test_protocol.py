"""Every message in tests/protocol.json is accepted, and every real reply has the shape of its example."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from widget_cases import Wire, make_evaluation, make_slice

from failviz.widget import Explorer
from failviz.widget.protocol import COMMANDS, VERSION, Refusal, read_request

PROTOCOL = json.loads((Path(__file__).parents[1] / "protocol.json").read_text(encoding="utf-8"))
REQUESTS = PROTOCOL["requests"]


def same_shape(real: Any, example: Any, path: str = "result") -> str | None:
    """None when `real` has the keys and types of `example`, else what differs; null in the example means nullable."""
    if example is None:
        return None
    if isinstance(example, dict):
        if not isinstance(real, dict) or set(real) != set(example):
            return f"{path}: {sorted(real) if isinstance(real, dict) else real!r} instead of {sorted(example)}"
        return next((bad for key in example if (bad := same_shape(real[key], example[key], f"{path}.{key}"))), None)
    if isinstance(example, list):
        if not isinstance(real, list):
            return f"{path}: {real!r} is not a list"
        for i, item in enumerate(real):
            bad = [same_shape(item, one, f"{path}[{i}]") for one in example]
            if example and all(bad):
                return bad[0]
        return None
    if isinstance(example, float):
        return (
            None if isinstance(real, int | float) and not isinstance(real, bool) else f"{path}: {real!r} is no number"
        )
    return None if type(real) is type(example) else f"{path}: {real!r} instead of {example!r}"


def translated(value: Any, keys: dict[str, str]) -> Any:
    """The example's slice keys replaced by those of a real Explorer."""
    if isinstance(value, dict):
        return {name: translated(item, keys) for name, item in value.items()}
    return keys.get(value, value) if isinstance(value, str) else value


def test_the_example_file_and_the_code_name_the_same_commands() -> None:
    assert set(COMMANDS) == set(REQUESTS) | {"cancel"}
    assert PROTOCOL["version"] == VERSION


@pytest.mark.parametrize("command", REQUESTS)
def test_a_real_reply_has_the_shape_of_its_example(command: str, explorer: Explorer) -> None:
    found, drawn = [row["key"] for row in explorer.slice_table()["slices"]]
    wire = Wire(explorer)
    args = translated(REQUESTS[command]["args"], {"f0": found, "d5f1": drawn})
    if "number" in args:
        args["number"] = explorer.runs[-1].number
    if command == "redo":
        explorer.undo()
    buffers = [bytes([0b1010]) + bytes(14)] if command == "select" else []
    reply = wire.ask(command, args, buffers)
    assert set(reply) == {"id", "result"}, reply
    assert same_shape(reply["result"], REQUESTS[command]["result"]) is None
    json.dumps(reply, allow_nan=False)
    expected = len(REQUESTS[command]["buffers"]) if command not in ("select", "thumbnails", "pool_thumbnails") else None
    assert expected is None or len(wire.replies[-1][1]) == expected
    assert all(isinstance(buffer, bytes) for buffer in wire.replies[-1][1])


def test_the_synced_state_has_the_shape_of_its_example(explorer: Explorer) -> None:
    state = explorer.get_state(list(PROTOCOL["state"]))
    assert same_shape(state, PROTOCOL["state"], "state") is None


def test_the_example_cancellation_is_read_and_answered_for_its_target() -> None:
    request = read_request(PROTOCOL["cancel"]["request"])
    assert request.command == "cancel"
    assert request.args == {"target": PROTOCOL["cancel"]["reply"]["id"]}


def test_buffers_have_the_sizes_the_protocol_names(explorer: Explorer) -> None:
    n = explorer.evaluation.n_examples
    facts, [points] = explorer.map_positions()
    assert len(points) == 4 * n
    assert facts["final"] is True
    assert len(explorer.channel("meta:background")[1][0]) == n
    assert len(explorer.members(explorer.active_slice)[1][0]) == (n + 7) // 8


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        ("nonsense", {}, "no command 'nonsense'"),
        (None, {}, "no command None"),
        ("gallery", {"of": "everything"}, "of must be one of slice, selection, all"),
        (
            "gallery",
            {"of": "all", "order": "loss", "only": "all", "offset": -1, "limit": 5},
            "offset must be 0 or more",
        ),
        ("example", {"row": "3"}, "row must be a whole number, not a text"),
        ("example", {"row": True}, "row must be a whole number"),
        ("example", {"row": 1.5}, "row must be a whole number"),
        ("example", {}, "row must be a whole number, not null (it is missing)"),
        ("example", {"row": 120}, "rows run from 0 to 119"),
        ("example", {"row": 3, "colour": 1}, "unknown argument 'colour'"),
        ("thumbnails", {"rows": list(range(201)), "size": 64}, "200 is the limit"),
        ("thumbnails", {"rows": [0], "size": 4000}, "size must be 16 to 512"),
        ("thumbnails", {"rows": [500], "size": 64}, "there is no row 500"),
        ("direction", {"slice": "f9"}, "There is no slice 'f9' here; there are"),
        ("channel", {"key": "meta:nothing", "slice": None}, "nothing called 'meta:nothing'"),
        ("select", {"how": "bitset", "slice": None}, "15 bytes, and 0 came"),
        ("create_slice", {"name": " ", "tags": [], "note": ""}, "a slice needs a name"),
        ("create_slice", {"name": "x", "tags": "background", "note": ""}, "tags must be a list, not a text"),
        ("delete_slice", {"key": "sneaker, hardest"}, "was found, not drawn"),
    ],
)
def test_a_bad_request_comes_back_as_one_sentence(explorer: Explorer, command: Any, args: Any, words: str) -> None:
    reply = Wire(explorer).ask(command, args, identity="v1-7")
    assert reply["id"] == "v1-7"
    assert words in reply["error"]["message"]
    assert "\n" not in reply["error"]["message"]


@pytest.mark.parametrize(
    "content", [None, 3, "open", [], {"command": "open"}, {"id": None}, {"id": True, "command": "open"}]
)
def test_a_message_without_an_id_is_ignored(explorer: Explorer, content: Any) -> None:
    wire = Wire(explorer)
    explorer._handle_custom_msg(content, [])
    assert wire.replies == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(command=st.sampled_from(sorted(COMMANDS)) | JSON, args=JSON, data=st.data())
def test_no_request_whatever_raises_anything_but_a_refusal(command: Any, args: Any, data: st.DataObject) -> None:
    if isinstance(command, str) and command in COMMANDS and data.draw(st.booleans()):
        args = {name: data.draw(JSON) for name in COMMANDS[command]}
    try:
        read_request({"id": 1, "command": command, "args": args})
    except Refusal as refusal:
        assert str(refusal).endswith(".")


def test_whole_numbers_may_come_as_javascript_floats() -> None:
    assert read_request({"id": 1, "command": "example", "args": {"row": 3.0}}).args == {"row": 3}


def test_without_labels_counts_are_null_and_nothing_is_called_wrong(open_explorer: Callable[..., Explorer]) -> None:
    evaluation = make_evaluation(labels=None, probs=None, class_names=None, metadata=None, source=None)
    score = np.where(np.arange(120) < 20, 1.0, -1.0)
    from failviz.slices import Slice

    found = Slice.of(evaluation, scores=score, weights=(score > 0) * 1.0, scope="all", name="x", method="m",
                     direction=np.ones(6))  # fmt: skip
    explorer = open_explorer(evaluation, found)
    wire = Wire(explorer)
    overview = wire.ask("open")["result"]
    assert overview["n_wrong"] is overview["accuracy"] is overview["source"] is None
    assert overview["classes"] == []
    assert [channel["key"] for channel in overview["channels"]] == ["score"]
    [row] = wire.ask("slices")["result"]["slices"]
    assert row["status"] == "no labels"
    assert row["n"] == 20
    assert row["n_wrong"] is row["low"] is row["rest_n"] is None
    direction = wire.ask("direction", {"slice": row["key"]})["result"]
    assert sum(direction["right"]) == 120
    assert direction["steps"][0]["low"] is None
    asked = {"of": "all", "slice": None, "order": "loss", "only": "wrong", "offset": 0, "limit": 5}
    assert "no labels" in wire.ask("gallery", asked)["error"]["message"]
    shown = wire.ask("gallery", {**asked, "only": "all"})["result"]["examples"]
    assert [example["row"] for example in shown] == [0, 1, 2, 3, 4]


def test_without_labels_slices_are_judged_by_their_losses(open_explorer: Callable[..., Explorer]) -> None:
    rng = np.random.default_rng(0)
    hard = np.arange(120) < 20
    evaluation = make_evaluation(
        labels=None, probs=None, class_names=None, metadata=None, source=None, losses=rng.exponential(1 + 4 * hard)
    )
    from failviz.slices import Slice
    from failviz.verification import verify

    def found(name: str, member: np.ndarray) -> Slice:
        return Slice.of(evaluation, scores=member * 1.0, weights=member * 1.0, scope="all", name=name, method="m",
                        seen={})  # fmt: skip

    few = np.zeros(120, dtype=bool)
    few[np.argsort(-evaluation.losses)[:3]] = True
    slices = [found("easy", np.arange(120) >= 100), found("few", few), found("none", np.zeros(120))]
    explorer = open_explorer(evaluation, [verify(found("hard", hard), evaluation), *slices])
    wire = Wire(explorer)
    worst, easy, small, none = wire.ask("slices")["result"]["slices"]
    assert small["badge"] == "needs 2 more"
    assert (" Fewer than 5 examples are never confirmed: 2 more are needed.") in small["explanation"]
    assert (none["badge"], none["n"], none["n_wrong"]) == ("empty", 0, None)
    assert (worst["status"], easy["status"]) == ("confirmed", "not confirmed")
    assert worst["n"] == 20 and worst["rest_n"] == 100
    assert worst["n_wrong"] is worst["error_rate"] is worst["low"] is None
    inside, outside = evaluation.losses[hard].mean(), evaluation.losses[~hard].mean()
    assert (
        f"mean loss {inside:.3g} in 20 examples, against {outside:.3g} elsewhere (100 examples)" in worst["explanation"]
    )
    assert next(one.mean_loss for one in explorer.verdicts) == pytest.approx(inside)
    assert f"hard: mean loss {inside:.3g}, confirmed" in repr(explorer)

    explorer.selection = evaluation.ids[:30]
    key = wire.ask("create_slice", {"name": "mine", "tags": [], "note": ""})["result"]["key"]
    [mine] = [row for row in wire.ask("slices")["result"]["slices"] if row["key"] == key]
    assert mine["status"] == "drawn" and "so its mean loss is no held-out test" in mine["explanation"]


def test_the_fixture_slice_is_real(explorer: Explorer) -> None:
    assert make_slice(explorer.evaluation).members.tolist() == explorer.slices[0].members.tolist()
