// A stub of the anywidget model with canned answers, so that the widget can be seen without Python.
import { createRetraining } from "./retraining.mjs";

const CLASSES = ["sandal", "sneaker", "ankle boot", "dress", "shirt", "pullover", "coat", "bag"];
const BACKGROUNDS = ["studio", "grass", "sand", "brick", "water", "snow"];

function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function wilson(k, n) {
  if (n === 0) return [0, 1];
  const z = 1.96, p = n ? k / n : 0, s = 1 + (z * z) / n;
  const mid = (p + (z * z) / (2 * n)) / s, half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / s;
  return [Math.max(0, mid - half), Math.min(1, mid + half)];
}

export function createWorld(n, seed = 7) {
  const next = random(seed);
  const normal = () => Math.sqrt(-2 * Math.log(next() + 1e-9)) * Math.cos(2 * Math.PI * next());
  const label = new Uint8Array(n), prediction = new Uint8Array(n), background = new Uint8Array(n), wrong = new Uint8Array(n), loss = new Float32Array(n), score = new Float32Array(n);
  const early = new Uint16Array(2 * n), late = new Uint16Array(2 * n);
  const clamp = (v) => Math.min(65535, Math.max(0, Math.round(v)));
  for (let i = 0; i < n; i++) {
    label[i] = Math.floor(next() * CLASSES.length);
    background[i] = Math.floor(next() * BACKGROUNDS.length);
    const hard = label[i] === background[i] || (label[i] === 1 && background[i] === 1);
    wrong[i] = next() < (hard ? 0.55 : 0.09) ? 1 : 0;
    prediction[i] = wrong[i] ? (label[i] + 1 + Math.floor(next() * 2)) % CLASSES.length : label[i];
    loss[i] = wrong[i] ? 1 + 2 * next() : 0.7 * next() ** 3;
    score[i] = (hard ? 0.8 : -0.8) + 0.55 * normal();
    const angle = (label[i] / CLASSES.length) * 2 * Math.PI, sub = (background[i] / BACKGROUNDS.length) * 2 * Math.PI;
    late[2 * i] = clamp(32768 + Math.cos(angle) * 21000 + Math.cos(sub) * 5200 + normal() * 1700);
    late[2 * i + 1] = clamp(32768 + Math.sin(angle) * 21000 + Math.sin(sub) * 5200 + normal() * 1700);
    early[2 * i] = clamp(32768 + Math.cos(angle) * 9000 + normal() * 6500);
    early[2 * i + 1] = clamp(32768 + Math.sin(angle) * 12000 + normal() * 6500);
  }
  return { n, label, prediction, background, wrong, loss, score, early, late };
}

const count = (a, test) => a.reduce((total, value, i) => total + (test(value, i) ? 1 : 0), 0);

