// The middle column as a map: what colours mean, how many are selected, and the tools over the plot.
import { useRef, useState } from "preact/hooks";
import { whole } from "../core/format";
import { Button } from "../parts/button";
import { Legend } from "../parts/legend";
import { Plot } from "../parts/plot";
import { Segmented } from "../parts/segmented";
import type { Loaded, Session } from "../data/session";
import type { Gestures } from "../map/gestures";
import type { RendererName } from "../map/renderer";

interface Props {
  session: Session;
  loaded: Loaded;
  wish: RendererName | null;
}

/** Channels that get a button of their own when there is room; the rest are in the list beside them. */
const FIRST = ["outcome", "label", "loss", "score"];

export function MapView({ session, loaded, wish }: Props) {
  const [lassoMode, setLassoMode] = useState(false);
  const gestures = useRef<Gestures | null>(null);
  const { points, info } = loaded;
  const selection = points.selection.value;
  const layout = points.layout.value;
  const how = layout === null ? "laying out the map" : layout.final ? layout.method : `${layout.method}, a better map is on its way`;
  const where = selection.count > 0 ? `${whole(selection.count)} of ${whole(info.n)} selected` : how;

  return (
    <section class="fv-map" aria-label="Map">
      <div class="fv-bar">
        <h2>Map</h2>
        <p class="fv-muted" title={where} data-testid="selection-count">
          {where}
        </p>
        <ColourBy session={session} loaded={loaded} />
      </div>
      <div class="fv-stage">
        <Plot
          session={session}
          loaded={loaded}
          wish={wish}
          lassoMode={lassoMode}
          label={`Map of ${whole(info.n)} ${info.unit}. Arrow keys move it, plus and minus zoom, 0 shows everything, Escape clears the selection.`}
          onSelected={() => (session.hand.value = "selection")}
          onGestures={(made) => (gestures.current = made)}
        />
        {layout === null && <p class="fv-stage-note">Laying out the map…</p>}
        <div class="fv-tools">
          <Button
            aria-pressed={lassoMode}
            testid="lasso-toggle"
            title="Draw around points to select them (or hold Shift and drag)"
            onClick={() => setLassoMode(!lassoMode)}
          >
            Lasso
          </Button>
          <Button testid="clear-selection" disabled={selection.count === 0} title="Select nothing (Escape)" onClick={() => points.clear()}>
            Clear
          </Button>
          <span class="fv-zoom">
            <Button aria-label="Zoom out" testid="zoom-out" onClick={() => gestures.current?.zoom(1 / 1.5)}>
              −
            </Button>
            <Button aria-label="Zoom in" testid="zoom-in" onClick={() => gestures.current?.zoom(1.5)}>
              +
            </Button>
            <Button testid="zoom-reset" title="Show everything (double-click)" onClick={() => gestures.current?.reset()}>
              Fit
            </Button>
          </span>
        </div>
      </div>
      <Legend channel={points.channel.value} nWrong={info.n_wrong} n={info.n} dark={session.theme.value.dark} />
    </section>
  );
}

function ColourBy({ session, loaded }: { session: Session; loaded: Loaded }) {
  const { points, info } = loaded;
  const roomy = session.shape.value !== "stacked";
  const first = roomy ? info.channels.filter((channel) => FIRST.includes(channel.key)) : [];
  const rest = info.channels.filter((channel) => !first.includes(channel));
  const value = points.colourBy.value;
  return (
    <div class="fv-colour-by">
      {first.length > 0 && (
        <Segmented
          label="Colour by"
          choices={first.map((channel) => [channel.key, channel.label])}
          testids="colour-"
          value={value}
          onChoose={(key) => (points.colourBy.value = key)}
        />
      )}
      {rest.length > 0 && (
        <select
          aria-label="Colour by"
          data-testid="colour-select"
          data-taken={rest.some((channel) => channel.key === value)}
          value={rest.some((channel) => channel.key === value) ? value : ""}
          onChange={(event) => event.currentTarget.value && (points.colourBy.value = event.currentTarget.value)}
        >
          {first.length > 0 && <option value="">More…</option>}
          {rest.map((channel) => (
            <option key={channel.key} value={channel.key}>
              {channel.label}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}
