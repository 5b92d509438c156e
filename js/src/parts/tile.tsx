// One example as a picture, a text or its id; wrong ones carry a vermilion edge and a cross.
import type { Example } from "../core/protocol";
import { short } from "../core/format";
import type { Thumb, ThumbSize, Thumbnails } from "../data/thumbnails";

interface Props {
  example: Example;
  thumbnails: Thumbnails;
  size?: ThumbSize;
  current?: boolean;
  caption?: boolean;
  /** Whether Tab stops here; arrow keys reach the others of the group. */
  stop?: boolean;
}

export function describe(example: Example): string {
  const verdict =
    example.wrong === null ? example.label ?? "" : example.wrong ? `${example.label ?? "?"}, called ${example.prediction ?? "?"}: wrong` : `${example.label ?? example.prediction ?? "?"}: right`;
  const numbers = [
    example.score === null ? "" : `slice score ${short(example.score)}`,
    example.loss === null ? "" : `loss ${short(example.loss)}`,
    example.confidence === null ? "" : `confidence ${Math.round(example.confidence * 100)}%`,
  ].filter(Boolean);
  return [`${example.id} · ${verdict}`, numbers.join(", "), example.caption ?? ""].filter(Boolean).join("\n");
}

export function Tile({ example, thumbnails, size = 64, current = false, caption = false, stop = false }: Props) {
  const outcome = example.wrong === null ? "none" : example.wrong ? "wrong" : "right";
  const thumb = thumbnails.get(example.row, size).value;
  const title = thumb.state === "broken" ? `${thumb.message}\n${describe(example)}` : describe(example);
  return (
    <figure
      class="fv-tile"
      role="img"
      tabIndex={stop ? 0 : -1}
      aria-label={title}
      title={title}
      data-testid="thumb"
      data-row={example.row}
      data-id={example.id}
      data-outcome={outcome}
      data-state={thumb.state}
      data-current={current || undefined}
    >
      <Face thumb={thumb} id={example.id}>
        {outcome === "wrong" && <Cross />}
      </Face>
      {caption && (
        <figcaption>
          <span>{example.label ?? example.prediction ?? example.id}</span>
          {outcome === "wrong" && <span class="fv-called">→ {example.prediction}</span>}
        </figcaption>
      )}
    </figure>
  );
}

/** The picture itself, with what lies over it. */
export function Face({ thumb, id, children }: { thumb: Thumb; id: string; children?: preact.ComponentChildren }) {
  return (
    <div class="fv-face">
      {thumb.state === "image" && <img src={thumb.url} alt="" draggable={false} />}
      {thumb.state === "text" && <span class="fv-text">{thumb.text}</span>}
      {thumb.state === "none" && <span class="fv-id">{id}</span>}
      {thumb.state === "broken" && <span class="fv-broken">no picture</span>}
      {children}
    </div>
  );
}

export function Cross() {
  return (
    <svg class="fv-cross" viewBox="0 0 10 10" aria-hidden="true">
      <path d="M2.8 2.8 7.2 7.2M7.2 2.8 2.8 7.2" />
    </svg>
  );
}

/** Keeps the place of examples that have not come yet. */
export function Placeholder() {
  return (
    <figure class="fv-tile fv-waiting" aria-hidden="true">
      <div class="fv-face" />
    </figure>
  );
}
