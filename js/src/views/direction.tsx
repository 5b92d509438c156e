// Below the map: a walk along the slice's direction, from the examples it finds easiest to the hardest.
import { useEffect, useRef, useState } from "preact/hooks";
import { interval, percent, whole } from "../core/format";
import { bars, scoreToX, stepAtX } from "../core/histogram";
import type { DirectionInfo } from "../data/direction";
import type { Loaded, Session } from "../data/session";
import { Button } from "../parts/button";
import { Placeholder, Tile } from "../parts/tile";

const HEIGHT = 64;
/** Half of the slider's handle: where its middle can be at either end. */
const THUMB = 8;
const JOIN = 12;

export function DirectionView({ session, loaded }: { session: Session; loaded: Loaded }) {
  const slice = loaded.slices.active.value;
  if (!slice) return loaded.slices.list.value?.length === 0 ? null : <p class="fv-quiet fv-direction-none">Choose a slice to see what it holds.</p>;
  if (!slice.has_direction) {
    return (
      <p class="fv-quiet fv-direction-none" data-testid="no-direction">
        {slice.kind === "drawn" ? "Drawn by hand" : `Found by ${slice.method}`}: no direction to walk along.
      </p>
    );
  }
  return <Walk session={session} loaded={loaded} />;
}

function Walk({ session, loaded }: { session: Session; loaded: Loaded }) {
  const { store } = session;
  const { direction } = loaded;
  const info = direction.info.value;
  const nSteps = direction.nSteps.value;
  const step = Math.min(store.step.value, nSteps - 1);
  const here = info?.steps[step];
  const strip = direction.strip.value;
  const count = direction.count.value;
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const row = useRef<HTMLDivElement>(null);
  const go = direction.stepTo;

  function onKeyDown(event: KeyboardEvent) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(step + by);
  }

  // Who walks in the strip stays with the example of the step, and hears which one it is now.
  useEffect(() => {
    if (!row.current!.matches(":focus-within")) return;
    const current = row.current!.querySelector<HTMLElement>("[data-current]");
    current?.blur();
    current?.focus({ preventScroll: true });
  }, [strip]);

  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      const wide = entry!.contentRect.width;
      setWidth(wide);
      direction.count.value = loaded.info.source === "text" ? 3 : wide >= 560 ? 11 : wide >= 400 ? 9 : 7;
    });
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);

  return (
    <section class="fv-direction" aria-label="Direction">
      <div class="fv-bar">
        <h2>Direction</h2>
        <p class="fv-muted">{info ? `${info.scope}, easiest to hardest` : "easiest to hardest"}</p>
        <span class="fv-step">
          <span data-testid="step-errors" aria-live="polite">
            {here && (
              <>
                errors <b>{percent(here.n === 0 ? null : here.n_wrong / here.n)}</b> {interval(here.low, here.high)} · n {whole(here.n)}
              </>
            )}
          </span>
          <Button aria-label="One step easier" testid="step-back" disabled={step === 0} onClick={() => go(step - 1)}>
            ←
          </Button>
          <span class="fv-muted fv-count" data-testid="step-label">
            step {step + 1} of {nSteps}
          </span>
          <Button aria-label="One step harder" testid="step-forward" disabled={step >= nSteps - 1} onClick={() => go(step + 1)}>
            →
          </Button>
        </span>
      </div>
      <div ref={row} class="fv-strip" role="group" aria-label="Examples around this step" onKeyDown={onKeyDown} data-testid="strip" data-step={strip?.step} style={{ gridTemplateColumns: `repeat(${count}, 1fr)` }}>
        {strip
          ? strip.examples.map((example, i) => <Tile key={i} example={example} thumbnails={loaded.thumbnails} current={i === strip.centre} stop={i === strip.centre} />)
          : Array.from({ length: count }, (_, i) => <Placeholder key={i} />)}
      </div>
      <div ref={box}>
        <input
          type="range"
          min={0}
          max={nSteps - 1}
          step={1}
          value={step}
          aria-label="Step along the direction, easiest to hardest"
          aria-valuetext={here ? `step ${step + 1} of ${nSteps}, errors ${percent(here.n_wrong / Math.max(here.n, 1))}` : `step ${step + 1}`}
          data-testid="step-slider"
          onInput={(event) => go(Number(event.currentTarget.value))}
        />
        <Values info={info} step={step} nSteps={nSteps} width={width} onStep={go} />
      </div>
      <div class="fv-ends">
        <p>{info?.easiest && <Phrase text={info.easiest} />}</p>
        <p>{info?.hardest && <Phrase text={info.hardest} />}</p>
      </div>
    </section>
  );
}

function Phrase({ text }: { text: string }) {
  return <q>{text}</q>;
}

interface ValuesProps {
  info: DirectionInfo | null;
  step: number;
  nSteps: number;
  width: number;
  onStep(step: number): void;
}

/** The histogram, and a line from the slider's even steps to where this one stands among the values. */
function Values({ info, step, nSteps, width, onStep }: ValuesProps) {
  const tall = HEIGHT + JOIN;
  if (!info || width === 0) return <svg class="fv-values" height={tall} aria-hidden="true" />;
  const here = info.steps[step];
  const from = THUMB + (nSteps > 1 ? step / (nSteps - 1) : 0.5) * (width - 2 * THUMB);
  const to = here ? scoreToX(here.score, info.edges, width) : null;
  const zero = info.boundary === null ? null : scoreToX(info.boundary, info.edges, width);
  return (
    <svg
      class="fv-values"
      width={width}
      height={tall}
      role="img"
      aria-label={`How the ${whole(info.n)} examples spread along the direction, right and wrong`}
      data-testid="histogram"
      onClick={(event) => onStep(stepAtX(event.clientX - event.currentTarget.getBoundingClientRect().left, info.steps, info.edges, width))}
    >
      <g transform={`translate(0 ${JOIN})`}>
        {bars(info, width, HEIGHT).map((bar) => (
          <g key={bar.x}>
            <rect class="fv-bar-right" x={bar.x} width={bar.width} {...bar.right} />
            <rect class="fv-bar-wrong" x={bar.x} width={bar.width} {...bar.wrong} />
          </g>
        ))}
        {zero !== null && (
          <path class="fv-boundary" d={`M${zero} 0V${HEIGHT}`}>
            <title>Slice begins</title>
          </path>
        )}
        <path class="fv-base" d={`M0 ${HEIGHT - 0.5}H${width}`} />
      </g>
      {to !== null && <path class="fv-marker" d={`M${from} 0V2L${to} ${JOIN}V${tall}`} />}
    </svg>
  );
}
