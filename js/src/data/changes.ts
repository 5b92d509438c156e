// Which examples a run has fixed, broken or left wrong: three lists, each in pages that are asked for one after another.
import { type ReadonlySignal, signal } from "@preact/signals";
import { wordsOf } from "../core/narrow";
import type { Change, Changed, ChangedOf } from "../core/retraining";
import type { Connection } from "./connection";

export type Kind = "fixed" | "broken" | "still";

export interface Changes {
  /** Of the lists whose first page has come. */
  totals: ReadonlySignal<Partial<Record<Kind, number>>>;
  error: ReadonlySignal<string | null>;
  list(kind: Kind): readonly Changed[];
  more(kind: Kind): void;
  dispose(): void;
}

const PAGE = 60;

export function createChanges(connection: Connection, query: ChangedOf): Changes {
  const totals = signal<Partial<Record<Kind, number>>>({});
  const error = signal<string | null>(null);
  const examples = signal<Partial<Record<Kind, readonly Changed[]>>>({});
  const waiting = new Set<Kind>();
  const leaving = new AbortController();
  const list = (kind: Kind) => examples.value[kind] ?? [];

  async function more(kind: Kind) {
    if (waiting.has(kind)) return;
    waiting.add(kind);
    const change: Change = kind === "still" ? "still wrong" : kind;
    const offset = examples.peek()[kind]?.length ?? 0;
    try {
      const { result } = await connection.request("changed", { ...query, change, offset, limit: PAGE }, { signal: leaving.signal });
      examples.value = { ...examples.value, [kind]: [...list(kind), ...result.examples] };
      totals.value = { ...totals.value, [kind]: result.total };
    } catch (failure) {
      if (!leaving.signal.aborted) error.value = wordsOf(failure);
    }
    waiting.delete(kind);
  }

  return { totals, error, list, more, dispose: () => leaving.abort() };
}
