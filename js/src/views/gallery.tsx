// The middle column as pictures: every example of a slice, the selection or the whole set, drawn only where one looks.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { whole } from "../core/format";
import type { GalleryOf, GalleryOnly, GalleryOrder } from "../core/protocol";
import { createPages } from "../data/examples";
import type { Loaded, Session } from "../data/session";
import { useRoving } from "../parts/roving";
import { Segmented } from "../parts/segmented";
import { Placeholder, Tile } from "../parts/tile";

const GAP = 8;
const CAPTION = 36;
/** Browsers stop growing an element somewhere past 16 million pixels. */
const TALLEST = 12_000_000;

export function GalleryView({ session, loaded }: { session: Session; loaded: Loaded }) {
  const { slices, points, info } = loaded;
  const slice = slices.active.value;
  const selection = points.selection.value;
  const [chosen, setOf] = useState<GalleryOf | null>(null);
  const [order, setOrder] = useState<GalleryOrder>(info.channels.some((channel) => channel.key === "score") ? "score" : "loss");
  const [only, setOnly] = useState<GalleryOnly>("all");
  const wanted = chosen ?? (session.hand.value === "selection" ? "selection" : "slice");
  const of = wanted === "selection" && selection.count === 0 ? "slice" : wanted;
  const shown: GalleryOf = of === "slice" && !slice ? "all" : of;
  const key = slice?.key ?? null;

  const pages = useMemo(
    () => createPages(session.connection, { of: shown, slice: key, order, only }),
    [shown, shown === "slice" || order === "score" ? key : null, order, only, shown === "selection" ? selection.revision : 0, session.connection.revived.value],
  );
  useEffect(() => () => pages.dispose(), [pages]);
  const total = pages.total.value;
  const of_ = shown === "slice" ? `in ${slice?.name ?? "this slice"}` : shown === "selection" ? "selected" : "";

  return (
    <section class="fv-gallery" aria-label="Gallery">
      <div class="fv-bar">
        <h2>Gallery</h2>
        <p class="fv-muted" data-testid="gallery-total">
          {total === null ? "" : `${whole(total)} ${only === "all" ? info.unit : `${only} ${info.unit}`} ${of_}`}
        </p>
      </div>
      <div class="fv-bar fv-filters">
        <Segmented<GalleryOf>
          label="Show examples of"
          choices={[
            ["slice", "Slice", !slice],
            ["selection", "Selection", selection.count === 0],
            ["all", "All"],
          ]}
          testids="gallery-of-"
          value={shown}
          onChoose={setOf}
        />
        <Segmented<GalleryOnly>
          label="Only"
          choices={[
            ["all", "Both"],
            ["wrong", "Wrong", info.n_wrong === null],
            ["right", "Right", info.n_wrong === null],
          ]}
          testids="gallery-only-"
          value={only}
          onChoose={setOnly}
        />
        <Segmented<GalleryOrder>
          label="Order"
          choices={[
            ["score", "By score"],
            ["loss", "By loss"],
          ]}
          testids="gallery-order-"
          value={order}
          onChoose={setOrder}
        />
      </div>
      <Grid key={`${shown} ${key} ${order} ${only}`} pages={pages} loaded={loaded} />
    </section>
  );
}

function Grid({ pages, loaded }: { pages: ReturnType<typeof createPages>; loaded: Loaded }) {
  const box = useRef<HTMLDivElement>(null);
  const [sight, setSight] = useState({ top: 0, width: 0, height: 0 });

  useEffect(() => {
    const host = box.current!;
    const look = () => setSight({ top: host.scrollTop, width: host.clientWidth, height: host.clientHeight });
    const watch = new ResizeObserver(look);
    watch.observe(host);
    host.addEventListener("scroll", look, { passive: true });
    return () => {
      watch.disconnect();
      host.removeEventListener("scroll", look);
    };
  }, []);

  const isText = loaded.info.source === "text";
  const columns = Math.max(Math.floor((sight.width + GAP) / ((isText ? 190 : 92) + GAP)), 1);
  const tile = Math.max((sight.width - GAP * (columns - 1)) / columns, 1);
  const line = (isText ? 96 : tile) + CAPTION + GAP;
  const total = pages.total.value ?? 0;
  pages.version.value;
  const lines = Math.min(Math.ceil(total / columns), Math.floor(TALLEST / line));
  const first = Math.max(Math.floor(sight.top / line) - 1, 0);
  const last = Math.min(Math.ceil((sight.top + sight.height) / line) + 1, Math.max(lines, 1));
  const from = first * columns;
  const to = Math.min(last * columns, Math.max(total, 1));
  useEffect(() => {
    if (sight.width > 0) pages.want(from, to - 1);
  }, [pages, from, to, sight.width, total]);
  const { stop, on } = useRoving(from);
  const reached = Math.min(Math.max(stop, from), Math.min(to, total) - 1);

  const tiles = [];
  for (let i = from; i < Math.min(to, total); i++) {
    const example = pages.at(i);
    tiles.push(example ? <Tile key={i} example={example} thumbnails={loaded.thumbnails} size={128} caption stop={i === reached} /> : <Placeholder key={i} />);
  }
  return (
    <div ref={box} class="fv-scroll" tabIndex={0} role="region" aria-label="Examples, scroll for more" {...on} data-testid="gallery" data-total={pages.total.value ?? undefined}>
      {pages.total.value === 0 && <p class="fv-quiet">No example fits. Show right and wrong ones, or another slice.</p>}
      <div style={{ height: `${lines * line}px`, position: "relative" }}>
        <div
          class="fv-tiles"
          style={{ transform: `translateY(${first * line}px)`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`, gap: `${GAP}px`, gridAutoRows: `${line - GAP}px` }}
        >
          {tiles}
        </div>
      </div>
    </div>
  );
}
