// Pictures (or texts) of examples: asked for in batches by what is visible, newest first, kept up to a limit.
import { type ReadonlySignal, type Signal, effect, signal } from "@preact/signals";
import type { Connection } from "./connection";

export type Thumb =
  | { state: "waiting" }
  | { state: "image"; url: string }
  | { state: "text"; text: string }
  | { state: "broken"; message: string }
  | { state: "none" };

export type ThumbSize = 64 | 128;

export interface Thumbnails {
  get(row: number, size: ThumbSize): ReadonlySignal<Thumb>;
  dispose(): void;
}

const BATCH = 40;
const AT_ONCE = 2;
const KEPT = 4000;

/** `command` says whose rows they are: the Evaluation's or the pool's. */
export function createThumbnails(connection: Connection, source: string | null, command: "thumbnails" | "pool_thumbnails" = "thumbnails"): Thumbnails {
  const kept = new Map<string, Signal<Thumb>>();
  const nothing = signal<Thumb>({ state: "none" });
  /** Asked for again once the kernel is back, and not before: a tile must not ask in circles. */
  const missed = new Set<string>();
  let queue: { row: number; size: ThumbSize }[] = [];
  let running = 0;
  let scheduled = false;
  let disposed = false;

  function get(row: number, size: ThumbSize): ReadonlySignal<Thumb> {
    if (source === null || source === "none") return nothing;
    const name = `${size} ${row}`;
    const known = kept.get(name);
    if (known) {
      kept.delete(name);
      kept.set(name, known);
      return known;
    }
    const made = signal<Thumb>({ state: "waiting" });
    kept.set(name, made);
    if (kept.size > KEPT) evict();
    queue.push({ row, size });
    schedule();
    return made;
  }

  function evict() {
    const [name, oldest] = kept.entries().next().value!;
    kept.delete(name);
    release(oldest.peek());
  }

  function schedule() {
    if (scheduled || disposed) return;
    scheduled = true;
    setTimeout(() => {
      scheduled = false;
      while (running < AT_ONCE && queue.length > 0) void fetchBatch();
    }, 12);
  }

  async function fetchBatch() {
    const size = queue[queue.length - 1]!.size;
    const batch = queue.filter((one) => one.size === size).slice(-BATCH);
    queue = queue.filter((one) => !batch.includes(one));
    const rows = batch.map((one) => one.row);
    running += 1;
    const answer = await connection.ask(command, { rows, size });
    running -= 1;
    if (disposed) return;
    const missing = new Set(rows);
    for (const item of answer?.result.items ?? []) {
      missing.delete(item.row);
      const bytes = item.buffer === null ? undefined : answer!.buffers[item.buffer];
      show(item.row, size, thumbOf(item, bytes));
    }
    for (const row of missing) {
      show(row, size, { state: "broken", message: "The picture of this example did not come." });
      missed.add(`${size} ${row}`);
    }
    if (queue.length > 0) schedule();
  }

  function show(row: number, size: ThumbSize, thumb: Thumb) {
    const target = kept.get(`${size} ${row}`);
    if (target) target.value = thumb;
    else release(thumb);
  }

  const stop = effect(() => {
    connection.revived.value;
    missed.forEach((name) => kept.delete(name));
    missed.clear();
  });

  return {
    get,
    dispose() {
      stop();
      disposed = true;
      for (const one of kept.values()) release(one.peek());
      kept.clear();
    },
  };
}

function thumbOf(item: { mime: string | null; text: string | null; error: string | null }, bytes: Uint8Array<ArrayBuffer> | undefined): Thumb {
  if (item.error !== null) return { state: "broken", message: item.error };
  if (bytes && item.mime?.startsWith("image/")) return { state: "image", url: URL.createObjectURL(new Blob([bytes], { type: item.mime })) };
  if (item.text !== null) return { state: "text", text: item.text };
  return { state: "none" };
}

function release(thumb: Thumb) {
  if (thumb.state === "image") URL.revokeObjectURL(thumb.url);
}
