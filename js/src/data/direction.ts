// A walk from the easiest to the hardest example of a scope: the whole direction once, a strip of neighbours per step.
import { type ReadonlySignal, type Signal, batch, computed, effect, signal } from "@preact/signals";
import { latest } from "../core/latest";
import type { Result, Slice } from "../core/protocol";
import type { Store } from "../core/store";
import type { Connection } from "./connection";

export type DirectionInfo = Result<"direction">;
export type Strip = Result<"strip">;

export interface Direction {
  info: ReadonlySignal<DirectionInfo | null>;
  strip: ReadonlySignal<Strip | null>;
  /** Thumbnails that fit beside each other; odd, so that one is in the middle. */
  count: Signal<number>;
  nSteps: ReadonlySignal<number>;
  /** To this step, or the nearest there is. */
  stepTo(step: number): void;
  dispose(): void;
}

export function createDirection(store: Store, connection: Connection, active: ReadonlySignal<Slice | null>): Direction {
  const info = signal<DirectionInfo | null>(null);
  const strip = signal<Strip | null>(null);
  const count = signal(11);
  const known = new Map<string, DirectionInfo>();
  const strips = new Map<string, Strip>();
  const nSteps = computed(() => Math.max(info.value?.n_steps ?? store.nSteps.value, 1));
  const slice = computed(() => (active.value?.has_direction ? active.value.key : null));

  const showInfo = latest(async () => {
    const key = slice.peek();
    if (key !== info.peek()?.slice) batch(() => ((info.value = null), (strip.value = null)));
    if (key === null) return;
    const found = known.get(key) ?? (await connection.ask("direction", { slice: key }))?.result;
    if (!found) return;
    known.set(key, found);
    if (slice.peek() === key) info.value = found;
  });

  const showStrip = latest(async () => {
    const key = slice.peek();
    if (key === null) return;
    const step = store.step.peek();
    const name = `${key} ${step} ${count.peek()}`;
    const found = strips.get(name) ?? (await connection.ask("strip", { slice: key, step, count: count.peek() }))?.result;
    if (!found) return;
    if (strips.size > 400) strips.clear();
    strips.set(name, found);
    if (slice.peek() === key) strip.value = found;
  });

  const stops = [
    effect(() => {
      slice.value;
      connection.revived.value;
      showInfo();
    }),
    effect(() => {
      slice.value;
      store.step.value;
      count.value;
      showStrip();
    }),
  ];
  function stepTo(step: number) {
    if (slice.peek() !== null) store.stepTo(Math.min(Math.max(step, 0), nSteps.peek() - 1));
  }

  return { info, strip, count, nSteps, stepTo, dispose: () => stops.forEach((stop) => stop()) };
}
