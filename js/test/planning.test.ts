import { signal } from "@preact/signals";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { rested } from "../src/core/rested";
import type { PlanArgs } from "../src/core/retraining";
import type { Wire } from "../src/core/rpc";
import type { Store, ViewName } from "../src/core/store";
import { budgetOf, placeOf, recall, takeBack, throwOut } from "../src/core/thrown";
import { createConnection } from "../src/data/connection";
import { createPlanning } from "../src/data/plan";
import { createRuns } from "../src/data/runs";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("thrown out examples", () => {
  it("are remembered for each slice, and for all confirmed ones together", () => {
    let thrown = throwOut(new Map(), placeOf("slice", "f0"), 7);
    thrown = throwOut(thrown, placeOf("slice", "f0"), 9);
    thrown = throwOut(thrown, placeOf("confirmed", "f0"), 1);
    expect(thrown.get(placeOf("slice", "f0"))).toEqual([7, 9]);
    expect(thrown.get(placeOf("confirmed", "f1"))).toEqual([1]);
    expect(thrown.get(placeOf("slice", "f1"))).toBeUndefined();
    expect(throwOut(thrown, placeOf("slice", "f0"), 7)).toBe(thrown);
    expect(takeBack(thrown, placeOf("slice", "f0")).get(placeOf("confirmed", null))).toEqual([1]);
  });

  it("begin with what the kernel has kept, unless the view knows better", () => {
    const thrown = recall(new Map(), "slice f0", [7]);
    expect(thrown.get("slice f0")).toEqual([7]);
    expect(recall(throwOut(thrown, "slice f0", 9), "slice f0", [7]).get("slice f0")).toEqual([7, 9]);
    expect(recall(takeBack(thrown, "slice f0"), "slice f0", [7]).get("slice f0")).toEqual([]);
  });
});

describe("a budget", () => {
  it("is a whole number from one to all there are", () => {
    expect([budgetOf("100", 200), budgetOf(" 200 ", 200), budgetOf("1", 200)]).toEqual([100, 200, 1]);
    for (const typed of ["", "0", "-3", "2.5", "1e2", "201", "many"]) expect(budgetOf(typed, 200), typed).toBeNull();
  });
});

describe("a rested job", () => {
  it("runs once for inputs that follow each other quickly, with the last", async () => {
    const heard: number[] = [];
    const job = rested(async (input: number) => void heard.push(input), 250);
    for (const input of [1, 2, 3]) job.run(input);
    await vi.advanceTimersByTimeAsync(249);
    expect(heard).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(heard).toEqual([3]);
  });

  it("cancels the run before it, and one that waits", async () => {
    const left: boolean[] = [];
    const job = rested(async (_: number, leaving: AbortSignal) => leaving.addEventListener("abort", () => left.push(true)), 250);
    job.run(1);
    await vi.advanceTimersByTimeAsync(250);
    job.run(2);
    expect(left).toEqual([true]);
    job.cancel();
    await vi.advanceTimersByTimeAsync(500);
    expect(left).toEqual([true]);
  });
});

/** A store and a kernel that answers at once, but for plans, which wait to be answered. */
function opened() {
  type Heard = Parameters<Wire["listen"]>[0];
  const sent: { id: string; command: string; args: unknown }[] = [];
  let heard: Heard = () => {};
  const remedy = (key: string, uses_budget = true, available = true) => ({ key, label: key, does: "", uses_budget, available, why: available ? null : "no" });
  const setup = {
    pool: { n: 200, unit: "images", source: "image" }, problem: null, route: { kind: "function", name: "fix" }, n_confirmed: 2, budget: 50, thrown_out: [] as number[],
    remedies: [remedy("direction"), remedy("random"), remedy("own", false), remedy("loss", true, false)],
  };
  const runs = { revision: 1, runs: [] as unknown[] };
  const answers: Record<string, unknown> = { retraining: setup, runs, run: { number: 1, message: "run 1 has started" } };
  const say = (id: string, result: unknown) => heard({ id, result }, []);
  const store = {
    view: signal<ViewName>("retrain"),
    activeSlice: signal<string | null>("f0"),
    revisions: signal<Record<string, number>>({}),
    wire: {
      send(message) {
        sent.push(message);
        if (message.command in answers) queueMicrotask(() => say(message.id, answers[message.command]));
      },
      listen(handler) {
        heard = handler;
        return () => {};
      },
    } satisfies Wire,
  };
  const connection = createConnection(store as unknown as Store);
  const list = createRuns(store as unknown as Store, connection);
  const planning = createPlanning(store as unknown as Store, connection, list.going);
  const plans = () => sent.filter((message) => message.command === "plan").map((message) => message.args as PlanArgs);
  const plan = (n: number) => ({ title: `${n} images`, reason: "", n, n_thrown_out: 0, targets: [], by_label: [], cautions: [], examples: [] });
  const lastPlan = () => sent.filter((message) => message.command === "plan").at(-1)!.id;
  const answerPlan = async (n: number) => {
    say(lastPlan(), plan(n));
    await vi.advanceTimersByTimeAsync(0);
  };
  const refusePlan = async (message: string) => {
    heard({ id: lastPlan(), error: { message } }, []);
    await vi.advanceTimersByTimeAsync(0);
  };
  const rest = () => vi.advanceTimersByTimeAsync(300);
  return { store, planning, list, sent, runs, setup, say, plan, plans, lastPlan, answerPlan, refusePlan, rest };
}

