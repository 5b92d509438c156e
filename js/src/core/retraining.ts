// The messages of the retraining loop: what a plan would add, how a run goes, what it changed. protocol.ts takes them in.
import { type Check, type Checked, count, flag, list, nullable, oneOf, real, record, text } from "./narrow";

const counted = list(record({ name: text, count }));
const targets = list(record({ key: text, name: text }));

const remedy = record({ key: text, label: text, does: text, uses_budget: flag, available: flag, why: nullable(text) });

/** What the list of runs and the details of one have in common. */
const run = {
  number: count,
  title: text,
  status: oneOf("queued", "running", "done", "cancelled", "failed", "interrupted"),
  started: text,
  seconds: nullable(real),
  share: nullable(real),
  doing: nullable(text),
  error: nullable(text),
};
/** An arm may have ended before its run was cancelled, failed or was interrupted: then there are results. */
const runItem = record({ ...run, n_added: count, arms: list(text), has_results: flag });

/** Of the error rate: a negative change is for the better. */
const change = {
  n: count,
  change: nullable(real),
  low: nullable(real),
  high: nullable(real),
  verdict: oneOf("better", "worse", "no clear change"),
};
/** Runs may leave out examples of a row, those that chose their additions: each cell has its own n and rate before. */
const cell = record({ ...change, arm: text, before: nullable(real), after: nullable(real), fixed: count, broken: count });
/** The plan in the place of after, a control in that of before. */
const versus = record({ arm: text, rows: list(record({ ...change, name: text, key: nullable(text) })) });

const resultRow = record({
  group: oneOf("overall", "slice", "class"),
  name: text,
  key: nullable(text),
  n: count,
  before: nullable(real),
  is_target: flag,
  held_out: flag,
  caution: nullable(text),
  cells: list(cell),
});

const changed = record({ row: count, id: text, label: nullable(text), prediction: nullable(text), after: nullable(text) });

export const retrainingResults = {
  retraining: record({
    pool: nullable(record({ n: count, unit: text, source: nullable(text) })),
    problem: nullable(text),
    route: nullable(record({ kind: oneOf("function", "cell"), name: text })),
    n_confirmed: count,
    budget: count,
    thrown_out: list(count),
    remedies: list(remedy),
  }),
  plan: record({
    title: text,
    reason: text,
    n: count,
    n_thrown_out: count,
    targets,
    by_label: counted,
    cautions: list(text),
    examples: list(record({ row: count, id: text, label: text, score: nullable(real) })),
  }),
  run: record({ number: count, message: text }),
  stop_run: record({ message: text }),
  runs: record({ revision: count, runs: list(runItem) }),
  run_detail: record({
    ...run,
    reason: text,
    traceback: nullable(text),
    log: text,
    targets,
    curves: list(record({ arm: text, loss: list(real), validation: list(real) })),
    results: nullable(record({ note: text, arms: list(text), rows: list(resultRow), versus: nullable(versus) })),
  }),
  changed: record({ total: count, examples: list(changed) }),
} satisfies Record<string, Check<unknown>>;

type Results = typeof retrainingResults;
export type Setup = Checked<Results["retraining"]>;
export type Remedy = Checked<typeof remedy>;
export type Plan = Checked<Results["plan"]>;
export type Run = Checked<typeof runItem>;
export type RunDetail = Checked<Results["run_detail"]>;
export type Curve = RunDetail["curves"][number];
export type ResultRow = Checked<typeof resultRow>;
export type Cell = Checked<typeof cell>;
export type Versus = Checked<typeof versus>;
export type Changed = Checked<typeof changed>;

export type Target = "slice" | "confirmed";
export type Change = "fixed" | "broken" | "still wrong";

export interface PlanArgs {
  target: Target;
  slice: string | null;
  remedy: string;
  budget: number | null;
  thrown_out: readonly number[];
  control: boolean;
}

export interface ChangedOf {
  number: number;
  arm: string;
  of: "slice" | "all";
  slice: string | null;
}

export interface RetrainingArgs {
  retraining: { target: Target; slice: string | null };
  plan: PlanArgs;
  pool_thumbnails: { rows: number[]; size: number };
  run: PlanArgs;
  stop_run: { number: number };
  runs: Record<string, never>;
  run_detail: { number: number };
  changed: ChangedOf & { change: Change; offset: number; limit: number };
}

export const isGoing = (run: { status: Run["status"] }): boolean => run.status === "queued" || run.status === "running";
