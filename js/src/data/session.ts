// Everything a view may read or do, in one object made per view and disposed with it.
import { type ReadonlySignal, type Signal, effect, signal } from "@preact/signals";
import type { Result } from "../core/protocol";
import type { Store } from "../core/store";
import { type Theme } from "../core/theme";
import { type Connection, createConnection } from "./connection";
import { type Direction, createDirection } from "./direction";
import { type Details, createDetails } from "./examples";
import { type Planning, createPlanning } from "./plan";
import { type Points, createPoints } from "./points";
import { type Runs, createRuns } from "./runs";
import { type Slices, createSlices } from "./slices";
import { type Thumbnails, createThumbnails } from "./thumbnails";

export type Info = Result<"open">;
export type Shape = "wide" | "folded" | "stacked";

/** What there is once Python has answered `open`. */
export interface Loaded {
  info: Info;
  slices: Slices;
  points: Points;
  direction: Direction;
  thumbnails: Thumbnails;
  planning: Planning;
  runs: Runs;
  details(row: number, signal: AbortSignal): Promise<Details | null>;
}

export interface Session {
  store: Store;
  connection: Connection;
  loaded: ReadonlySignal<Loaded | null>;
  theme: ReadonlySignal<Theme>;
  shape: ReadonlySignal<Shape>;
  /** Whether the right column shows the slice in hand or the selection that may become one. */
  hand: Signal<"slice" | "selection">;
  /** Rises when the person asks to name something: the form takes the focus. */
  naming: Signal<number>;
  renderer: Signal<string>;
  retry(): void;
  dispose(): void;
}

export function createSession(store: Store, theme: ReadonlySignal<Theme>, shape: ReadonlySignal<Shape>): Session {
  const connection = createConnection(store);
  const loaded = signal<Loaded | null>(null);
  const hand = signal<"slice" | "selection">("slice");
  let parts: { dispose(): void }[] = [];

  async function open() {
    const answer = await connection.ask("open", {}, { patience: 40_000 });
    if (!answer || loaded.peek()) return;
    const info = answer.result;
    const slices = createSlices(store, connection);
    const points = createPoints(store, connection, info);
    const direction = createDirection(store, connection, slices.active);
    const thumbnails = createThumbnails(connection, info.source);
    const runs = createRuns(store, connection);
    const planning = createPlanning(store, connection, runs.going);
    const follow = effect(() => {
      if (points.selection.value.count === 0) hand.value = "slice";
    });
    parts = [slices, points, direction, thumbnails, planning, runs, { dispose: follow }];
    loaded.value = { info, slices, points, direction, thumbnails, planning, runs, details: createDetails(connection) };
  }

  const stop = effect(() => {
    connection.revived.value;
    if (!loaded.peek()) void open();
  });

  return {
    store, connection, loaded, theme, shape, hand,
    naming: signal(0),
    renderer: signal(""),
    retry() {
      connection.silent.value = false;
      connection.problem.value = null;
      if (loaded.peek()) connection.revived.value += 1;
      else void open();
    },
    dispose() {
      stop();
      parts.forEach((part) => part.dispose());
      connection.dispose();
      store.dispose();
    },
  };
}