describe("planning", () => {
  it("asks for a plan of the first remedy with the kernel's budget", async () => {
    const { planning, plans, answerPlan, rest } = opened();
    await rest();
    expect(plans()).toEqual([{ target: "slice", slice: "f0", remedy: "direction", budget: 50, thrown_out: [], control: true }]);
    expect(planning.busy.value).toBe(true);
    await answerPlan(50);
    expect([planning.plan.value?.n, planning.busy.value]).toEqual([50, false]);
  });

  it("asks once for what changes quickly, and cancels the request before", async () => {
    const { planning, sent, plans, lastPlan, rest, say, plan } = opened();
    await rest();
    const old = lastPlan();
    planning.throwOut(3);
    planning.throwOut(4);
    planning.typeBudget("20");
    expect(sent.at(-1)).toMatchObject({ command: "cancel", args: { target: old } });
    await rest();
    expect(plans().length).toBe(2);
    expect(plans()[1]).toMatchObject({ budget: 20, thrown_out: [3, 4] });
    say(old, plan(99));
    expect(planning.plan.value).toBeNull();
  });

  it("remembers what was thrown out when the person comes back to a slice", async () => {
    const { store, planning, plans, rest } = opened();
    await rest();
    planning.throwOut(3);
    store.activeSlice.value = "f1";
    await rest();
    expect(plans().at(-1)).toMatchObject({ slice: "f1", thrown_out: [] });
    store.view.value = "map";
    store.activeSlice.value = "f0";
    await rest();
    expect(plans().at(-1)).toMatchObject({ slice: "f1" });
    store.view.value = "retrain";
    await rest();
    expect(plans().at(-1)).toMatchObject({ slice: "f0", thrown_out: [3] });
    planning.takeBack();
    await rest();
    expect(plans().at(-1)).toMatchObject({ slice: "f0", thrown_out: [] });
  });

  it("asks for no plan before it knows what was thrown out earlier", async () => {
    const { store, planning, setup, plans, rest } = opened();
    setup.thrown_out = [5, 6];
    await rest();
    expect(plans()).toMatchObject([{ slice: "f0", thrown_out: [5, 6] }]);
    planning.takeBack();
    await rest();
    expect(plans().at(-1)).toMatchObject({ slice: "f0", thrown_out: [] });
    setup.thrown_out = [8];
    store.activeSlice.value = "f1";
    await rest();
    store.activeSlice.value = "f0";
    await rest();
    expect(plans().slice(2)).toMatchObject([{ slice: "f1", thrown_out: [8] }, { slice: "f0", thrown_out: [] }]);
  });

  it("takes the kernel's budget for every target anew, but keeps a number where it was typed", async () => {
    const { store, planning, setup, plans, rest } = opened();
    await rest();
    planning.typeBudget("20");
    await rest();
    setup.budget = 30;
    store.activeSlice.value = "f1";
    await rest();
    setup.budget = 40;
    planning.wish.value = "confirmed";
    await rest();
    setup.budget = 35;
    planning.wish.value = "slice";
    await rest();
    setup.budget = 50;
    store.activeSlice.value = "f0";
    await rest();
    expect(plans().map(({ slice, budget }) => [slice, budget])).toEqual([["f0", 50], ["f0", 20], ["f1", 30], [null, 40], ["f1", 35], ["f0", 20]]);
  });

  it("asks again when the notebook's own plan is another", async () => {
    const { store, planning, setup, plans, answerPlan, rest } = opened();
    planning.wishedRemedy.value = "own";
    await rest();
    await answerPlan(9);
    setup.remedies = setup.remedies.map((one) => ({ ...one, does: "another" }));
    store.revisions.value = { runs: 1 };
    await rest();
    expect(plans().length).toBe(2);
  });

  it("shows no plan of a slice that the person has left", async () => {
    const { store, planning, lastPlan, say, plan, rest } = opened();
    await rest();
    const old = lastPlan();
    store.view.value = "map";
    store.activeSlice.value = "f1";
    say(old, plan(50));
    await rest();
    expect(planning.plan.value).toBeNull();
  });

  it("does not ask again for a plan that is there", async () => {
    const { store, planning, plans, answerPlan, rest } = opened();
    await rest();
    await answerPlan(50);
    store.view.value = "gallery";
    store.view.value = "retrain";
    planning.control.value = false;
    await rest();
    expect(plans().length).toBe(1);
    expect(planning.args.value?.control).toBe(false);
  });

  it("sends no budget and no control where the remedy has none", async () => {
    const { planning, plans, rest } = opened();
    planning.wishedRemedy.value = "own";
    planning.throwOut(3);
    await rest();
    expect(plans().at(-1)).toMatchObject({ remedy: "own", budget: null, thrown_out: [3], control: false });
    expect(planning.controllable.value).toBe(false);
    planning.wishedRemedy.value = "random";
    await rest();
    expect(plans().at(-1)).toMatchObject({ remedy: "random", budget: 50, control: false });
    planning.wishedRemedy.value = "loss";
    await rest();
    expect(plans().at(-1)?.remedy).toBe("direction");
  });

  it("asks for nothing while the budget is no number", async () => {
    const { planning, plans, rest } = opened();
    await rest();
    planning.typeBudget("201");
    await rest();
    expect([plans().length, planning.args.value, planning.busy.value]).toEqual([1, null, false]);
  });

  it("keeps a refusal where it belongs, and asks again after the next change", async () => {
    const { planning, plans, refusePlan, answerPlan, rest } = opened();
    await rest();
    await refusePlan("Look-alikes need embeddings of the pool.");
    expect([planning.error.value, planning.plan.value, planning.busy.value]).toEqual(["Look-alikes need embeddings of the pool.", null, false]);
    planning.typeBudget("10");
    expect(planning.error.value).toBeNull();
    await rest();
    await answerPlan(10);
    expect([planning.error.value, planning.plan.value?.n, plans().length]).toEqual([null, 10, 2]);
  });

  it("is of all confirmed slices when none is in hand", async () => {
    const { store, planning, plans, rest } = opened();
    store.activeSlice.value = null;
    await rest();
    expect(planning.target.value).toBe("confirmed");
    expect(plans().at(-1)).toMatchObject({ target: "confirmed", slice: null });
  });

  it("hears of a function that is registered later", async () => {
    const { store, planning, setup, rest } = opened();
    await rest();
    setup.route = { kind: "cell", name: "again" };
    store.revisions.value = { runs: 1 };
    await rest();
    expect(planning.setup.value?.route?.name).toBe("again");
  });
});

