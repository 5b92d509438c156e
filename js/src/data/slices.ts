// The list of slices and everything a person can do to one. "Saved" is said only after Python's reply.
import { type ReadonlySignal, type Signal, computed, effect, signal } from "@preact/signals";
import { type Drafts, type Label, NEW, settle, trimmed } from "../core/drafts";
import { latest } from "../core/latest";
import { wordsOf } from "../core/narrow";
import type { History, Slice } from "../core/protocol";
import type { Store } from "../core/store";
import type { Connection } from "./connection";

export interface Slices {
  /** Null until the first answer. */
  list: ReadonlySignal<Slice[] | null>;
  history: ReadonlySignal<History | null>;
  revision: ReadonlySignal<number>;
  active: ReadonlySignal<Slice | null>;
  drafts: Signal<Drafts>;
  saving: ReadonlySignal<boolean>;
  /** Writes that Python has confirmed to this view. */
  saves: ReadonlySignal<number>;
  /** Sentence for the live region and the form, after a confirmed write. */
  said: ReadonlySignal<string>;
  /** The last write that failed, by draft key. */
  failed: Signal<{ key: string; message: string } | null>;
  save(key: string, label: Label): Promise<string | null>;
  remove(key: string): Promise<void>;
  undo(): Promise<void>;
  redo(): Promise<void>;
  dispose(): void;
}

export function createSlices(store: Store, connection: Connection): Slices {
  const list = signal<Slice[] | null>(null);
  const history = signal<History | null>(null);
  const revision = signal(0);
  const drafts = signal<Drafts>(new Map());
  const saving = signal(false);
  const saves = signal(0);
  const said = signal("");
  const failed = signal<{ key: string; message: string } | null>(null);
  const active = computed(() => list.value?.find((slice) => slice.key === store.activeSlice.value) ?? null);

  async function fetchSlices() {
    const answer = await connection.ask("slices", {});
    if (!answer) return;
    list.value = answer.result.slices;
    history.value = answer.result.history;
    revision.value = answer.result.revision;
  }
  const refresh = latest(fetchSlices);
  const risen = computed(() => [store.revisions.value.slices, connection.revived.value].join());
  const stop = effect(() => {
    risen.value;
    refresh();
  });

  async function write(key: string, work: () => Promise<string>): Promise<boolean> {
    saving.value = true;
    failed.value = null;
    try {
      said.value = await work();
      saves.value += 1;
      return true;
    } catch (error) {
      failed.value = { key, message: wordsOf(error) };
      return false;
    } finally {
      saving.value = false;
    }
  }

  async function save(key: string, label: Label): Promise<string | null> {
    const clean = trimmed(label);
    let made: string | null = null;
    const done = await write(key, async () => {
      const { result } =
        key === NEW ? await connection.request("create_slice", { ...clean }) : await connection.request("label_slice", { key, ...clean });
      made = result.key;
      return result.message;
    });
    if (!done) return null;
    await fetchSlices();
    drafts.value = settle(drafts.value, key, clean);
    return made;
  }

  async function move(command: "undo" | "redo") {
    await write("", async () => (await connection.request(command, {})).result.message);
    if (failed.value) connection.problem.value = failed.value.message;
    await fetchSlices();
  }

  async function remove(key: string) {
    const done = await write(key, async () => (await connection.request("delete_slice", { key })).result.message);
    if (done) await fetchSlices();
  }

  return {
    list, history, revision, active, drafts, saving, saves, said, failed, save, remove,
    undo: () => move("undo"),
    redo: () => move("redo"),
    dispose: stop,
  };
}
