// A change of an error rate in figures, as an interval and in a word; the word's colour only repeats it.
import { interval, percent, points } from "../core/format";
import type { Cell } from "../core/retraining";
import { ChangeTrack } from "./interval";

export function ChangeCell({ cell, before, reach }: { cell: Cell | null; before?: number | null; reach: number }) {
  if (!cell || cell.after === null) return <span class="fv-muted">–</span>;
  const { after, change, low, high, verdict } = cell;
  return (
    <div class="fv-change" data-verdict={verdict}>
      <span>
        <b>
          {before !== undefined && `${percent(before)} → `}
          {percent(after)}
        </b>{" "}
        {points(change, 0)} <span class="fv-muted">{interval(low, high)}</span>
      </span>
      <span class="fv-verdict">
        {verdict}
        {change !== null && low !== null && high !== null && <ChangeTrack change={change} low={low} high={high} reach={reach} />}
      </span>
    </div>
  );
}
