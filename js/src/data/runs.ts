// The runs of the retraining: their list, the details of those on screen, starting and stopping one, and which are compared.
import { type ReadonlySignal, type Signal, computed, effect, signal } from "@preact/signals";
import { announcement } from "../core/announce";
import { toggled } from "../core/comparison";
import { latest } from "../core/latest";
import { wordsOf } from "../core/narrow";
import { type PlanArgs, type Run, type RunDetail, isGoing } from "../core/retraining";
import type { Store } from "../core/store";
import type { Kind } from "./changes";
import type { Connection } from "./connection";

/** What of a run's changes is looked at. */
export interface Look {
  of: "slice" | "all";
  kind: Kind;
  /** Key of a column; null is the first one shown. */
  column: string | null;
}

export interface Runs {
  /** Newest first; null until the kernel has answered. */
  list: ReadonlySignal<readonly Run[] | null>;
  going: ReadonlySignal<Run | null>;
  details: ReadonlySignal<ReadonlyMap<number, RunDetail>>;
  /** Numbers of the runs in the table, newest first. */
  shown: ReadonlySignal<readonly number[]>;
  look: Signal<Look>;
  toggle(number: number): void;
  /** This run alone. */
  compare(number: number): void;
  /** The run that was started here last, 0 for none. */
  begun: ReadonlySignal<number>;
  /** From the press until the list knows the run. */
  starting: ReadonlySignal<boolean>;
  startError: ReadonlySignal<string | null>;
  start(args: PlanArgs): Promise<void>;
  /** The run that was asked to stop and has not yet. */
  stopping: ReadonlySignal<number | null>;
  stop(number: number): Promise<void>;
  /** For the live region. */
  said: ReadonlySignal<string>;
  dispose(): void;
}

const PATIENCE = 120_000;

export function createRuns(store: Store, connection: Connection): Runs {
  const list = signal<readonly Run[] | null>(null);
  const details = signal<ReadonlyMap<number, RunDetail>>(new Map());
  const chosen = signal<readonly number[] | null>(null);
  const look = signal<Look>({ of: "slice", kind: "fixed", column: null });
  const sending = signal(false);
  const begun = signal(0);
  const startError = signal<string | null>(null);
  const asked = signal<number | null>(null);
  const said = signal("");
  /** What the details on hand were fetched at: an ended run changes only with the slices. */
  const fetched = new Map<number, string>();

  const going = computed(() => list.value?.find(isGoing) ?? null);
  const starting = computed(() => sending.value || begun.value > (list.value?.[0]?.number ?? 0));
  const stopping = computed(() => (asked.value !== null && asked.value === going.value?.number ? asked.value : null));
  const shown = computed(() => {
    const open = (list.value ?? []).filter((run) => run.has_results);
    const first = open.find((run) => run.status === "done") ?? open[0];
    return open.map((run) => run.number).filter((number) => (chosen.value ?? [first?.number]).includes(number));
  });
  const onScreen = computed(() => {
    const view = store.view.value;
    return (view === "compare" ? shown.value : view === "retrain" ? list.value?.slice(0, 1).map((run) => run.number) ?? [] : []).join();
  });
  const stamp = computed(() => [store.revisions.value.slices, connection.revived.value].join());

  const fetchList = latest(async () => {
    const answer = await connection.ask("runs", {});
    if (!answer) return;
    const { runs } = answer.result;
    said.value = announcement(list.peek(), runs) ?? said.peek();
    list.value = runs;
    fetchDetails();
  });

  const fetchDetails = latest(async () => {
    for (const number of onScreen.peek().split(",").filter(Boolean).map(Number)) {
      const run = list.peek()?.find((one) => one.number === number);
      const now = `${stamp.peek()} ${run?.status}`;
      if (!run || (fetched.get(number) === now && !isGoing(run))) continue;
      const answer = await connection.ask("run_detail", { number });
      if (!answer) continue;
      // Between two requests a run may end: what came then is asked for again at the next rise.
      if (answer.result.status === run.status) fetched.set(number, now);
      details.value = new Map(details.value).set(number, answer.result);
    }
  });

  const stops = [
    effect(() => {
      const { runs } = store.revisions.value;
      connection.revived.value;
      if (runs || ["retrain", "compare"].includes(store.view.value)) fetchList();
    }),
    effect(() => {
      onScreen.value;
      stamp.value;
      fetchDetails();
    }),
  ];

  async function start(args: PlanArgs) {
    sending.value = true;
    startError.value = null;
    try {
      begun.value = (await connection.request("run", args, { patience: PATIENCE })).result.number;
    } catch (failure) {
      startError.value = wordsOf(failure);
    }
    sending.value = false;
    fetchList();
  }

  async function stop(number: number) {
    asked.value = number;
    const answer = await connection.ask("stop_run", { number });
    if (!answer) asked.value = null;
  }

  return {
    list, going, details, shown, look, begun, starting, startError, start, stopping, stop, said,
    toggle: (number) => (chosen.value = toggled(shown.value, number)),
    compare(number) {
      chosen.value = [number];
      look.value = { ...look.value, column: null };
    },
    dispose: () => stops.forEach((stop) => stop()),
  };
}
