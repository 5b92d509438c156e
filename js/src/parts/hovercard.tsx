// The example under the pointer or with the focus: its picture and what is known about it, beside it and inside its frame.
import { useEffect, useState } from "preact/hooks";
import { percent, short } from "../core/format";
import type { Details } from "../data/examples";
import type { Thumbnails } from "../data/thumbnails";

export interface Hover {
  row: number;
  x: number;
  y: number;
  /** From x to the card, on either side. */
  gap?: number;
}

interface Props {
  hover: Hover;
  width: number;
  height: number;
  thumbnails: Thumbnails;
  details(row: number, signal: AbortSignal): Promise<Details | null>;
}

const PAUSE = 70;
const WIDE = 288;
const TALL = 156;

export function HoverCard({ hover, width, height, thumbnails, details }: Props) {
  const [known, setKnown] = useState<Details | null>(null);

  useEffect(() => {
    const leaving = new AbortController();
    const timer = setTimeout(async () => {
      const found = await details(hover.row, leaving.signal);
      if (found && !leaving.signal.aborted) setKnown(found);
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }, [hover.row]);

  if (!known || known.row !== hover.row) return null;
  const { x, gap = 14 } = hover;
  const left = x + gap + WIDE > width ? Math.max(x - gap - WIDE, 4) : x + gap;
  const top = Math.max(Math.min(hover.y - 24, height - TALL), 4);
  return (
    <div class="fv-hovercard" style={{ left: `${left}px`, top: `${top}px`, width: `${WIDE}px` }} data-testid="hover-card" data-row={known.row}>
      <Face row={known.row} thumbnails={thumbnails} />
      {/* Not a dl: JupyterLab floats and narrows those in outputs. */}
      <div class="fv-details">
        <span>{known.wrong === null ? "class" : known.wrong ? "wrong" : "right"}</span>
        <b data-outcome={known.wrong ? "wrong" : "right"}>
          {known.label ?? "–"}
          {known.prediction !== null && known.prediction !== known.label && ` → ${known.prediction}`}
        </b>
        {known.confidence !== null && <Fact name="confidence" value={percent(known.confidence)} />}
        {known.loss !== null && <Fact name="loss" value={short(known.loss)} />}
        {known.metadata.slice(0, 5).map(([name, value]) => (
          <Fact key={name} name={name} value={value} />
        ))}
        <Fact name="id" value={known.id} />
      </div>
    </div>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <>
      <span>{name}</span>
      <span>{value}</span>
    </>
  );
}

function Face({ row, thumbnails }: { row: number; thumbnails: Thumbnails }) {
  const thumb = thumbnails.get(row, 128).value;
  if (thumb.state === "none") return null;
  return (
    <div class="fv-face">
      {thumb.state === "image" && <img src={thumb.url} alt="" />}
      {thumb.state === "text" && <span class="fv-text">{thumb.text}</span>}
      {thumb.state === "broken" && <span class="fv-broken">{thumb.message}</span>}
    </div>
  );
}
