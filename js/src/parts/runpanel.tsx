// The newest run: how far it is while it goes on, and what came of it.
import { headline, reachOf, versusLines } from "../core/comparison";
import { duration, percent, whole } from "../core/format";
import { type Run, type RunDetail, isGoing } from "../core/retraining";
import type { Loaded } from "../data/session";
import { Button } from "./button";
import { Caution, ChangeCell } from "./change";
import { Failure } from "./failure";
import { LossCurve } from "./losscurve";

const STOPPED: Partial<Record<Run["status"], string>> = {
  cancelled: "You cancelled this run",
  failed: "This run failed",
  interrupted: "The kernel stopped during this run",
};

interface Props {
  run: Run;
  loaded: Loaded;
  /** Absent where there is no plan to go back to. */
  onBack: (() => void) | false;
  onCompare(): void;
}

export function RunPanel({ run, loaded, onBack, onCompare }: Props) {
  const detail = loaded.runs.details.value.get(run.number) ?? null;
  const stopped = STOPPED[run.status];
  return (
    <section class="fv-run" aria-label={`Run ${run.number}`} data-testid="run-panel" data-status={run.status} data-run={run.number}>
      <div class="fv-bar">
        <h2>Run {run.number}</h2>
        <span class="fv-badge" data-status={run.status}>
          {run.status}
        </span>
        <p class="fv-muted" title={run.title}>
          {run.title}
          {run.seconds !== null && ` · ${duration(run.seconds)}`}
        </p>
        {onBack && (
          <Button class="fv-link" testid="back-to-plan" onClick={onBack}>
            Back to the plan
          </Button>
        )}
      </div>
      {isGoing(run) && <Progress run={run} loaded={loaded} />}
      {stopped && (
        <p>
          {stopped}
          {run.has_results ? ": here is what had ended by then." : ", so it has no result."}
        </p>
      )}
      <Failure message={run.error} testid="run-error" />
      {detail?.traceback && <Fold name="Traceback" text={detail.traceback} testid="run-traceback" />}
      {detail?.results && <Summary results={detail.results} onCompare={onCompare} />}
      {detail && <LossCurve curves={detail.curves} />}
      {detail && detail.log !== "" && <Fold name="Log" text={detail.log} testid="run-log" />}
    </section>
  );
}

function Progress({ run, loaded }: { run: Run; loaded: Loaded }) {
  const { runs } = loaded;
  const stopping = runs.stopping.value === run.number;
  const { share } = run;
  return (
    <div class="fv-going">
      <p data-testid="run-doing">{run.doing ?? (run.status === "queued" ? "waiting to start" : "running")}</p>
      <span class="fv-muted fv-count">{share === null ? "" : percent(share)}</span>
      <Button testid="cancel-run" disabled={stopping} onClick={() => void runs.stop(run.number)}>
        {stopping ? "Stopping…" : "Cancel"}
      </Button>
      <div
        class="fv-progress"
        role="progressbar"
        aria-label={`Run ${run.number}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={share === null ? undefined : Math.round(share * 100)}
        data-testid="run-progress"
      >
        <i data-open={share === null} style={share === null ? {} : { width: percent(share, 1) }} />
      </div>
    </div>
  );
}

function Summary({ results, onCompare }: { results: NonNullable<RunDetail["results"]>; onCompare(): void }) {
  const rows = headline(results.rows);
  const reach = reachOf(rows);
  return (
    <div class="fv-sum" data-testid="run-summary">
      <div class="fv-sideways">
        <table>
          <thead>
            <tr>
              <th scope="col">error rate</th>
              {results.arms.map((arm) => (
                <th key={arm} scope="col">
                  {arm}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.group + row.name}>
                <th scope="row">
                  <b>{row.name}</b> <span class="fv-muted">n{"\u00a0"}{whole(row.n)}</span>
                  <Caution row={row} />
                </th>
                {results.arms.map((arm) => (
                  <td key={arm}>
                    <ChangeCell cell={row.cells.find((cell) => cell.arm === arm)} row={row} reach={reach} arrow />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {results.versus &&
        versusLines(results.versus).map((line) => (
          <p key={line} data-testid="run-versus">
            {line}
          </p>
        ))}
      {results.note && <p class="fv-muted">{results.note}</p>}
      <Button testid="see-changes" onClick={onCompare}>
        See what changed
      </Button>
    </div>
  );
}

function Fold({ name, text, testid }: { name: string; text: string; testid: string }) {
  return (
    <details data-testid={testid}>
      <summary>{name}</summary>
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </details>
  );
}
