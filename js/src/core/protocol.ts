// Every message between the browser and the kernel, as types and as runtime checks; tests/protocol.json holds one example of each.
import { type Check, type Checked, MalformedMessage, count, flag, isRecord, list, nullable, oneOf, pair, real, record, text } from "./narrow";
import { type RetrainingArgs, retrainingResults } from "./retraining";

const channelKind = oneOf("outcome", "category", "number");

const example = record({
  row: count,
  id: text,
  label: nullable(text),
  prediction: nullable(text),
  wrong: nullable(flag),
  score: nullable(real),
  loss: nullable(real),
  confidence: nullable(real),
  caption: nullable(text),
});

const slice = record({
  key: text,
  name: text,
  method: text,
  kind: oneOf("found", "drawn"),
  scope: text,
  colour: count,
  n: count,
  n_wrong: nullable(count),
  error_rate: nullable(real),
  low: nullable(real),
  high: nullable(real),
  rest_error_rate: nullable(real),
  rest_n: nullable(count),
  status: oneOf("confirmed", "not confirmed", "needs more", "in-sample", "drawn", "no labels"),
  badge: text,
  explanation: text,
  has_direction: flag,
  confused_as: text,
  confused_with: list(record({ name: text, count })),
  tags: list(text),
  note: text,
  found_name: nullable(text),
});

const history = record({
  can_undo: flag,
  can_redo: flag,
  undo: nullable(text),
  redo: nullable(text),
  n_labels: count,
  saved: flag,
  place: nullable(text),
});

const selected = record({ count, revision: count, n_wrong: nullable(count) });
const written = record({ key: text, message: text });
const moved = record({ message: text });
const thumbnails = record({
  items: list(record({ row: count, mime: nullable(text), buffer: nullable(count), text: nullable(text), error: nullable(text) })),
});

/** What Python answers to each command. */
export const results = {
  open: record({
    protocol: count,
    n: count,
    n_wrong: nullable(count),
    accuracy: nullable(real),
    unit: text,
    source: nullable(text),
    classes: list(text),
    channels: list(record({ key: text, label: text, kind: channelKind })),
    notice: nullable(text),
  }),
  layout: record({ n: count, method: text, final: flag, revision: count }),
  channel: record({
    key: text,
    label: text,
    kind: channelKind,
    categories: nullable(list(text)),
    low: nullable(real),
    high: nullable(real),
  }),
  slices: record({ slices: list(slice), revision: count, history }),
  gallery: record({ total: count, examples: list(example) }),
  thumbnails,
  pool_thumbnails: thumbnails,
  example: record({
    row: count,
    id: text,
    label: nullable(text),
    prediction: nullable(text),
    wrong: nullable(flag),
    loss: nullable(real),
    confidence: nullable(real),
    metadata: list(pair(text, text)),
  }),
  direction: record({
    slice: text,
    scope: text,
    n: count,
    n_steps: count,
    edges: list(real),
    right: list(count),
    wrong: list(count),
    boundary: nullable(real),
    steps: list(record({ score: real, n: count, n_wrong: count, low: nullable(real), high: nullable(real) })),
    easiest: nullable(text),
    hardest: nullable(text),
  }),
  strip: record({ step: count, centre: count, examples: list(example) }),
  select: selected,
  selection: selected,
  members: record({ slice: text, count }),
  create_slice: written,
  label_slice: written,
  delete_slice: written,
  undo: moved,
  redo: moved,
  ...retrainingResults,
} satisfies Record<string, Check<unknown>>;

export type Command = keyof typeof results;
export type Result<C extends Command> = Checked<(typeof results)[C]>;
export type Slice = Checked<typeof slice>;
export type Example = Checked<typeof example>;
export type History = Checked<typeof history>;

export type GalleryOf = "slice" | "selection" | "all";
export type GalleryOrder = "score" | "loss";
export type GalleryOnly = "all" | "wrong" | "right";
interface Label {
  name: string;
  tags: string[];
  note: string;
}
type None = Record<string, never>;

/** What the browser sends with each command. */
export interface Args extends RetrainingArgs {
  open: None;
  layout: None;
  channel: { key: string; slice: string | null };
  slices: None;
  gallery: { of: GalleryOf; slice: string | null; order: GalleryOrder; only: GalleryOnly; offset: number; limit: number };
  thumbnails: { rows: number[]; size: number };
  example: { row: number };
  direction: { slice: string };
  strip: { slice: string; step: number; count: number };
  select: { how: "bitset" | "slice" | "clear"; slice: string | null };
  selection: None;
  members: { slice: string };
  create_slice: Label;
  label_slice: Label & { key: string };
  delete_slice: { key: string };
  undo: None;
  redo: None;
}

export interface Reply {
  id: string | number;
  body: { result: unknown } | { error: string };
}

/** A message that is no reply at all (another widget's, or garbage) is null, never an exception. */
export function readReply(message: unknown): Reply | null {
  if (!isRecord(message)) return null;
  const { id, error } = message;
  if (typeof id !== "string" && typeof id !== "number") return null;
  if (error !== undefined && error !== null) {
    const sentence = isRecord(error) && typeof error.message === "string" ? error.message : "Python failed without saying why.";
    return { id, body: { error: sentence } };
  }
  return "result" in message ? { id, body: { result: message.result } } : null;
}

/** Jupyter hands over DataViews into a larger message: copy exactly the bytes that are meant. */
export function copyBytes(buffer: unknown): Uint8Array<ArrayBuffer> {
  if (ArrayBuffer.isView(buffer)) {
    return new Uint8Array(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength));
  }
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer.slice(0));
  throw new MalformedMessage("Python sent a message this widget cannot read: not binary.");
}

/** The only buffer of a reply, at its exact length. */
export function soleBuffer(buffers: Uint8Array<ArrayBuffer>[], bytes: number, what: string): Uint8Array<ArrayBuffer> {
  const buffer = buffers[0];
  if (!buffer || buffer.byteLength !== bytes) {
    throw new MalformedMessage(`Python sent ${buffer?.byteLength ?? 0} bytes of ${what}, and ${bytes} were expected.`);
  }
  return buffer;
}
