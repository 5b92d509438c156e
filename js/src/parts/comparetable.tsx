// Error rates before and after, a row per slice and class, a column per run and arm.
import { type Row, columnsOf, reachOf, rowsOf, sections } from "../core/comparison";
import { digitsOf, percent, whole } from "../core/format";
import type { RunDetail } from "../core/retraining";
import { Button } from "./button";
import { Caution, ChangeCell } from "./change";

interface Props {
  runs: readonly RunDetail[];
  active: string | null;
  onChoose(slice: string): void;
}

export function CompareTable({ runs, active, onChoose }: Props) {
  const columns = columnsOf(runs);
  const rows = rowsOf(runs);
  const reach = reachOf(rows);
  return (
    <div class="fv-sideways" tabIndex={0} role="region" aria-label="Before and after, scroll sideways for more">
      <table data-testid="compare-table">
        <thead>
          <tr>
            <th scope="col" rowSpan={2}>
              error rate of
            </th>
            <th scope="col" rowSpan={2} class="fv-figure">
              n
            </th>
            <th scope="col" rowSpan={2} class="fv-figure">
              before
            </th>
            {runs.map(({ number, title, results }) => (
              <th key={number} scope="colgroup" colSpan={results?.arms.length ?? 1} title={title}>
                Run {number}
              </th>
            ))}
          </tr>
          <tr>
            {columns.map(({ key, arm }) => (
              <th key={key} scope="col">
                {arm}
              </th>
            ))}
          </tr>
        </thead>
        {sections(rows).map((section) => (
          <tbody key={section.heading}>
            {section.heading && (
              <tr class="fv-group">
                <th scope="rowgroup" colSpan={3 + columns.length}>
                  {section.heading}
                </th>
              </tr>
            )}
            {section.rows.map((row) => (
              <Line key={row.key ?? row.name} row={row} reach={reach} active={row.key !== null && row.key === active} onChoose={onChoose} />
            ))}
          </tbody>
        ))}
      </table>
    </div>
  );
}

function Line({ row, reach, active, onChoose }: { row: Row; reach: number; active: boolean; onChoose(slice: string): void }) {
  const slice = row.group === "slice" ? row.key : null;
  return (
    <tr
      data-testid="compare-row"
      data-group={row.group}
      data-name={row.name}
      data-slice={slice}
      aria-current={active || undefined}
      onClick={slice === null ? undefined : () => onChoose(slice)}
    >
      <th scope="row">
        {slice === null ? (
          row.name
        ) : (
          <Button class="fv-link">
            {row.name}
          </Button>
        )}
        {row.is_target && <span class="fv-muted"> target</span>}
        <Caution row={row} />
      </th>
      <td class="fv-figure">{whole(row.n)}</td>
      <td class="fv-figure">{percent(row.before, digitsOf(row.n))}</td>
      {row.cells.map((cell, i) => (
        <td key={i}>
          <ChangeCell cell={cell} row={row} reach={reach} />
        </td>
      ))}
    </tr>
  );
}
