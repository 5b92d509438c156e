// The button that retrains, what it will run, and what to paste into a cell when there is nothing to run yet.
import { useRef, useState } from "preact/hooks";
import { percent } from "../core/format";
import type { Setup } from "../core/retraining";
import type { Loaded } from "../data/session";
import { Button } from "./button";
import { Failure } from "./failure";

const RECIPE = `@explorer.on_retrain
def fix(plan, ctx):
    better = failviz.retrain(model, plan, train_set, pool_set, on_progress=ctx.progress)
    return better, failviz.evaluate(better, test_set, encoders=encoder, progress=False)`;

export function RunBar({ loaded, onSee }: { loaded: Loaded; onSee(): void }) {
  const { planning, runs } = loaded;
  const route = planning.setup.value?.route ?? null;
  const going = runs.going.value;
  const newest = runs.list.value?.[0];
  const ready = planning.args.value !== null && !planning.busy.value && (planning.plan.value?.n ?? 0) > 0;
  return (
    <>
      <div class="fv-runbar">
        <Button
          class="fv-primary"
          testid="retrain-button"
          disabled={!route || !ready || going !== null || runs.starting.value}
          onClick={() => void runs.start(planning.args.value!)}
        >
          {going ? "A run is going on" : "Retrain"}
        </Button>
        <p class="fv-muted" data-testid={route ? "route-note" : undefined}>
          {route ? routeNote(route) : "There is nothing to run yet."}
        </p>
        {newest && (
          <Button class="fv-link" onClick={onSee}>
            See run {newest.number}: {going?.share ? percent(going.share) : newest.status}
          </Button>
        )}
        <Failure message={runs.startError.value} testid="run-error-start" />
      </div>
      {!route && <NoRoute />}
    </>
  );
}

export function routeNote({ kind, name }: NonNullable<Setup["route"]>): string {
  return kind === "function" ? `runs the function “${name}” of your notebook` : `runs the cell “${name}” again`;
}

function NoRoute() {
  const code = useRef<HTMLElement>(null);
  const [said, setSaid] = useState("Copy");

  /** Where the page may not write to the clipboard, the code is selected for the person to copy. */
  async function copy() {
    try {
      await navigator.clipboard.writeText(RECIPE);
      setSaid("Copied");
    } catch {
      getSelection()?.selectAllChildren(code.current!);
      setSaid("Selected: press Ctrl+C");
    }
  }

  return (
    <div class="fv-recipe" data-testid="no-route">
      <p>Say how to train again: run this in a cell, with your names for model and data.</p>
      <pre tabIndex={0} aria-label="Code to paste">
        <code ref={code}>{RECIPE}</code>
      </pre>
      <Button testid="copy-code" onClick={() => void copy()}>
        {said}
      </Button>
    </div>
  );
}
