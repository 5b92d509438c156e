import { describe, expect, it } from "vitest";
import { announcement } from "../src/core/announce";
import { columnsOf, headline, ownBasis, reachOf, rowsOf, sections, toggled, versusLines } from "../src/core/comparison";
import { ago, digitsOf, duration, interval, points } from "../src/core/format";
import type { Cell, ResultRow, Run, RunDetail } from "../src/core/retraining";
import { apart } from "../src/parts/losscurve";
import { routeNote } from "../src/parts/runbar";

const cell = (arm: string, change: number | null = -0.22, extra: Partial<Cell> = {}): Cell => ({
  arm, n: 60, before: 0.4, after: change === null ? null : 0.4 + change, change, low: change === null ? null : change - 0.08, high: change === null ? null : change + 0.08, fixed: 3, broken: 1, verdict: "better", ...extra,
});

const row = (group: ResultRow["group"], name: string, cells: Cell[], extra: Partial<ResultRow> = {}): ResultRow => ({
  group, name, key: group === "slice" ? name : null, n: 60, before: 0.4, is_target: false, held_out: true, caution: null, cells, ...extra,
});

const run = (number: number, extra: Partial<Run> = {}): Run => ({
  number, title: `plan ${number}`, status: "done", started: "2025-03-01T12:00:00Z", seconds: 6, n_added: 20, arms: ["plan"], share: 1, doing: null, error: null, has_results: true, ...extra,
});

const detail = (number: number, arms: string[], rows: ResultRow[]): RunDetail => {
  const { n_added: _, arms: __, has_results: ___, ...facts } = run(number);
  return { ...facts, reason: "", traceback: null, log: "", targets: [], curves: [], results: { note: "", arms, rows, versus: null } };
};

describe("a change of an error rate", () => {
  it("has a true minus in its points and in its interval", () => {
    expect([points(-0.22, 0), points(0.03, 0), points(0.001, 0), points(null, 0)]).toEqual(["−22 pts", "+3 pts", "±0 pts", ""]);
    expect([interval(-0.3, -0.14), interval(-0.001, 0.05), interval(null, 0.1)]).toEqual(["[−30, −14]", "[0, 5]", ""]);
  });

  it("has a decimal where there are a thousand examples or more", () => {
    expect([digitsOf(999), digitsOf(1000)]).toEqual([0, 1]);
    expect([points(-0.014, 0, 1), points(0.03, 0, 1), points(-0.0004, 0, 1)]).toEqual(["−1.4 pts", "+3.0 pts", "±0 pts"]);
    expect([interval(-0.022, -0.006, 1), interval(-0.0004, 0.1, 1)]).toEqual(["[−2.2, −0.6]", "[0, 10.0]"]);
  });

  it("of the plan against a control is a line for each of the first four rows", () => {
    const line = (name: string, n: number, change: number | null) => ({ name, key: null, n, change, low: change && change - 0.08, high: change && change + 0.08, verdict: "better" as const });
    const rows = [line("all images", 4000, -0.014), line("sneakers on grass", 64, -0.12), line("nothing", 0, null), line("f3", 9, 0.1), line("f4", 9, 0.1)];
    expect(versusLines({ arm: "random", rows })).toEqual([
      "Plan against random: all images −1.4 pts [−9.4, 6.6], better",
      "Plan against random: sneakers on grass −12 pts [−20, −4], better",
      "Plan against random: nothing has no examples",
      "Plan against random: f3 +10 pts [2, 18], better",
    ]);
  });

  it("says what it is of where its row says something else", () => {
    const row = { n: 727, before: 0.121 };
    expect(ownBasis({ n: 710, before: 0.118 }, row)).toBe("of 710, before 11.8%");
    expect(ownBasis({ n: 727, before: 0.25 }, row)).toBe("of 727, before 25.0%");
    expect(ownBasis({ n: 3969, before: 0.118 }, row)).toBe("of 3,969, before 11.8%");
    expect(ownBasis({ n: 0, before: null }, row)).toBe("of 0");
    expect(ownBasis({ ...row }, row)).toBe("");
  });

  it("is drawn on one scale for all, never narrower than ten points", () => {
    expect(reachOf([row("overall", "all", [cell("plan", -0.22)]), row("class", "shirt", [cell("plan", 0.31), cell("random", null)])])).toBeCloseTo(0.39);
    expect(reachOf([{ cells: [null] }])).toBe(0.1);
  });
});

