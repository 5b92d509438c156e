// What a retraining is to fix, how, and with how many examples.
import { plural, sentence, whole } from "../core/format";
import type { Setup } from "../core/retraining";
import type { Loaded } from "../data/session";
import { Segmented } from "./segmented";

interface Props {
  setup: Setup;
  loaded: Loaded;
}

export function PlanForm({ setup, loaded }: Props) {
  const { planning, slices } = loaded;
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
            ["confirmed", `All confirmed (${whole(setup.n_confirmed)})`],
          ]}
          testids="target-"
          value={target}
          onChoose={(value) => (planning.wish.value = value)}
        />{" "}
        {target === "slice" ? <b>{slice?.name}</b> : <span class="fv-muted">{slice ? plural(setup.n_confirmed, "slice") : "Choose a slice in the list to fix that one alone."}</span>}
      </div>
      <How setup={setup} loaded={loaded} />
    </div>
  );
}

function How({ setup, loaded }: Props) {
  const { planning } = loaded;
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
                <b>{label}</b> is not available. {why && sentence(why)}
              </p>
            ),
        )}
      </div>
      {remedy?.uses_budget && <HowMany setup={setup} loaded={loaded} />}
    </>
  );
}

function HowMany({ setup: { pool, budget }, loaded }: Props) {
  const { planning } = loaded;
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
          onInput={(event) => planning.typeBudget(event.currentTarget.value)}
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