export function createSlices(w, zero = false) {
  const make = (key, name, method, colour, test, status, badge, direction, extra = {}) => {
    const rows = [];
    for (let i = 0; i < w.n; i++) if (test(i)) rows.push(i);
    const nWrong = rows.filter((i) => w.wrong[i]).length, [low, high] = wilson(nWrong, rows.length);
    const scope = extra.scope ?? CLASSES[w.label[rows[0]] ?? 0];
    const inScope = scope === "all classes" ? w.n : count(w.label, (l) => CLASSES[l] === scope);
    const wrongScope = scope === "all classes" ? count(w.wrong, Boolean) : count(w.label, (l, i) => CLASSES[l] === scope && w.wrong[i]);
    const names = {};
    for (const i of rows) if (w.wrong[i]) names[CLASSES[w.prediction[i]]] = (names[CLASSES[w.prediction[i]]] ?? 0) + 1;
    const rest = inScope - rows.length, restWrong = wrongScope - nWrong;
    return {
      rows,
      data: {
        key, name, method, kind: extra.kind ?? "found", scope, colour, n: rows.length, n_wrong: nWrong, error_rate: rows.length ? nWrong / rows.length : null, low, high,
        rest_error_rate: rest ? restWrong / rest : null, rest_n: rest, status, badge,
        explanation: extra.explanation ?? `Held-out images the search never saw: ${nWrong} of ${rows.length} wrong, against ${restWrong} of ${rest} elsewhere in the class. Of all slices marked confirmed, at most 10% are expected to be chance.`,
        has_direction: direction, confused_as: "mistaken for", confused_with: Object.entries(names).map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count),
        tags: extra.tags ?? [], note: extra.note ?? "", found_name: extra.kind === "drawn" ? null : extra.found ?? name,
      },
    };
  };
  const at = (l, b) => (i) => w.label[i] === l && w.background[i] === b;
  return [
    make("f0", "Sneakers on grass", "failure direction", 0, at(1, 1), "confirmed", "confirmed", true, { tags: ["background", "collect more"], note: "Nearly all on lawn.", found: "sneaker, hardest" }),
    make("f1", "ankle boot, hardest", "failure direction", 1, at(2, 2), "confirmed", "confirmed", true),
    make("f2", "background = brick and class = dress", "failure tree", 2, at(3, 3), "confirmed", "confirmed", false),
    make("f3", "shirt, hardest", "failure direction", 3, at(4, 4), "needs more", "needs about 40 more", true),
    make("f4", "pullover near coat", "spotlight", 4, at(5, 2), "not confirmed", "not confirmed", false),
    make("d5", "dark bags I noticed", "drawn by hand", 5, (i) => w.label[i] === 7 && w.background[i] === 0 && w.loss[i] > 0.4, "drawn", "drawn on these data", false, { kind: "drawn", explanation: "You drew this while looking at these images, so its error rate is not a held-out test." }),
    ...(zero ? [make("f6", "a slice of nothing", "failure tree", 6, () => false, "in-sample", "in-sample", false)] : []),
  ];
}

function scene(w, row, size) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const c = canvas.getContext("2d"), r = random(row + 1);
  c.scale(size / 64, size / 64);
  c.fillStyle = ["#d8d8da", "#4f8f2f", "#d9c08a", "#9c4a38", "#3f7fa8", "#e8eef4"][w.background[row]];
  c.fillRect(0, 0, 64, 64);
  c.globalAlpha = 0.25;
  for (let i = 0; i < 60; i++) { c.fillStyle = r() < 0.5 ? "#fff" : "#000"; c.fillRect(r() * 64, r() * 64, 2 + r() * 4, 1 + r() * 3); }
  c.globalAlpha = 1;
  c.fillStyle = `hsl(${Math.floor(r() * 360)} 55% ${30 + r() * 30}%)`;
  const s = 0.7 + r() * 0.5;
  c.translate(32, 36); c.scale(s, s); c.beginPath();
  const l = w.label[row];
  if (l < 3) { c.moveTo(-22, -8); c.lineTo(-10, l === 2 ? -22 : -12); c.lineTo(-2, -6); c.lineTo(20, 2); c.lineTo(22, 10); c.lineTo(-22, 10); }
  else if (l === 3) { c.moveTo(-7, -24); c.lineTo(7, -24); c.lineTo(5, -8); c.lineTo(16, 22); c.lineTo(-16, 22); c.lineTo(-5, -8); }
  else if (l === 7) c.roundRect(-18, -10, 36, 26, 5);
  else { c.moveTo(-10, -20); c.lineTo(10, -20); c.lineTo(24, -6); c.lineTo(16, 0); c.lineTo(12, -4); c.lineTo(12, 22); c.lineTo(-12, 22); c.lineTo(-12, -4); c.lineTo(-16, 0); c.lineTo(-24, -6); }
  c.closePath(); c.fill(); c.strokeStyle = "rgb(0 0 0 / .45)"; c.stroke();
  return new Promise((done) => canvas.toBlob((blob) => blob.arrayBuffer().then(done), "image/webp", 0.8));
}

