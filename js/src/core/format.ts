// Numbers as words and figures. A rate never travels without its n and its interval.
import type { Slice } from "./protocol";

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Halves go up, as Python rounds them: 0.95 is kept as a hair less. */
const PERCENT = 100 + 1e-7;

export const whole = (value: number): string => grouped.format(value);

export function percent(rate: number | null, digits = 0): string {
  return rate === null ? "–" : `${(rate * PERCENT).toFixed(digits)}%`;
}

/** Decimals of the rates of n examples: from a thousand on a tenth of a point is more than one of them. */
export const digitsOf = (n: number): number => (n >= 1000 ? 1 : 0);

/** "[44, 69]": percentage points, as in the sentences that Python writes. */
export function interval(low: number | null, high: number | null, digits = 0): string {
  return low === null || high === null ? "" : `[${signed(low, digits)}, ${signed(high, digits)}]`;
}

/** With a true minus, and `plus` and `none` where there is none. */
function signed(share: number, digits: number, plus = "", none = ""): string {
  const figure = Number((share * PERCENT).toFixed(digits));
  return figure === 0 ? `${none}0` : (figure < 0 ? "−" : plus) + Math.abs(figure).toFixed(digits);
}

/** The difference of two rates in points: "+44 pts". */
export function points(rate: number | null, rest: number | null, digits = 0): string {
  return rate === null || rest === null ? "" : `${signed(rate - rest, digits, "+", "±")} pts`;
}

/** "2 confirmed failures"; nothing tested is not the same as nothing confirmed. */
export function findings(statuses: readonly Slice["status"][]): string {
  const confirmed = statuses.filter((status) => status === "confirmed").length;
  if (confirmed > 0) return plural(confirmed, "confirmed failure");
  const tested = statuses.some((status) => status === "not confirmed" || status === "needs more");
  return tested ? "no confirmed failure" : statuses.length > 0 ? "not tested" : "";
}

/** Python's errors and cautions begin in lower case. */
export const sentence = (words: string): string => words.charAt(0).toUpperCase() + words.slice(1);

export function short(value: number | null): string {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 100_000 || size < 0.001)) return value.toExponential(1).replace("-", "−");
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

/** Wilson's 95% interval, the one Python uses, for a selection that Python has only counted. */
export function wilson(wrong: number, n: number): [number, number] {
  if (n === 0) return [0, 1];
  const z = 1.959964;
  const p = wrong / n;
  const scale = 1 + (z * z) / n;
  const middle = (p + (z * z) / (2 * n)) / scale;
  const half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / scale;
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** "41 s", "3 min 20 s". */
export function duration(seconds: number): string {
  const all = Math.round(seconds);
  return all < 60 ? `${all} s` : `${Math.floor(all / 60)} min${all % 60 ? ` ${all % 60} s` : ""}`;
}

/** How long ago a moment was, and its date once that is a day. */
export function ago(moment: string, now: number): string {
  const at = new Date(moment);
  const minutes = Math.floor((now - at.getTime()) / 60_000);
  if (Number.isNaN(minutes)) return moment;
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ago` : at.toLocaleDateString();
}
