// The middle column as a plan: what to fix and how, what would be added, and how the run goes.
import { useEffect, useRef } from "preact/hooks";
import type { Loaded, Session } from "../data/session";
import { PlanForm } from "../parts/planform";
import { Preview } from "../parts/preview";
import { RunBar } from "../parts/runbar";
import { RunPanel } from "../parts/runpanel";

export function RetrainView({ session, loaded }: { session: Session; loaded: Loaded }) {
  const { planning, runs } = loaded;
  const setup = planning.setup.value;
  const newest = runs.list.value?.[0] ?? null;
  const panel = useRef<HTMLDivElement>(null);
  const loop = useRef<HTMLElement>(null);
  const begun = runs.begun.value;
  const seen = useRef(begun);

  /** First inside the region, then in the notebook, which is to move as little as it can. */
  function see() {
    loop.current!.scrollTop += panel.current!.getBoundingClientRect().top - loop.current!.getBoundingClientRect().top - 12;
    panel.current!.scrollIntoView({ block: "nearest" });
    panel.current!.focus({ preventScroll: true });
  }

  // Whoever has just started a run wants to see it, and it is below what it adds; the button that had the focus is disabled.
  useEffect(() => {
    if (newest?.number !== begun || begun === seen.current) return;
    seen.current = begun;
    see();
  }, [newest?.number, begun]);

  return (
    <section ref={loop} class="fv-loop" aria-label="Retrain">
      <div class="fv-plan">
        <h2>Retrain</h2>
        <PlanForm session={session} loaded={loaded} />
        {setup === null && <p class="fv-quiet">Asking what can be added…</p>}
        {setup && setup.problem !== null && <p class="fv-quiet">{setup.problem}</p>}
        {setup && setup.problem === null && (
          <>
            <Preview loaded={loaded} />
            <RunBar loaded={loaded} onSee={see} />
          </>
        )}
      </div>
      <div ref={panel} class="fv-place" tabIndex={-1}>
        {newest && (
          <RunPanel
            run={newest}
            loaded={loaded}
            onCompare={() => {
              runs.compare(newest.number);
              session.store.show("compare");
            }}
          />
        )}
      </div>
    </section>
  );
}
