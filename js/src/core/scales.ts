// Colours: one look-up table of 256 entries per channel, because every channel is one byte per row.
import type { Rgb, Theme } from "./theme";

export const MISSING = 255;

/** Okabe-Ito without blue and vermilion, which mean right and wrong; purple and brown stand in for them. */
const SLICES = ["#cc79a7", "#009e73", "#e69f00", "#56b4e9", "#d5c711", "#8f8f8f", "#8a5fc7", "#8c6d31"];
/** Paul Tol's qualitative sets, "muted" on light and "light" on dark. */
const CATEGORIES_LIGHT = ["#332288", "#cc6677", "#117733", "#88ccee", "#aa4499", "#999933", "#882255", "#44aa99", "#ddaa33"];
const CATEGORIES_DARK = ["#77aadd", "#ee8866", "#44bb99", "#ffaabb", "#bbcc33", "#99ddff", "#eedd88", "#aa88dd", "#dddddd"];
const RAMP_LIGHT = ["#afd3c3", "#7cbfae", "#3f9c9c", "#2b6a8e", "#33256b"];
const RAMP_DARK = ["#3a4a68", "#2f7596", "#35a48f", "#94d488", "#f6f7b8"];
const OUTCOME = { light: ["#0072b2", "#d55e00"], dark: ["#58a9e0", "#f0883e"] } as const;
const GREY = { light: "#b4bac2", dark: "#4a5059" } as const;

export type Kind = "outcome" | "category" | "number";

export function hex(colour: string): Rgb {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

export function css([r, g, b]: Rgb): string {
  return `rgb(${r} ${g} ${b})`;
}

export function mix(from: Rgb, to: Rgb, share: number): Rgb {
  const blend = (i: 0 | 1 | 2) => Math.round(from[i] + (to[i] - from[i]) * share);
  return [blend(0), blend(1), blend(2)];
}

export function sliceColour(index: number): string {
  return SLICES[index % SLICES.length]!;
}

export function outcomeColour(wrong: boolean, dark: boolean): Rgb {
  return hex(OUTCOME[dark ? "dark" : "light"][wrong ? 1 : 0]);
}

export function missingColour(dark: boolean): Rgb {
  return hex(GREY[dark ? "dark" : "light"]);
}

/** Past nine categories the hues return, lighter or darker. */
export function categoryColour(index: number, dark: boolean): Rgb {
  const palette = dark ? CATEGORIES_DARK : CATEGORIES_LIGHT;
  const round = Math.floor(index / palette.length) % 3;
  return mix(hex(palette[index % palette.length]!), dark ? [0, 0, 0] : [255, 255, 255], round * 0.28);
}

/** What the map stands on: the host's background, a shade apart. */
export function groundColour({ dark, background }: Theme): Rgb {
  return dark ? mix(background, [255, 255, 255], 0.045) : mix(background, [20, 50, 90], 0.035);
}

/** `share` in [0, 1]. */
export function rampColour(share: number, dark: boolean): Rgb {
  const stops = dark ? RAMP_DARK : RAMP_LIGHT;
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(at), stops.length - 2);
  return mix(hex(stops[below]!), hex(stops[below + 1]!), at - below);
}

/** Red, green, blue of every byte that a channel can hold: 256 x 3. */
export function lookupTable(kind: Kind, dark: boolean): Uint8Array {
  const table = new Uint8Array(256 * 3);
  for (let value = 0; value < 256; value++) {
    table.set(value === MISSING ? missingColour(dark) : colourOf(kind, value, dark), value * 3);
  }
  return table;
}

function colourOf(kind: Kind, value: number, dark: boolean): Rgb {
  if (kind === "outcome") return outcomeColour(value === 1, dark);
  return kind === "category" ? categoryColour(value, dark) : rampColour(value / 254, dark);
}