/** An anywidget model that answers like Python. `options`: n, latency, source, notice, empty, dead, fail (a command). */
export function createModel(options = {}) {
  const { n = 4000, latency = 25, source = "image", notice = null, empty = false } = options;
  const w = createWorld(n);
  let slices = empty ? [] : createSlices(w, options.zero);
  let final = options.final ?? true, layoutRevision = 1, selected = null, selectionRevision = 0, slicesRevision = 1;
  const done = [], undone = [];
  const state = { view: options.view ?? "map", active_slice: empty || options.none ? null : options.slice ?? "f0", step: 14, n_steps: 21, selection_state: { count: 0, revision: 0 }, revisions: { slices: 1, layout: 1, annotations: 0 } };
  const listeners = {}, log = [], cancelled = new Set();
  const bits = (rows) => { const b = new Uint8Array((n + 7) >> 3); for (const r of rows) b[r >> 3] |= 1 << (r & 7); return b; };
  const rowsOf = (b) => { const out = []; for (let r = 0; r < n; r++) if ((b[r >> 3] >> (r & 7)) & 1) out.push(r); return out; };
  const find = (key) => { const s = slices.find((one) => one.data.key === key); if (!s) throw new Error(`There is no slice '${key}' here: it may have been removed in another view.`); return s; };
  const example = (row) => ({ row, id: `img-${String(row).padStart(5, "0")}`, label: CLASSES[w.label[row]], prediction: CLASSES[w.prediction[row]], wrong: !!w.wrong[row], score: w.score[row], loss: w.loss[row], confidence: 0.5 + w.loss[row] / 7, caption: null });
  const scale = (a) => { let lo = Infinity, hi = -Infinity; for (const v of a) { lo = Math.min(lo, v); hi = Math.max(hi, v); } return [Uint8Array.from(a, (v) => ((v - lo) / (hi - lo)) * 254), lo, hi]; };
  const set = (name, value) => { state[name] = value; (listeners[`change:${name}`] ?? []).forEach((f) => f()); };
  const bump = (what) => set("revisions", { ...state.revisions, [what]: (state.revisions[what] ?? 0) + 1 });
  const changed = () => { slicesRevision += 1; bump("slices"); };
  const scopeRows = (s) => { const out = []; for (let i = 0; i < n; i++) if (CLASSES[w.label[i]] === s.data.scope) out.push(i); return out.sort((a, b) => w.score[a] - w.score[b]); };
  const keepSelection = (rows) => { selected = rows; selectionRevision += 1; const r = { count: rows.length, revision: selectionRevision, n_wrong: rows.filter((i) => w.wrong[i]).length }; set("selection_state", { count: r.count, revision: r.revision }); return r; };
  const record = (label, before) => { done.push({ label, before }); undone.length = 0; };
  const snapshot = () => slices.map((s) => ({ rows: s.rows, data: { ...s.data } }));

  const pictures = async (w, { rows, size }) => {
    const buffers = [], items = [];
    for (const row of rows) {
      if (source === "text") items.push({ row, mime: null, buffer: null, text: `The ${CLASSES[w.label[row]]} looked fine in the ${BACKGROUNDS[w.background[row]]} picture, but the sole came off after ${row % 9} days and nobody answered.`, error: null });
      else if (row % 97 === 5) items.push({ row, mime: null, buffer: null, text: null, error: `cannot read shoes/img-${row}.png` });
      else { items.push({ row, mime: "image/webp", buffer: buffers.length, text: null, error: null }); buffers.push(new Uint8Array(await scene(w, row, size))); }
    }
    return [{ items }, ...buffers];
  };
  const poolWorld = createWorld(20000, 11);
  const retraining = createRetraining({ world: poolWorld, classes: CLASSES, options, slices: () => slices, find, example, thumbnails: (args) => pictures(poolWorld, args), rise: () => bump("runs") });

  const handlers = {
    ...retraining.handlers,
    open: () => [{ protocol: 1, n, n_wrong: count(w.wrong, Boolean), accuracy: 1 - count(w.wrong, Boolean) / n, unit: source === "text" ? "texts" : "images", source, classes: CLASSES, notice,
      channels: [["outcome", "Right / wrong", "outcome"], ["label", "Class", "category"], ["prediction", "Predicted class", "category"], ["loss", "Loss", "number"], ["score", "Slice score", "number"], ["meta:background", "background", "category"]].map(([key, label, kind]) => ({ key, label, kind })) }],
    layout: () => [{ n, method: final ? (options.method || "t-SNE") : "PCA", final, revision: layoutRevision }, (final ? w.late : w.early).slice()],
    channel: ({ key }) => {
      const category = (label, names, values) => [{ key, label, kind: "category", categories: names, low: null, high: null }, values.slice()];
      const number = (label, a) => { const [v, low, high] = scale(a); return [{ key, label, kind: "number", categories: null, low, high }, v]; };
      return { outcome: () => [{ key, label: "Right / wrong", kind: "outcome", categories: null, low: null, high: null }, w.wrong.slice()], label: () => category("Class", CLASSES, w.label), prediction: () => category("Predicted class", CLASSES, w.prediction), "meta:background": () => category("background", BACKGROUNDS, w.background), loss: () => number("Loss", w.loss), score: () => number("Slice score", w.score) }[key]();
    },
    slices: () => [{ slices: slices.map((s) => s.data), revision: slicesRevision, history: { can_undo: done.length > 0, can_redo: undone.length > 0, undo: done.at(-1)?.label ?? null, redo: undone.at(-1)?.label ?? null, n_labels: 2 + done.length, saved: options.saved ?? true, place: ".failviz/ab12.sqlite" } }],
    gallery: ({ of, slice, order, only, offset, limit }) => {
      let rows = of === "slice" ? find(slice).rows : of === "selection" ? selected ?? [] : Array.from({ length: n }, (_, i) => i);
      rows = rows.filter((i) => only === "all" || (only === "wrong") === !!w.wrong[i]);
      const by = order === "loss" ? w.loss : w.score;
      rows = [...rows].sort((a, b) => by[b] - by[a]);
      return [{ total: rows.length, examples: rows.slice(offset, offset + limit).map(example) }];
    },
    thumbnails: (args) => pictures(w, args),
    example: ({ row }) => { const { score, caption, ...rest } = example(row); return [{ ...rest, metadata: [["background", BACKGROUNDS[w.background[row]]], ["camera", row % 3 ? "phone" : "studio rig with a very long name"]] }]; },
    direction: ({ slice }) => {
      const s = find(slice), rows = scopeRows(s), scores = rows.map((i) => w.score[i]), N = rows.length, bins = 25, lo = scores[0], hi = scores[N - 1];
      const edges = Array.from({ length: bins + 1 }, (_, i) => lo + ((hi - lo) * i) / bins), right = Array(bins).fill(0), wrong = Array(bins).fill(0);
      rows.forEach((i) => { const b = Math.min(bins - 1, Math.floor(((w.score[i] - lo) / (hi - lo)) * bins)); (w.wrong[i] ? wrong : right)[b] += 1; });
      const steps = Array.from({ length: 21 }, (_, t) => { const mid = Math.round((t / 20) * (N - 1)), k = Math.round(N / 10), from = Math.max(0, Math.min(N - k, mid - (k >> 1))), near = rows.slice(from, from + k), bad = near.filter((i) => w.wrong[i]).length, [low, high] = wilson(bad, k); return { score: scores[mid], n: k, n_wrong: bad, low, high }; });
      return [{ slice, scope: s.data.scope, n: N, n_steps: 21, edges, right, wrong, boundary: 0, steps, easiest: `a photo of a white ${s.data.scope} in a studio`, hardest: `a photo of a ${s.data.scope} on grass` }];
    },
    strip: ({ slice, step, count: k }) => { const rows = scopeRows(find(slice)), mid = Math.round((step / 20) * (rows.length - 1)), from = Math.max(0, Math.min(rows.length - k, mid - (k >> 1))); return [{ step, centre: mid - from, examples: rows.slice(from, from + k).map(example) }]; },
    select: ({ how, slice }, buffers) => [keepSelection(how === "bitset" ? rowsOf(buffers[0]) : how === "slice" ? find(slice).rows : [])],
    selection: () => [{ count: selected.length, revision: selectionRevision, n_wrong: selected.filter((i) => w.wrong[i]).length }, bits(selected)],
    members: ({ slice }) => [{ slice, count: find(slice).rows.length }, bits(find(slice).rows)],
    create_slice: ({ name, tags, note }) => {
      const before = snapshot(), key = `d${slices.length}x${slicesRevision}`, chosen = new Set(selected);
      const made = createSlices(w)[5];
      const bad = selected.filter((i) => w.wrong[i]).length, [low, high] = wilson(bad, selected.length);
      slices = [...slices, { rows: [...chosen], data: { ...made.data, key, name, tags, note, scope: "all classes", colour: slices.length, n: selected.length, n_wrong: bad, error_rate: bad / selected.length, low, high, confused_with: [] } }];
      record("draw a slice", before); changed();
      return [{ key, message: "saved" }];
    },
    label_slice: ({ key, name, tags, note }) => { if (name.includes("FAIL")) throw new Error("The label file .failviz/ab12.sqlite is read-only: choose another place with Explorer(annotations=...)."); const before = snapshot(), s = find(key); s.data = { ...s.data, name, tags, note }; record("name a slice", before); changed(); return [{ key, message: "saved" }]; },
    delete_slice: ({ key }) => { const before = snapshot(); find(key); slices = slices.filter((s) => s.data.key !== key); record("remove a slice", before); changed(); return [{ key, message: "removed" }]; },
    undo: () => { const last = done.pop(); undone.push({ label: last.label, before: snapshot() }); slices = last.before; changed(); return [{ message: `undid: ${last.label}` }]; },
    redo: () => { const last = undone.pop(); done.push({ label: last.label, before: snapshot() }); slices = last.before; changed(); return [{ message: `redid: ${last.label}` }]; },
  };

  return {
    log, state, world: w,
    /** What Python would do from a cell. */
    python: { route: retraining.route, set, select: keepSelection, upgrade() { final = true; layoutRevision += 1; bump("layout"); }, die() { options.dead = true; }, revive() { options.dead = false; } },
    get: (name) => state[name],
    set,
    save_changes() {},
    on: (name, f) => (listeners[name] ??= []).push(f),
    off: (name, f) => (listeners[name] = (listeners[name] ?? []).filter((one) => one !== f)),
    send({ id, command, args }, _callbacks, buffers = []) {
      log.push({ command, args });
      if (command === "cancel") return void cancelled.add(args.target);
      if (options.dead) return;
      setTimeout(async () => {
        const reply = (message, out = []) => {
          if (cancelled.has(id)) return;
          // As in Jupyter: views into one larger message, at odd offsets.
          const views = out.map((part) => { const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength), whole = new Uint8Array(bytes.length + 5); whole.set(bytes, 3); return new DataView(whole.buffer, 3, bytes.length); });
          (listeners["msg:custom"] ?? []).forEach((f) => f(message, views));
        };
        try {
          if (options.fail === command) throw new Error(`${command} failed: Spotlight needs losses, and this Evaluation has none: give it probs and labels, or losses.`);
          const [result, ...out] = await handlers[command](args, buffers.map((b) => new Uint8Array(b)));
          reply({ id, result }, out);
        } catch (error) {
          reply({ id, error: { message: error.message } });
        }
      }, latency);
    },
  };
}
