// The synced state as signals. This file alone touches the anywidget model.
import { type ReadonlySignal, batch, signal } from "@preact/signals";
import type { AnyModel } from "@anywidget/types";
import { isRecord } from "./narrow";
import type { Wire } from "./rpc";

const VIEWS = ["map", "gallery", "retrain", "compare"] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Store {
  view: ReadonlySignal<ViewName>;
  activeSlice: ReadonlySignal<string | null>;
  step: ReadonlySignal<number>;
  nSteps: ReadonlySignal<number>;
  selection: ReadonlySignal<{ count: number; revision: number }>;
  /** How often each kind of content has changed in Python: when one rises, fetch it again. */
  revisions: ReadonlySignal<Record<string, number>>;
  show(view: ViewName): void;
  choose(slice: string | null): void;
  stepTo(step: number): void;
  wire: Wire;
  dispose(): void;
}

export function createStore(model: AnyModel): Store {
  const readers: Record<string, () => void> = {};
  function follow<T>(name: string, as: (value: unknown) => T): ReadonlySignal<T> {
    const read = () => as(model.get(name) as unknown);
    const followed = signal(read());
    readers[name] = () => (followed.value = read());
    return followed;
  }
  const view = follow("view", asView);
  const activeSlice = follow("active_slice", asKey);
  const step = follow("step", asCount);
  const nSteps = follow("n_steps", asCount);
  const selection = follow("selection_state", asSelection);
  const revisions = follow("revisions", asRevisions);
  for (const name in readers) model.on(`change:${name}`, readers[name]!);

  function write(name: string, value: unknown) {
    batch(() => {
      model.set(name, value);
      readers[name]!();
    });
    model.save_changes();
  }

  const wire: Wire = {
    send: (message, buffers) => model.send(message, undefined, buffers),
    listen(heard) {
      const handler = (message: unknown, buffers: readonly unknown[] | undefined) => heard(message, buffers ?? []);
      model.on("msg:custom", handler);
      return () => model.off("msg:custom", handler);
    },
  };

  return {
    view,
    activeSlice,
    step,
    nSteps,
    selection,
    revisions,
    show: (name) => view.peek() !== name && write("view", name),
    choose: (slice) => activeSlice.peek() !== slice && write("active_slice", slice),
    stepTo: (to) => step.peek() !== to && write("step", to),
    wire,
    dispose() {
      for (const name in readers) model.off(`change:${name}`, readers[name]!);
    },
  };
}

function asView(value: unknown): ViewName {
  return VIEWS.find((name) => name === value) ?? "map";
}

function asKey(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function asCount(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}

function asSelection(value: unknown): { count: number; revision: number } {
  return isRecord(value) ? { count: asCount(value.count), revision: asCount(value.revision) } : { count: 0, revision: 0 };
}

function asRevisions(value: unknown): Record<string, number> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(Object.entries(value).map(([name, revision]) => [name, asCount(revision)]));
}
