// Every run, newest first; those with results can be put side by side in the table.
import { MOST_SHOWN } from "../core/comparison";
import { ago, duration, percent, sentence, whole } from "../core/format";
import type { Run } from "../core/retraining";
import type { Loaded } from "../data/session";

export function RunList({ loaded }: { loaded: Loaded }) {
  const { runs } = loaded;
  const shown = runs.shown.value;
  return (
    <ul class="fv-runs" aria-label="Runs">
      {runs.list.value?.map((run) => {
        const isShown = shown.includes(run.number);
        const name = (
          <span>
            <b>Run {run.number}</b> {run.title}
          </span>
        );
        return (
          <li key={run.number} data-testid="run-item" data-run={run.number} data-status={run.status}>
            {run.has_results ? (
              <label class="fv-check">
                <input type="checkbox" data-testid="run-shown" checked={isShown} disabled={!isShown && shown.length >= MOST_SHOWN} onChange={() => runs.toggle(run.number)} />
                {name}
              </label>
            ) : (
              name
            )}
            <Facts run={run} />
            {run.error !== null && <p class="fv-muted">{sentence(run.error)}</p>}
          </li>
        );
      })}
    </ul>
  );
}

function Facts({ run }: { run: Run }) {
  const share = run.status === "running" ? ` ${percent(run.share)}` : "";
  return (
    <span class="fv-muted fv-facts-line">
      <span class="fv-badge" data-status={run.status}>
        {run.status}
        {share}
      </span>
      <span title={new Date(run.started).toLocaleString()}>{ago(run.started, Date.now())}</span>
      <span>{whole(run.n_added)} added</span>
      {run.seconds !== null && <span>{duration(run.seconds)}</span>}
    </span>
  );
}
