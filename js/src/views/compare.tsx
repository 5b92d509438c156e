// The middle column as a comparison: which runs there were, what they did to every slice, and to which examples.
import { useRef } from "preact/hooks";
import type { RunDetail } from "../core/retraining";
import type { Loaded, Session } from "../data/session";
import { WhatChanged } from "../parts/changed";
import { CompareTable } from "../parts/comparetable";
import { RunList } from "../parts/runlist";

export function CompareView({ session, loaded }: { session: Session; loaded: Loaded }) {
  const { runs, slices } = loaded;
  const loop = useRef<HTMLElement>(null);
  const list = runs.list.value;
  const shown = runs.shown.value.map((number) => runs.details.value.get(number)).filter((run): run is RunDetail => run?.results != null);
  return (
    <section ref={loop} class="fv-loop" aria-label="Compare">
      <div class="fv-bar">
        <h2>Compare</h2>
        <p class="fv-muted">{list?.some((run) => run.has_results) ? "tick the runs to see side by side, at most three" : ""}</p>
      </div>
      {list === null && <p class="fv-quiet">Looking for runs…</p>}
      {list?.length === 0 && <p class="fv-quiet">No run yet. Make one under Retrain.</p>}
      <RunList loaded={loaded} />
      {shown.length > 0 && (
        <>
          <CompareTable
            runs={shown}
            active={slices.active.value?.key ?? null}
            onChoose={(slice) => {
              session.store.choose(slice);
              session.hand.value = "slice";
              runs.look.value = { ...runs.look.value, of: "slice" };
              loop.current!.querySelector(".fv-changed")?.scrollIntoView({ block: "nearest" });
            }}
          />
          <div>
            {shown.map(
              ({ number, results }) =>
                results!.note && (
                  <p key={number} class="fv-muted" data-testid="compare-note">
                    Run {number}: {results!.note}
                  </p>
                ),
            )}
          </div>
          <WhatChanged session={session} loaded={loaded} runs={shown} />
        </>
      )}
    </section>
  );
}
