// What a plan would add: why, how many of which class, and every example, each of which can be thrown out.
import { useEffect, useRef, useState } from "preact/hooks";
import { plural, sentence, short, whole } from "../core/format";
import type { Plan } from "../core/retraining";
import type { Loaded } from "../data/session";
import { Button } from "./button";
import { Failure } from "./failure";
import { useRoving } from "./roving";
import { Face } from "./tile";

const FIRST = 60;
const LABELS = 8;

export function Preview({ loaded }: { loaded: Loaded }) {
  const { planning, info } = loaded;
  const plan = planning.plan.value;
  const nOut = planning.thrownOut.value.length;
  return (
    <div class="fv-preview" aria-busy={planning.busy.value}>
      <Failure message={planning.error.value} testid="plan-error" />
      {plan && <Facts plan={plan} unit={planning.setup.value?.pool?.unit ?? info.unit} />}
      {!plan && planning.busy.value && <p class="fv-quiet">Choosing examples…</p>}
      {nOut > 0 && (
        <p class="fv-muted">
          {whole(nOut)} thrown out, the next best took {nOut === 1 ? "its place" : "their places"} ·{" "}
          <Button class="fv-link" testid="take-back" onClick={planning.takeBack}>
            Take {nOut === 1 ? "it" : "them"} back
          </Button>
        </p>
      )}
      {plan && <Picks plan={plan} loaded={loaded} />}
    </div>
  );
}

function Facts({ plan, unit }: { plan: Plan; unit: string }) {
  const rest = plan.by_label.slice(LABELS);
  return (
    <>
      <h2 class="fv-title" data-testid="plan-title">
        {plan.title}
      </h2>
      <p class="fv-muted">{plan.reason}</p>
      <p>
        <span data-testid="plan-count">
          <b>{whole(plan.n)}</b> {unit}
        </span>
        {plan.by_label.slice(0, LABELS).map(({ name, count }) => (
          <span key={name}>
            {" · "}
            {name} {whole(count)}
          </span>
        ))}
        {rest.length > 0 && <span class="fv-muted"> and {plural(rest.length, "more class", "more classes")}</span>}
      </p>
      {plan.cautions.map((caution) => (
        <p key={caution} class="fv-warn">
          {sentence(caution)}
        </p>
      ))}
    </>
  );
}

/** The arrow keys go from one button to the next; what is thrown out hands the focus to what takes its place. */
function Picks({ plan, loaded }: { plan: Plan; loaded: Loaded }) {
  const { planning } = loaded;
  const [most, setMost] = useState(FIRST);
  const box = useRef<HTMLUListElement>(null);
  const from = useRef(-1);
  const { stop, on } = useRoving(0, ".fv-throw");
  const pictures = planning.pictures.value;
  const out = planning.thrownOut.value;
  const picks = plan.examples.filter((one) => !out.includes(one.row));
  const shown = picks.slice(0, most);

  useEffect(() => {
    const buttons = box.current!.querySelectorAll<HTMLElement>(".fv-throw");
    if (from.current >= 0) buttons[Math.min(from.current, buttons.length - 1)]?.focus();
    from.current = -1;
  }, [out]);

  return (
    <>
      <ul ref={box} class="fv-picks" aria-label="What would be added" {...on}>
        {shown.map(({ row, id, label, score }, i) => (
          <li key={row} class="fv-tile fv-pick" title={`${id} · ${label}${score === null ? "" : `\nscore ${short(score)}`}`} data-testid="plan-example" data-row={row} data-id={id}>
            <Face thumb={pictures?.get(row, 64).value ?? { state: "none" }} id={id}>
              <Button
                class="fv-throw"
                aria-label={`Throw out ${id}, ${label}`}
                tabIndex={i === Math.min(stop, shown.length - 1) ? 0 : -1}
                testid="throw-out"
                onClick={() => {
                  from.current = i;
                  planning.throwOut(row);
                }}
              >
                ×
              </Button>
            </Face>
            <span class="fv-caption">{label}</span>
          </li>
        ))}
      </ul>
      {picks.length > most && (
        <Button class="fv-more" onClick={() => setMost(most + FIRST)}>
          Show more
        </Button>
      )}
      {picks.length <= most && plan.n > plan.examples.length && plan.examples.length > 0 && <p class="fv-muted">The first {whole(plan.examples.length)} are shown.</p>}
    </>
  );
}
