// Which pool examples a person has thrown out of a plan, kept per target: another slice has its own.
import type { Target } from "./retraining";

export type Thrown = ReadonlyMap<string, readonly number[]>;

/** All confirmed slices are one target, whichever slice is in hand. */
export function placeOf(target: Target, slice: string | null): string {
  return target === "slice" ? `slice ${slice}` : target;
}

export function throwOut(thrown: Thrown, place: string, row: number): Thrown {
  const rows = thrown.get(place) ?? [];
  return rows.includes(row) ? thrown : new Map(thrown).set(place, [...rows, row]);
}

/** An empty memory is a memory as well: what the kernel kept of earlier does not come back. */
export function takeBack(thrown: Thrown, place: string): Thrown {
  return new Map(thrown).set(place, []);
}

/** The memory of a place begins with what the kernel has kept of earlier; what is known here already wins. */
export function recall(thrown: Thrown, place: string, rows: readonly number[]): Thrown {
  return thrown.has(place) ? thrown : new Map(thrown).set(place, rows);
}

/** What a person typed as a number of examples; null when it is none, or more than there are. */
export function budgetOf(typed: string, most: number): number | null {
  const budget = /^\s*\d+\s*$/.test(typed) ? Number(typed) : 0;
  return budget >= 1 && budget <= most ? budget : null;
}
