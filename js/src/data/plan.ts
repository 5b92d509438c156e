// What a person asks of a retraining, and the plan that the kernel makes of it. It outlives the view: nothing chosen is lost.
import { type ReadonlySignal, type Signal, computed, effect, signal } from "@preact/signals";
import { latest } from "../core/latest";
import { wordsOf } from "../core/narrow";
import { rested } from "../core/rested";
import type { Plan, PlanArgs, Remedy, Setup, Target } from "../core/retraining";
import type { Store } from "../core/store";
import { type Thrown, budgetOf, placeOf, recall, takeBack, throwOut } from "../core/thrown";
import type { Connection } from "./connection";
import { type Thumbnails, createThumbnails } from "./thumbnails";

export interface Planning {
  /** What the kernel offers for the target; null until it has answered. */
  setup: ReadonlySignal<Setup | null>;
  /** As the person wishes; without a slice in hand it is all confirmed ones. */
  wish: Signal<Target>;
  target: ReadonlySignal<Target>;
  wishedRemedy: Signal<string | null>;
  remedy: ReadonlySignal<Remedy | null>;
  /** As typed for the target; null leaves it to the kernel. */
  budget: ReadonlySignal<string | null>;
  typeBudget(words: string): void;
  control: Signal<boolean>;
  /** Whether a control arm makes sense for the remedy. */
  controllable: ReadonlySignal<boolean>;
  /** What would be asked for; null while something is missing. */
  args: ReadonlySignal<PlanArgs | null>;
  thrownOut: ReadonlySignal<readonly number[]>;
  throwOut(row: number): void;
  takeBack(): void;
  plan: ReadonlySignal<Plan | null>;
  error: ReadonlySignal<string | null>;
  /** Whether the plan shown is older than what is chosen. */
  busy: ReadonlySignal<boolean>;
  /** Pictures of the pool, while there is one. */
  pictures: ReadonlySignal<Thumbnails | null>;
  dispose(): void;
}

const PAUSE = 250;
const PATIENCE = 120_000;
const NOBODY: readonly number[] = [];

/** `going` is null between runs: what is offered can change then, and is not asked for at every step of a run. */
export function createPlanning(store: Store, connection: Connection, going: ReadonlySignal<unknown>): Planning {
  const setup = signal<Setup | null>(null);
  /** The place that the setup is of. */
  const settled = signal("");
  const wish = signal<Target>("slice");
  const wishedRemedy = signal<string | null>(null);
  const typed = signal<ReadonlyMap<string, string>>(new Map());
  const control = signal(true);
  const thrown = signal<Thrown>(new Map());
  const plan = signal<Plan | null>(null);
  const error = signal<string | null>(null);
  const busy = signal(false);
  const pictures = signal<Thumbnails | null>(null);
  let pool = "";
  /** The place and the choices of the plan that is there or on its way. */
  let planned = "";
  let asked = "";

  const target = computed<Target>(() => (store.activeSlice.value === null ? "confirmed" : wish.value));
  const slice = computed(() => (target.value === "slice" ? store.activeSlice.value : null));
  const place = computed(() => placeOf(target.value, slice.value));
  const thrownOut = computed(() => thrown.value.get(place.value) ?? NOBODY);
  const budget = computed(() => typed.value.get(place.value) ?? null);
  const remedy = computed(() => {
    const open = setup.value?.remedies.filter((one) => one.available) ?? [];
    return open.find((one) => one.key === wishedRemedy.value) ?? open[0] ?? null;
  });
  const controllable = computed(() => remedy.value !== null && remedy.value.uses_budget && remedy.value.key !== "random");

  const args = computed<PlanArgs | null>(() => {
    const how = remedy.value;
    const known = setup.value;
    if (!how || !known || known.problem !== null) return null;
    const number = how.uses_budget ? budgetOf(budget.value ?? String(known.budget), known.pool?.n ?? Infinity) : null;
    if (how.uses_budget && number === null) return null;
    return {
      target: target.value, slice: slice.value, remedy: how.key, budget: number,
      thrown_out: thrownOut.value, control: controllable.value && control.value,
    };
  });

  const fetchSetup = latest(async () => {
    const here = place.peek();
    const answer = await connection.ask("retraining", { target: target.peek(), slice: slice.peek() });
    if (!answer) return;
    const { result } = answer;
    const found = JSON.stringify(result.pool);
    if (found !== pool) {
      pool = found;
      pictures.peek()?.dispose();
      pictures.value = result.pool && createThumbnails(connection, result.pool.source, "pool_thumbnails");
    }
    if (here !== place.peek()) return; // an answer that comes after its question was dropped
    thrown.value = recall(thrown.peek(), here, result.thrown_out);
    setup.value = result;
    settled.value = here;
  });

  const ask = rested(async (wanted: PlanArgs, leaving: AbortSignal) => {
    try {
      plan.value = (await connection.request("plan", wanted, { signal: leaving, patience: PATIENCE })).result;
    } catch (failure) {
      if (leaving.aborted) return;
      plan.value = null;
      asked = "";
      error.value = wordsOf(failure);
    }
    busy.value = false;
  }, PAUSE);

  const stamp = computed(() => [store.revisions.value.slices, connection.revived.value].join());
  const seen = computed(() => store.view.value === "retrain");

  const stops = [
    effect(() => {
      place.value;
      stamp.value;
      if (going.value === null) store.revisions.value.runs;
      if (seen.value) fetchSetup();
    }),
    effect(() => {
      const wanted = args.value;
      if (planned !== place.value) {
        planned = place.value;
        plan.value = null;
        error.value = null;
        busy.value = false;
        asked = "";
        ask.cancel();
      }
      if (!seen.value) return;
      // The budget and what was thrown out earlier must be known first: a plan without the latter would be taken for a change of mind.
      const known = settled.value === planned;
      const now = wanted ? stamp.value + JSON.stringify([known, remedy.value, { ...wanted, control: null }]) : "";
      if (now === asked) return;
      asked = now;
      error.value = null;
      busy.value = wanted !== null;
      if (wanted && known) ask.run(wanted);
      else ask.cancel();
    }),
  ];

  return {
    setup, wish, target, wishedRemedy, remedy, budget, control, controllable, args, thrownOut, plan, error, busy, pictures,
    typeBudget: (words) => (typed.value = new Map(typed.value).set(place.value, words)),
    throwOut: (row) => (thrown.value = throwOut(thrown.value, place.value, row)),
    takeBack: () => (thrown.value = takeBack(thrown.value, place.value)),
    dispose() {
      stops.forEach((stop) => stop());
      ask.cancel();
      pictures.peek()?.dispose();
    },
  };
}
