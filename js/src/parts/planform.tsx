// What a retraining is to fix, how, and with how many examples.
import { plural, whole } from "../core/format";
import type { Loaded, Session } from "../data/session";
import { Segmented } from "./segmented";

interface Props {
  session: Session;
  loaded: Loaded;
}

export function PlanForm({ session, loaded }: Props) {
  const { planning, slices } = loaded;
  const setup = planning.setup.value;
  const slice = slices.active.value;
  const target = planning.target.value;
  return (
    <div class="fv-asks">
      <span>What to fix</span>
      <div>
        <Segmented
          label="What to fix"
          choices={[
            ["slice", "This slice", !slice],
            ["confirmed", `All confirmed${setup ? ` (${whole(setup.n_confirmed)})` : ""}`],
          ]}
          testids="target-"
          value={target}
          onChoose={(value) => (planning.wish.value = value)}
        />{" "}
        {target === "slice" ? <b>{slice?.name}</b> : <span class="fv-muted">{slice ? plural(setup?.n_confirmed ?? 0, "slice") : "Choose a slice in the list to fix that one alone."}</span>}
      </div>
      {setup && setup.problem === null && <How session={session} loaded={loaded} />}
    </div>
  );
}

function How({ loaded }: Props) {
  const { planning } = loaded;
  const setup = planning.setup.value!;
  const remedy = planning.remedy.value;
  return (
    <>
      <span>How</span>
      <div data-testid="remedy">
        <Segmented
          label="How"
          choices={setup.remedies.map(({ key, label, available }) => [key, label, !available])}
          testids="remedy-"
          value={remedy?.key ?? null}
          onChoose={(key) => (planning.wishedRemedy.value = key)}
        />
        {remedy && <p class="fv-muted">{remedy.does}</p>}
        {setup.remedies.map(
          ({ key, label, available, why }) =>
            !available && (
              <p key={key} class="fv-muted">
                <b>{label}</b> is not available. {why}
              </p>
            ),
        )}
      </div>
      {remedy?.uses_budget && <HowMany loaded={loaded} />}
    </>
  );
}

function HowMany({ loaded }: { loaded: Loaded }) {
  const { planning } = loaded;
  const { pool, budget } = planning.setup.value!;
  const typed = planning.budget.value;
  return (
    <>
      <span>How many</span>
      <div>
        <input
          type="number"
          min={1}
          max={pool?.n}
          aria-label="How many to add"
          data-testid="budget-input"
          value={typed ?? budget}
          onInput={(event) => (planning.budget.value = event.currentTarget.value)}
        />{" "}
        {pool && (
          <span class={planning.args.value ? "fv-muted" : "fv-warn"}>
            {planning.args.value ? "of" : "Type a whole number up to the"} {whole(pool.n)} {pool.unit} in the pool
          </span>
        )}
        {planning.controllable.value && (
          <label class="fv-check">
            <input type="checkbox" data-testid="control-checkbox" checked={planning.control.value} onChange={(event) => (planning.control.value = event.currentTarget.checked)} />
            <span>
              Also try the same number at random <span class="fv-muted">(shows whether the choice mattered)</span>
            </span>
          </label>
        )}
      </div>
    </>
  );
}
