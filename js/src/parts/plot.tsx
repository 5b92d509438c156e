// The plot surface: binds the scatter and its gestures to signals, and draws outlines over it.
import { effect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { groundColour, lookupTable, missingColour } from "../core/scales";
import type { Loaded, Session } from "../data/session";
import { type Transform, toScreen } from "../map/camera";
import { type Gestures, listen } from "../map/gestures";
import { rowsInside } from "../map/lasso";
import type { RendererName } from "../map/renderer";
import { type Scatter, createScatter } from "../map/scatter";
import { type Hover, HoverCard } from "./hovercard";

interface Props {
  session: Session;
  loaded: Loaded;
  wish: RendererName | null;
  lassoMode: boolean;
  label: string;
  onSelected(): void;
  onGestures(gestures: Gestures | null): void;
}

export function Plot({ session, loaded, wish, lassoMode, label, onSelected, onGestures }: Props) {
  const surface = useRef<HTMLDivElement>(null);
  const path = useRef<SVGPathElement>(null);
  const mode = useRef(lassoMode);
  const [hover, setHover] = useState<Hover | null>(null);
  const scatterRef = useRef<Scatter | null>(null);
  mode.current = lassoMode;

  useEffect(() => {
    const host = surface.current!;
    /** The outline in hand (pixels), or the finished one (positions), which moves with the camera. */
    let pixels: readonly number[] | null = null;
    let kept: Float64Array | null = null;

    function drawOutline(transform: Transform) {
      const points = pixels ?? kept;
      if (!points || points.length < 4) return path.current?.setAttribute("d", "");
      const parts: string[] = [];
      for (let i = 0; i < points.length; i += 2) {
        const [x, y] = pixels ? [points[i]!, points[i + 1]!] : toScreen(transform, points[i]!, points[i + 1]!);
        parts.push(`${x.toFixed(1)} ${y.toFixed(1)}`);
      }
      path.current?.setAttribute("d", `M${parts.join("L")}Z`);
    }

    const scatter = createScatter(host, { wish, onRenderer: (name) => (session.renderer.value = name), onFrame: drawOutline });
    scatterRef.current = scatter;
    const { points, info } = loaded;
    const gestures = listen(host, scatter, {
      lassoMode: () => mode.current,
      onHover: setHover,
      onOutline(drawn) {
        pixels = drawn;
        if (drawn) kept = null;
        drawOutline(scatter.transform());
      },
      onLasso(outline) {
        const { bits, count } = rowsInside(scatter.positions(), outline);
        kept = count > 0 ? outline : null;
        drawOutline(scatter.transform());
        void (count > 0 ? points.select(bits).then(onSelected) : points.clear());
      },
      onEscape: () => void points.clear(),
    });
    onGestures(gestures);

    let placed = false;
    const stops = [
      effect(() => {
        const positions = points.positions.value;
        if (!positions) return;
        scatter.setPositions(positions, placed);
        placed = true;
      }),
      effect(() => {
        const { dark } = session.theme.value;
        scatter.setGround(groundColour(session.theme.value), missingColour(dark));
        const channel = points.channel.value;
        scatter.setColours(channel?.values ?? new Uint8Array(info.n).fill(255), lookupTable(channel?.kind ?? "number", dark));
      }),
      effect(() => {
        const selection = points.selection.value;
        if (selection.count === 0) {
          kept = null;
          drawOutline(scatter.transform());
        }
        scatter.setMarks({ n: info.n, outcome: points.outcome.value?.values ?? null, selection: selection.bits, members: points.members.value });
      }),
    ];
    return () => {
      stops.forEach((stop) => stop());
      onGestures(null);
      gestures.dispose();
      scatter.dispose();
    };
  }, [loaded]);

  const size = scatterRef.current?.size() ?? { width: 0, height: 0 };
  return (
    <div class="fv-plot">
      <div ref={surface} class="fv-surface" tabIndex={0} role="application" aria-roledescription="map" aria-label={label} data-testid="scatter" data-lasso={lassoMode}>
        <svg class="fv-outline" aria-hidden="true">
          <path ref={path} />
        </svg>
      </div>
      {hover && <HoverCard hover={hover} {...size} thumbnails={loaded.thumbnails} details={loaded.details} />}
    </div>
  );
}
