import { describe, expect, it } from "vitest";
import { NEW, addTag, edit, isDirty, settle, shownLabel } from "../src/core/drafts";
import { findings, interval, percent, plural, points, sentence, short, wilson } from "../src/core/format";
import { bars, scoreToX, stepAtX } from "../src/core/histogram";
import { nextTile } from "../src/parts/roving";
import { MISSING, categoryColour, lookupTable, outcomeColour, rampColour } from "../src/core/scales";
import { luminance, parseColour } from "../src/core/theme";

const kept = { name: "sneaker, hardest", tags: ["background"], note: "" };

describe("a sentence", () => {
  it("begins with a capital and is else as it came", () => {
    expect(sentence("say how many examples to add.")).toBe("Say how many examples to add.");
    expect(sentence("KeyError: 'a'")).toBe("KeyError: 'a'");
    expect(sentence("")).toBe("");
  });
});

describe("drafts", () => {
  it("stay with their slice when another is edited", () => {
    let drafts = edit(new Map(), "f0", kept, { name: "half ty" });
    drafts = edit(drafts, NEW, { name: "", tags: [], note: "" }, { note: "mine" });
    expect(shownLabel(drafts, "f0", kept).name).toBe("half ty");
    expect(shownLabel(drafts, "f1", kept)).toBe(kept);
  });

  it("are not touched by what Python sends meanwhile", () => {
    const drafts = edit(new Map(), "f0", kept, { name: "mine" });
    expect(shownLabel(drafts, "f0", { ...kept, name: "from another view" }).name).toBe("mine");
  });

  it("end when they are saved, or typed back", () => {
    const drafts = edit(new Map(), "f0", kept, { name: "grass " });
    expect(isDirty(drafts, "f0", kept)).toBe(true);
    expect(settle(drafts, "f0", { ...kept, name: "grass" }).size).toBe(0);
    expect(edit(drafts, "f0", kept, { name: kept.name }).size).toBe(0);
  });

  it("survive a save when the person has typed on", () => {
    const drafts = edit(new Map(), "f0", kept, { name: "grass and more" });
    expect(settle(drafts, "f0", { ...kept, name: "grass" })).toBe(drafts);
  });

  it("take tags without blanks or repetitions", () => {
    expect(addTag(["a"], " b ")).toEqual(["a", "b"]);
    expect(addTag(["a"], "a")).toEqual(["a"]);
    expect(addTag(["a"], "  ")).toEqual(["a"]);
  });
});

describe("figures", () => {
  it("say rates, intervals and differences as the screen does", () => {
    expect([percent(0.5812), percent(0.819, 1), percent(null)]).toEqual(["58%", "81.9%", "–"]);
    expect([interval(0.436, 0.694), interval(null, 1)]).toEqual(["[44, 69]", ""]);
    expect([points(0.58, 0.14), points(0.1, 0.12), points(0.1, 0.1), points(0.1, null)]).toEqual(["+44 pts", "−2 pts", "±0 pts", ""]);
    expect([points(0.1755, 0.185, 1), points(0.0095, 0, 1), percent(0.1845, 1)]).toEqual(["−1.0 pts", "+1.0 pts", "18.5%"]);
    expect([plural(1, "label"), plural(4000, "label"), short(-1.2345), short(null)]).toEqual(["1 label", "4,000 labels", "−1.23", "–"]);
  });

  it("tell nothing tested from nothing confirmed", () => {
    expect(findings(["confirmed", "drawn", "confirmed"])).toBe("2 confirmed failures");
    expect(findings(["needs more", "no labels"])).toBe("no confirmed failure");
    expect(findings(["drawn", "in-sample", "no labels"])).toBe("not tested");
    expect(findings([])).toBe("");
  });

  it("have Wilson's interval where only counts are known", () => {
    const [low, high] = wilson(37, 64);
    expect(low).toBeCloseTo(0.456, 3);
    expect(high).toBeCloseTo(0.691, 3);
    expect(wilson(0, 0)).toEqual([0, 1]);
  });
});

describe("arrow keys among tiles", () => {
  it("follow rows and columns, and end at the edges", () => {
    const from = (key: string, at: number) => nextTile(key, at, 8, 3);
    expect([from("ArrowRight", 2), from("ArrowLeft", 2), from("ArrowDown", 2), from("ArrowUp", 5)]).toEqual([3, 1, 5, 2]);
    expect([from("ArrowRight", 7), from("ArrowLeft", 0), from("ArrowDown", 6), from("ArrowUp", 1)]).toEqual([-1, -1, -1, -1]);
    expect([from("Enter", 2), from("ArrowRight", -1)]).toEqual([-1, -1]);
  });
});

describe("histogram", () => {
  const histogram = { edges: [-2, -1, 0, 1], right: [100, 200, 10], wrong: [5, 30, 55] };

  it("stacks wrong on right, with the tallest bin at full height", () => {
    const [first, tallest] = bars(histogram, 300, 60);
    expect(tallest!.wrong.y).toBeCloseTo(0);
    expect(tallest!.wrong.y + tallest!.wrong.height).toBeCloseTo(tallest!.right.y);
    expect(tallest!.right.y + tallest!.right.height).toBeCloseTo(60);
    expect(first!.right.height).toBeCloseTo((100 / 230) * 60);
    expect(first!.x + first!.width).toBeLessThan(100);
  });

  it("puts scores between the edges and clamps the rest", () => {
    expect([scoreToX(-2, histogram.edges, 300), scoreToX(-0.5, histogram.edges, 300), scoreToX(9, histogram.edges, 300)]).toEqual([0, 150, 300]);
    expect(scoreToX(1, [1, 1], 300)).toBe(150);
  });

  it("finds the step nearest to a click", () => {
    expect(stepAtX(160, [{ score: -1.8 }, { score: -0.6 }, { score: 0.9 }], histogram.edges, 300)).toBe(1);
  });

  it("draws nothing for nothing", () => {
    expect(bars({ edges: [], right: [], wrong: [] }, 300, 60)).toEqual([]);
  });
});

describe("colours", () => {
  it("fill a table for every byte, with grey for missing", () => {
    for (const kind of ["outcome", "category", "number"] as const) {
      const table = lookupTable(kind, false);
      expect(table.length).toBe(768);
      expect([...table.slice(MISSING * 3)]).toEqual([180, 186, 194]);
    }
    expect([...lookupTable("outcome", false).slice(3, 6)]).toEqual([...outcomeColour(true, false)]);
  });

  it("go from near the ground to far from it as values rise, in both themes", () => {
    const steps = [0, 0.25, 0.5, 0.75, 1];
    const light = steps.map((share) => luminance(rampColour(share, false)));
    const dark = steps.map((share) => luminance(rampColour(share, true)));
    expect([...light].sort((a, b) => b - a)).toEqual(light);
    expect([...dark].sort((a, b) => a - b)).toEqual(dark);
  });

  it("tell many categories apart", () => {
    const names = Array.from({ length: 27 }, (_, i) => String(categoryColour(i, true)));
    expect(new Set(names).size).toBe(27);
  });

  it("are read from a host in any CSS form", () => {
    expect(parseColour("rgb(17, 20, 24)")).toEqual([17, 20, 24, 1]);
    expect(parseColour("rgba(0, 0, 0, 0)")).toEqual([0, 0, 0, 0]);
    expect(parseColour("rgb(1 2 3 / 0.5)")).toEqual([1, 2, 3, 0.5]);
    expect(parseColour("transparent")).toBeNull();
    expect(luminance([255, 255, 255])).toBeCloseTo(1);
  });
});
