"""The widget shows what any finder finds, whatever its scope and its scores."""

import json

import pytest
from discovery_cases import FINDERS, planted
from sklearn.base import clone
from widget_cases import Wire

finders = pytest.mark.parametrize("finder", FINDERS, ids=lambda finder: type(finder).__name__)


@pytest.fixture(scope="module")
def thirds():
    first, rest = planted(1800)[0].split(1 / 3, random_state=0)
    return first, *rest.split(0.5, random_state=0)


@finders
def test_slices_are_listed_judged_and_stepped_through(finder, thirds, open_explorer):
    fitted = clone(finder).fit(thirds[0])
    explorer = open_explorer(thirds[1], fitted)
    wire = Wire(explorer)
    listed = wire.ask("slices")["result"]["slices"]
    assert [one["name"] for one in listed] == [one.name for one in fitted.slices(thirds[1])]
    may_be_confirmed = not finder.uses_outcome and not finder.get_params().get("flip", False)
    assert ("confirmed" in {one["status"] for one in listed}) is may_be_confirmed
    json.dumps(listed, allow_nan=False)
    for one in listed:
        assert one["explanation"]
        if one["has_direction"]:
            walk = wire.ask("direction", {"slice": one["key"]})["result"]
            assert walk["n_steps"] > 1
            json.dumps(walk, allow_nan=False)


@finders
def test_every_slice_can_be_planned_for(finder, thirds, open_explorer):
    fitted = clone(finder).fit(thirds[0])
    explorer = open_explorer(thirds[1], fitted, pool=thirds[2])
    for one in Wire(explorer).ask("slices")["result"]["slices"]:
        if one["n"] == 0:  # there is nothing to look alike
            asked = {"target": "slice", "slice": one["key"], "remedy": "nearest", "budget": 10}
            reply = Wire(explorer).ask("plan", asked | {"thrown_out": [], "control": True})
            assert reply["error"]["message"] == "The group is empty."
            continue
        for remedy in ("direction", "nearest", "random"):
            asked = {
                "target": "slice",
                "slice": one["key"],
                "remedy": remedy,
                "budget": 10,
                "thrown_out": [],
                "control": True,
            }
            reply = Wire(explorer).ask("plan", asked)
            assert "result" in reply, (remedy, reply)
            assert 0 < reply["result"]["n"] <= 10
