// A change of an error rate in figures, as an interval and in a word; the word's colour only repeats it.
import { changeWords, ownBasis } from "../core/comparison";
import { digitsOf, interval, percent, points } from "../core/format";
import type { Cell, ResultRow } from "../core/retraining";
import { ChangeTrack } from "./interval";

type Of = Pick<ResultRow, "n" | "before" | "held_out" | "caution">;

/** `arrow` says the rate before as well, where no column does. */
export function ChangeCell({ cell, row, reach, arrow = false }: { cell: Cell | null | undefined; row: Of; reach: number; arrow?: boolean }) {
  if (!cell) return <span class="fv-muted">–</span>;
  const { n, before, after, change, low, high, verdict } = cell;
  const digits = digitsOf(n);
  const own = ownBasis(cell, row);
  return (
    <div class="fv-change" data-verdict={verdict}>
      <span>
        <b>
          {arrow && `${percent(before, digits)} → `}
          {percent(after, digits)}
        </b>{" "}
        {points(change, 0, digits)} <span class="fv-muted">{interval(low, high, digits)}</span>
      </span>
      {change !== null && (
        <span class="fv-verdict">
          {verdict}
          {low !== null && high !== null && <ChangeTrack label={changeWords(cell)} change={change} low={low} high={high} reach={reach} />}
        </span>
      )}
      {own && <p class="fv-muted">{own}</p>}
    </div>
  );
}

/** What to keep in mind of a row. */
export function Caution({ row: { caution, held_out } }: { row: Of }) {
  return caution !== null || !held_out ? <p class={held_out ? "fv-muted" : "fv-warn"}>{caution ?? "not held out"}</p> : null;
}
