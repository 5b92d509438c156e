// What the map draws: positions, one byte per coloured channel, the rows selected and the rows of the slice in hand.
import { type ReadonlySignal, type Signal, computed, effect, signal } from "@preact/signals";
import { latest } from "../core/latest";
import { emptyBits } from "../core/bitset";
import { type Result, soleBuffer } from "../core/protocol";
import type { Store } from "../core/store";
import type { Connection } from "./connection";

export interface Channel extends Result<"channel"> {
  values: Uint8Array<ArrayBuffer>;
}

export interface Selection {
  bits: Uint8Array<ArrayBuffer> | null;
  count: number;
  nWrong: number | null;
  revision: number;
}

export interface Points {
  positions: ReadonlySignal<Uint16Array | null>;
  layout: ReadonlySignal<Result<"layout"> | null>;
  colourBy: Signal<string>;
  channel: ReadonlySignal<Channel | null>;
  outcome: ReadonlySignal<Channel | null>;
  members: ReadonlySignal<Uint8Array<ArrayBuffer> | null>;
  selection: ReadonlySignal<Selection>;
  select(bits: Uint8Array<ArrayBuffer>): Promise<void>;
  selectSlice(slice: string): Promise<void>;
  clear(): Promise<void>;
  dispose(): void;
}

const NOTHING: Selection = { bits: null, count: 0, nWrong: null, revision: 0 };
/** A layout of many points takes Python a while, and the person sees "laying out" meanwhile. */
const LAYOUT_PATIENCE = 180_000;

export function createPoints(store: Store, connection: Connection, info: Result<"open">): Points {
  const { n } = info;
  const layout = signal<Result<"layout"> | null>(null);
  const positions = signal<Uint16Array | null>(null);
  const colourBy = signal(info.channels[0]?.key ?? "outcome");
  const channel = signal<Channel | null>(null);
  const outcome = signal<Channel | null>(null);
  const members = signal<Uint8Array<ArrayBuffer> | null>(null);
  const selection = signal<Selection>(NOTHING);
  const kept = new Map<string, Channel>();
  const memberBits = new Map<string, Uint8Array<ArrayBuffer>>();
  let selecting = false;

  const fetchLayout = latest(async () => {
    const answer = await connection.ask("layout", {}, { patience: LAYOUT_PATIENCE });
    if (!answer) return;
    try {
      positions.value = new Uint16Array(soleBuffer(answer.buffers, 4 * n, "map positions").buffer);
      layout.value = answer.result;
    } catch (error) {
      connection.report(error);
    }
  });

  async function fetchChannel(key: string, slice: string | null): Promise<Channel | null> {
    const name = `${key} ${slice ?? ""}`;
    const known = kept.get(name);
    if (known) return known;
    const answer = await connection.ask("channel", { key, slice });
    if (!answer) return null;
    try {
      const fetched = { ...answer.result, values: soleBuffer(answer.buffers, n, `channel ${key}`) };
      if (kept.size >= 12) kept.delete(kept.keys().next().value!);
      kept.set(name, fetched);
      return fetched;
    } catch (error) {
      connection.report(error);
      return null;
    }
  }

  /** Only the slice score depends on the slice in hand. */
  const wanted = computed(() => ({ key: colourBy.value, slice: colourBy.value === "score" ? store.activeSlice.value : null }));
  const showChannel = latest(async () => {
    const { key, slice } = wanted.peek();
    const fetched = await fetchChannel(key, slice);
    if (fetched) channel.value = fetched;
  });

  const showMembers = latest(async () => {
    const slice = store.activeSlice.peek();
    if (slice === null) {
      members.value = null;
      return;
    }
    let bits = memberBits.get(slice);
    if (!bits) {
      // Emphasis is decoration: a slice that has just been removed elsewhere is no reason for a message.
      const answer = await connection.request("members", { slice }).catch(() => null);
      bits = answer?.buffers[0]?.byteLength === emptyBits(n).length ? answer.buffers[0] : undefined;
      if (bits) memberBits.set(slice, bits);
    }
    // An empty slice has nothing to stand out: the map stays as it is.
    members.value = bits?.some(Boolean) ? bits : null;
  });

  const fetchSelection = latest(async () => {
    const state = store.selection.peek();
    if (selecting || state.revision === selection.peek().revision) return;
    if (state.count === 0) {
      selection.value = { ...NOTHING, revision: state.revision };
      return;
    }
    const answer = await connection.ask("selection", {});
    if (answer && !selecting) keepSelection(answer.result, answer.buffers[0] ?? null);
  });

  function keepSelection(result: Result<"selection">, bits: Uint8Array<ArrayBuffer> | null) {
    const fits = bits && bits.byteLength === emptyBits(n).length;
    selection.value = { bits: fits && result.count > 0 ? bits : null, count: result.count, nWrong: result.n_wrong, revision: result.revision };
  }

  async function change(how: "bitset" | "slice" | "clear", slice: string | null, bits: Uint8Array<ArrayBuffer> | null) {
    selecting = true;
    const answer = await connection.ask("select", { how, slice }, bits ? { buffers: [bits.buffer] } : {});
    selecting = false;
    // Which rows a slice holds is Python's to say: those bits are fetched once the state says that they changed.
    if (answer && how !== "slice") keepSelection(answer.result, bits);
    fetchSelection();
  }

  const stops = [
    effect(() => {
      store.revisions.value.layout;
      connection.revived.value;
      fetchLayout();
    }),
    effect(() => {
      wanted.value;
      connection.revived.value;
      showChannel();
    }),
    effect(() => {
      store.activeSlice.value;
      showMembers();
    }),
    effect(() => {
      store.selection.value;
      fetchSelection();
    }),
  ];
  if (info.channels.some((one) => one.key === "outcome")) {
    void fetchChannel("outcome", null).then((fetched) => (outcome.value = fetched));
  }

  return {
    positions, layout, colourBy, channel, outcome, members, selection,
    select: (bits) => change("bitset", null, bits),
    selectSlice: (slice) => change("slice", slice, null),
    clear: () => change("clear", null, null),
    dispose: () => stops.forEach((stop) => stop()),
  };
}
