// How each point is drawn, in one byte: 2 * level + (1 if wrong). Levels are drawn from back to front.
import { hasBit } from "../core/bitset";

/** Not selected: grey, but never hidden. */
export const GREYED = 0;
/** In colour, but behind the slice in hand. */
export const QUIET = 1;
export const PLAIN = 2;
/** A member of the slice in hand. */
export const STRONG = 3;
export const CODES = 8;

export interface Looks {
  codes: Uint8Array;
  /** How many points have each code: renderers skip the empty ones. */
  counts: Uint32Array;
}

export interface Marks {
  n: number;
  /** Outcome channel: 1 = wrong. */
  outcome: Uint8Array | null;
  selection: Uint8Array | null;
  members: Uint8Array | null;
}

export function looksOf({ n, outcome, selection, members }: Marks): Looks {
  const codes = new Uint8Array(n);
  const counts = new Uint32Array(CODES);
  for (let row = 0; row < n; row++) {
    let level = PLAIN;
    if (selection) level = !hasBit(selection, row) ? GREYED : members && hasBit(members, row) ? STRONG : PLAIN;
    else if (members) level = hasBit(members, row) ? STRONG : QUIET;
    const code = 2 * level + (outcome && outcome[row] === 1 ? 1 : 0);
    codes[row] = code;
    counts[code]!++;
  }
  return { codes, counts };
}

/** Below this radius (device pixels) a cross cannot be told from a dot. */
const SMALLEST_CROSS = 1.3;
/** With less room than this around each point (pixels), those drawn last hide the others. */
const ROOM_FOR_CROSSES = 1;

/** One pass over the points: those with `code`, or those of `level` whatever their shape. */
export interface Pass {
  level: number;
  shape: "dot" | "cross" | "any";
}

/** Where crosses are too small or too dense, both outcomes are dots, drawn in one pass in row order:
 * the map shows the share of errors and not only the last layer. */
export function passesOf(counts: Uint32Array, styles: readonly Style[], ratio: number): Pass[] {
  const passes: Pass[] = [];
  styles.forEach((style, level) => {
    const [right, wrong] = [counts[2 * level]!, counts[2 * level + 1]!];
    if (style.dense || style.radius * ratio <= SMALLEST_CROSS) {
      if (right + wrong > 0) passes.push({ level, shape: "any" });
      return;
    }
    if (right > 0) passes.push({ level, shape: "dot" });
    if (wrong > 0) passes.push({ level, shape: "cross" });
  });
  return passes;
}

export interface Style {
  /** Radius in CSS pixels. */
  radius: number;
  alpha: number;
  grey: boolean;
  dense: boolean;
}

/** Fewer, larger, denser points when there is room; the same formula for both renderers. */
export function stylesOf(n: number, area: number, zoom: number): Style[] {
  const room = Math.sqrt((area * 0.085) / Math.max(n, 1));
  const radius = Math.min(Math.max(room, 0.75), 3) * Math.min(Math.max(zoom, 1) ** 0.3, 2.6);
  const alpha = n > 300_000 ? 0.45 : n > 30_000 ? 0.6 : 0.82;
  const dense = room * zoom < ROOM_FOR_CROSSES;
  return [
    { radius: Math.max(radius * 0.8, 0.7), alpha: Math.min(alpha, 0.55), grey: true, dense },
    { radius: Math.max(radius * 0.9, 0.7), alpha: alpha * 0.42, grey: false, dense },
    { radius, alpha, grey: false, dense },
    { radius: Math.max(radius * 1.2, 1.4), alpha: Math.max(alpha, 0.92), grey: false, dense },
  ];
}
