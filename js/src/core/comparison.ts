// Several runs in one table: a column per run and arm, a row per slice or class, in the order of the kernel.
import { digitsOf, interval, percent, points, whole } from "./format";
import type { Cell, ResultRow, RunDetail, Versus } from "./retraining";

export interface Column {
  key: string;
  number: number;
  arm: string;
  title: string;
}

export interface Row extends Omit<ResultRow, "cells"> {
  /** One per column; null where a run says nothing of this row. */
  cells: (Cell | null)[];
}

export const MOST_SHOWN = 3;

export const columnKey = (number: number, arm: string): string => `${number} ${arm}`;

export function columnsOf(runs: readonly RunDetail[]): Column[] {
  return runs.flatMap(({ number, title, results }) => (results?.arms ?? []).map((arm) => ({ key: columnKey(number, arm), number, arm, title })));
}

/** Rows stand where the first run that has them puts them; its n and its rate before are the ones that are shown. */
export function rowsOf(runs: readonly RunDetail[]): Row[] {
  const columns = columnsOf(runs);
  const rows = new Map<string, Row>();
  for (const { number, results } of runs) {
    for (const { cells, ...row } of results?.rows ?? []) {
      const name = `${row.group} ${row.key ?? row.name}`;
      const kept = rows.get(name) ?? { ...row, cells: columns.map(() => null) };
      rows.set(name, kept);
      // A slice that one run was made for, or learned from, is marked whichever run stands first.
      kept.is_target ||= row.is_target;
      if (!row.held_out) Object.assign(kept, { held_out: false, caution: row.caution });
      for (const cell of cells) {
        const at = columns.findIndex((column) => column.key === columnKey(number, cell.arm));
        if (at >= 0) kept.cells[at] = cell;
      }
    }
  }
  return [...rows.values()];
}

/** The rows under their headings, each group in the order it came. */
export function sections(rows: readonly Row[]): { heading: string | null; rows: Row[] }[] {
  const of = (group: Row["group"]) => rows.filter((row) => row.group === group);
  return [
    { heading: null, rows: of("overall") },
    { heading: "By slice", rows: of("slice") },
    { heading: "By class", rows: of("class") },
  ].filter((section) => section.rows.length > 0);
}

/** The largest change or bound in sight: one scale for all intervals, so that they can be compared. */
export function reachOf(rows: readonly { cells: readonly (Cell | null)[] }[]): number {
  const bounds = rows.flatMap((row) => row.cells.flatMap((cell) => [cell?.low, cell?.high, cell?.change]));
  return bounds.reduce<number>((most, bound) => Math.max(most, Math.abs(bound ?? 0)), 0.1);
}

/** The targets of a run, or the few first of them, and the whole set: what one wants to know first. */
export function headline(rows: readonly ResultRow[]): ResultRow[] {
  return [...rows.filter((row) => row.is_target).slice(0, 4), ...rows.filter((row) => row.group === "overall")];
}

interface Basis {
  n: number;
  before: number | null;
}

/** What a cell is of, where that is not what its row says; a decimal, as the two rates are often close. */
export function ownBasis(cell: Basis, row: Basis): string {
  const [own, shown] = [cell, row].map(({ n, before }) => `of ${whole(n)}${before === null ? "" : `, before ${percent(before, 1)}`}`);
  return own === shown ? "" : own!;
}

/** "−12 pts [−20, −4]". */
export function changeWords({ n, change, low, high }: Pick<Cell, "n" | "change" | "low" | "high">): string {
  return `${points(change, 0, digitsOf(n))} ${interval(low, high, digitsOf(n))}`;
}

/** "Plan against random: sneakers on grass −12 pts [−20, −4], better", for the first few rows. */
export function versusLines({ arm, rows }: Versus): string[] {
  return rows.slice(0, 4).map((row) => `Plan against ${arm}: ${row.name} ${row.change === null ? "has no examples" : `${changeWords(row)}, ${row.verdict}`}`);
}

export function toggled(shown: readonly number[], number: number): number[] {
  if (shown.includes(number)) return shown.filter((one) => one !== number);
  return shown.length < MOST_SHOWN ? [...shown, number] : [...shown];
}
