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
  const open = setup?.problem === null ? setup : null;
  const newest = runs.list.value?.[0] ?? null;
  const panel = useRef<HTMLDivElement>(null);
  const loop = useRef<HTMLElement>(null);
  const begun = runs.begun.value;
  const seen = useRef(begun);

  /** The nearest place of what ends the region: its top where it fills the region. The notebook moves as little as it can. */
  function see() {
    panel.current!.focus({ preventScroll: true });
    panel.current!.scrollIntoView({ block: "nearest" });
  }

  function back() {
    loop.current!.querySelector<HTMLElement>("[tabindex='0']")!.focus({ preventScroll: true });
    loop.current!.querySelector("h2")!.scrollIntoView({ block: "nearest" });
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
        {!open && <p class="fv-quiet">{setup ? setup.problem : "Asking what can be added…"}</p>}
        {open && (
          <>
            <PlanForm setup={open} loaded={loaded} />
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
            onBack={open !== null && back}
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