describe("runs", () => {
  const run = (number: number, status: string, has_results = status === "done") => ({ number, title: "", status, started: "", seconds: null, n_added: 1, arms: ["plan"], share: null, doing: null, error: null, has_results });

  it("are starting from the press until the list knows them", async () => {
    const { store, list, runs, planning, rest } = opened();
    await rest();
    void list.start(planning.args.value!);
    expect(list.starting.value).toBe(true);
    await rest();
    expect(list.starting.value).toBe(true);
    runs.runs = [run(1, "running")];
    store.revisions.value = { runs: 1 };
    await rest();
    expect([list.starting.value, list.going.value?.number, list.said.value]).toEqual([false, 1, "Run 1 has started"]);
  });

  it("show the newest that is done until the person chooses", async () => {
    const { store, list, runs, rest } = opened();
    runs.runs = [run(4, "running"), run(3, "done"), run(2, "failed"), run(1, "done")];
    store.view.value = "compare";
    await rest();
    expect(list.shown.value).toEqual([3]);
    list.toggle(1);
    expect(list.shown.value).toEqual([3, 1]);
    list.compare(1);
    expect(list.shown.value).toEqual([1]);
  });

  it("can be shown wherever an arm has ended, whatever became of the run", async () => {
    const { store, list, runs, rest } = opened();
    runs.runs = [run(4, "cancelled", true), run(3, "failed"), run(2, "interrupted", true), run(1, "done")];
    store.view.value = "compare";
    await rest();
    expect(list.shown.value).toEqual([1]);
    for (const number of [4, 3, 2]) list.toggle(number);
    expect(list.shown.value).toEqual([4, 2, 1]);
    runs.runs = [run(4, "cancelled", true), run(3, "failed")];
    list.compare(4);
    store.revisions.value = { runs: 1 };
    await rest();
    expect(list.shown.value).toEqual([4]);
  });

  it("are stopping until the kernel says otherwise", async () => {
    const { store, list, runs, rest } = opened();
    runs.runs = [run(1, "running")];
    await rest();
    void list.stop(1);
    expect(list.stopping.value).toBe(1);
    runs.runs = [run(1, "cancelled")];
    store.revisions.value = { runs: 2 };
    await rest();
    expect([list.stopping.value, list.said.value]).toEqual([null, "Run 1 was cancelled"]);
  });
});
