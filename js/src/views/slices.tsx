// The left column: every slice with its error rate, what it is compared with, and its verdict in words.
import { useEffect, useRef } from "preact/hooks";
import { isDirty } from "../core/drafts";
import { percent, plural, points, whole } from "../core/format";
import type { Slice } from "../core/protocol";
import { sliceColour } from "../core/scales";
import type { Loaded, Session } from "../data/session";
import { Button } from "../parts/button";
import { IntervalTrack } from "../parts/interval";

interface Props {
  session: Session;
  loaded: Loaded;
  onNew(): void;
}

export function SliceList({ session, loaded, onNew }: Props) {
  const list = loaded.slices.list.value;
  const active = loaded.slices.active.value;
  const selection = loaded.points.selection.value;
  const box = useRef<HTMLUListElement>(null);

  // Only the list scrolls: the notebook around it stays where the reader has it.
  useEffect(() => {
    const seen = box.current!;
    const item = seen.querySelector<HTMLElement>("[aria-selected=true]");
    if (!item) return;
    const above = item.offsetTop - seen.offsetTop - seen.scrollTop;
    seen.scrollTop += above < 0 ? above : Math.max(0, above + item.offsetHeight - seen.clientHeight);
  }, [active?.key, !list, session.store.view.value]); // a comparison may have hidden it

  function choose(slice: Slice) {
    session.store.choose(slice.key);
    session.hand.value = "slice";
  }

  function onKeyDown(event: KeyboardEvent) {
    if (!list || list.length === 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = list.findIndex((slice) => slice.key === active?.key);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && session.store.view.value === "map") {
      event.preventDefault();
      loaded.direction.stepTo(session.store.step.value + by);
      return;
    }
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: list.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = list[Math.min(Math.max(to, 0), list.length - 1)]!;
    choose(next);
    box.current!.querySelectorAll("li")[list.indexOf(next)]?.focus();
  }

  return (
    <section class="fv-slices" aria-label="Slices">
      <h2>
        Slices <span class="fv-muted fv-count">{list ? list.length : ""}</span>
      </h2>
      {list === null && <p class="fv-quiet">Looking for slices…</p>}
      {list?.length === 0 && (
        <p class="fv-quiet">
          No slices yet: pass finders to <code>Explorer</code>, or draw around points on the map.
        </p>
      )}
      <ul ref={box} role="listbox" aria-label="Slices" onKeyDown={onKeyDown} data-testid="slice-list">
        {list?.map((slice, i) => (
          <Item
            key={slice.key}
            slice={slice}
            active={slice.key === active?.key}
            reachable={active ? slice.key === active.key : i === 0}
            edited={isDirty(loaded.slices.drafts.value, slice.key, slice)}
            onChoose={() => choose(slice)}
          />
        ))}
      </ul>
      <div class="fv-foot">
        <Button class="fv-wide" testid="new-slice" disabled={selection.count === 0} onClick={onNew}>
          New slice from selection
        </Button>
        <p class="fv-muted">
          {selection.count > 0 ? `${plural(selection.count, "example")} selected` : "Draw around points on the map first"}
        </p>
      </div>
    </section>
  );
}

interface ItemProps {
  slice: Slice;
  active: boolean;
  reachable: boolean;
  edited: boolean;
  onChoose(): void;
}

function Item({ slice, active, reachable, edited, onChoose }: ItemProps) {
  return (
    <li
      role="option"
      aria-selected={active}
      tabIndex={reachable ? 0 : -1}
      class="fv-slice"
      title={slice.explanation}
      data-testid="slice-item"
      data-key={slice.key}
      data-status={slice.status}
      onClick={onChoose}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        onChoose();
      }}
    >
      <span class="fv-dot" style={{ background: sliceColour(slice.colour) }} />
      <span class="fv-name">{slice.name}</span>
      <b class="fv-rate">{percent(slice.error_rate)}</b>
      <span class="fv-method fv-muted">
        <span>n {whole(slice.n)}</span>
        <span>{slice.method}</span>
      </span>
      <span class="fv-lift fv-muted">{points(slice.error_rate, slice.rest_error_rate)}</span>
      <span class="fv-verdict">
        <span class="fv-badge" data-status={slice.status}>
          {slice.badge}
        </span>
        {edited && <span class="fv-muted">edited</span>}
        {slice.error_rate !== null && slice.low !== null && slice.high !== null && (
          <IntervalTrack rate={slice.error_rate} low={slice.low} high={slice.high} rest={slice.rest_error_rate} />
        )}
      </span>
    </li>
  );
}