describe("runs in one table", () => {
  const second = detail(2, ["plan", "random"], [
    row("overall", "all images", [cell("plan"), cell("random", 0)]),
    row("slice", "f0", [cell("plan"), cell("random", 0)], { is_target: true }),
    row("class", "shirt", [cell("random", 0), cell("plan")], { before: null }),
  ]);
  const first = detail(1, ["plan"], [
    row("overall", "all images", [cell("plan", -0.1)]),
    row("slice", "f9", [cell("plan", 0.1)], { held_out: false, caution: "drawn" }),
    row("slice", "f0", [cell("plan", 0.2)]),
    row("class", "shirt", [cell("plan", 0.3)]),
  ]);

  it("have a column for each of their arms", () => {
    expect(columnsOf([second, first]).map(({ key }) => key)).toEqual(["2 plan", "2 random", "1 plan"]);
    expect(columnsOf([{ ...second, results: null }])).toEqual([]);
  });

  it("have a row for all that any of them names, in the order of the first", () => {
    const rows = rowsOf([second, first]);
    expect(rows.map(({ name }) => name)).toEqual(["all images", "f0", "shirt", "f9"]);
    expect(rows.map(({ cells }) => cells.map((one) => one?.change ?? null))).toEqual([
      [-0.22, 0, -0.1],
      [-0.22, 0, 0.2],
      [-0.22, 0, 0.3],
      [null, null, 0.1],
    ]);
  });

  it("keep the n and the rate before of the first that names a row; every cell has its own", () => {
    const other = detail(3, ["plan"], [row("slice", "f0", [cell("plan", -0.1, { n: 43, before: 0.3 })], { n: 43, before: 0.3 }), row("slice", "f9", [cell("plan")], { n: 9 })]);
    const [, f0, , f9] = rowsOf([second, other]);
    expect([f0!.n, f0!.before, f9!.n]).toEqual([60, 0.4, 9]);
    expect(f0!.cells.map((one) => ownBasis(one!, f0!))).toEqual(["", "", "of 43, before 30.0%"]);
  });

  it("leave what the kernel sent as it was", () => {
    const before = JSON.stringify([second, first]);
    rowsOf([second, first]);
    expect(JSON.stringify([second, first])).toBe(before);
  });

  it("keep the mark of a target and the caution of a slice that is not held out, whichever run gives it", () => {
    const marked = detail(3, ["plan"], [row("slice", "f0", [cell("plan")], { held_out: false, caution: "learned from" })]);
    expect(rowsOf([second, marked])[1]).toMatchObject({ is_target: true, held_out: false, caution: "learned from" });
  });

  it("stand under headings, each group in its order", () => {
    expect(sections(rowsOf([second, first])).map(({ heading, rows }) => [heading, rows.map(({ name }) => name)])).toEqual([
      [null, ["all images"]],
      ["By slice", ["f0", "f9"]],
      ["By class", ["shirt"]],
    ]);
  });

  it("say the targets and the whole set first", () => {
    expect(headline(second.results!.rows).map(({ name }) => name)).toEqual(["f0", "all images"]);
    const many = Array.from({ length: 6 }, (_, i) => row("slice", `f${i}`, [], { is_target: true }));
    expect(headline([row("overall", "all images", []), ...many]).map(({ name }) => name)).toEqual(["f0", "f1", "f2", "f3", "all images"]);
  });

  it("are at most three at once", () => {
    expect(toggled([3, 2], 1)).toEqual([3, 2, 1]);
    expect(toggled([3, 2, 1], 4)).toEqual([3, 2, 1]);
    expect(toggled([3, 2, 1], 2)).toEqual([3, 1]);
  });
});

describe("what is said of a run", () => {
  it("is its start, each quarter and its end", () => {
    const going = (share: number | null) => [run(3, { status: "running", share }), run(2)];
    expect(announcement([run(2)], going(null))).toBe("Run 3 has started");
    expect(announcement(going(null), going(0.2))).toBeNull();
    expect(announcement(going(0.2), going(0.26))).toBe("Run 3: 25% done");
    expect(announcement(going(0.26), going(0.49))).toBeNull();
    expect(announcement(going(0.3), going(0.8))).toBe("Run 3: 75% done");
    expect(announcement(going(0.99), going(1))).toBeNull();
    expect(announcement(going(1), [run(3), run(2)])).toBe("Run 3 is done");
    expect(announcement(going(0.4), [run(3, { status: "failed" }), run(2)])).toBe("Run 3 has failed");
  });

  it("is nothing of runs that were there before", () => {
    expect(announcement(null, [run(3, { status: "running" })])).toBeNull();
    expect(announcement([run(2)], [run(2)])).toBeNull();
  });

  it("is how long it took and how long ago it was", () => {
    expect([duration(6.4), duration(60), duration(200)]).toEqual(["6 s", "1 min", "3 min 20 s"]);
    const now = Date.parse("2025-03-01T12:00:00Z");
    const at = (minutes: number) => ago(new Date(now - minutes * 60_000).toISOString(), now);
    expect([at(0.5), at(5), at(125), ago("once", now)]).toEqual(["just now", "5 min ago", "2 h ago", "once"]);
    expect(at(3 * 1440)).not.toContain("ago");
  });

  it("is what the button will run", () => {
    expect(routeNote({ kind: "function", name: "fix" })).toBe("runs the function “fix” of your notebook");
    expect(routeNote({ kind: "cell", name: "fix" })).toBe("runs the cell “fix” again");
  });
});

describe("labels at the ends of loss curves", () => {
  it("make room for each other", () => {
    expect(apart([50, 10])).toEqual([50, 10]);
    expect(apart([40, 38, 41])).toEqual([52, 38, 66]);
  });
});
