// The frame: header, messages, three columns. It composes the views, which know nothing of each other.
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import type { RendererName } from "../map/renderer";
import type { Loaded, Session } from "../data/session";
import { SILENCE } from "../core/rpc";
import { type Hover, HoverCard } from "../parts/hovercard";
import { DirectionView } from "./direction";
import { GalleryView } from "./gallery";
import { HandView } from "./hand";
import { Header } from "./header";
import { MapView } from "./map";
import { SliceList } from "./slices";

interface Props {
  session: Session;
  wish: RendererName | null;
}

export function App({ session, wish }: Props) {
  const loaded = session.loaded.value;
  return (
    <>
      <Header session={session} />
      <Messages session={session} />
      {loaded ? <Columns session={session} loaded={loaded} wish={wish} /> : <Waiting session={session} />}
      <p class="fv-live" role="status" aria-live="polite" data-testid="live">
        {loaded?.slices.said.value}
      </p>
    </>
  );
}

function Columns({ session, loaded, wish }: Props & { loaded: Loaded }) {
  const [focused, setFocused] = useState<(Hover & { width: number; height: number }) | null>(null);
  const inGallery = session.store.view.value === "gallery";
  function onNew() {
    session.hand.value = "selection";
    session.naming.value += 1;
  }
  /** A picture that the keyboard reaches tells what the pointer would be told. */
  function onFocusIn(event: FocusEvent & { currentTarget: HTMLElement }) {
    const tile = event.target as HTMLElement;
    if (!tile.matches(".fv-tile:focus-visible")) return;
    const at = tile.getBoundingClientRect();
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
    setFocused({ row: Number(tile.dataset.row), x: at.left + at.width / 2 - left, y: at.top - top, gap: at.width / 2 + 8, width, height });
  }
  const leave = () => setFocused(null);
  return (
    <div class="fv-columns" onFocusIn={onFocusIn} onFocusOut={leave} onWheel={leave} onKeyDown={(event) => event.key === "Escape" && leave()}>
      <SliceList session={session} loaded={loaded} onNew={onNew} />
      <div class="fv-middle">
        {inGallery ? (
          <GalleryView session={session} loaded={loaded} />
        ) : (
          <>
            <MapView session={session} loaded={loaded} wish={wish} />
            <DirectionView session={session} loaded={loaded} />
          </>
        )}
      </div>
      <HandView session={session} loaded={loaded} />
      {focused && <HoverCard hover={focused} width={focused.width} height={focused.height} thumbnails={loaded.thumbnails} details={loaded.details} />}
    </div>
  );
}

function Waiting({ session }: { session: Session }) {
  const failed = session.connection.silent.value || session.connection.problem.value !== null;
  return (
    <div class="fv-columns">
      <section class="fv-slices" />
      <div class="fv-middle">
        <p class="fv-quiet fv-centred">{failed ? "Nothing to show yet." : "Opening the evaluation…"}</p>
        {failed && (
          <button type="button" class="fv-centred" data-testid="ask-again" onClick={session.retry}>
            Ask again
          </button>
        )}
      </div>
      <section class="fv-hand" />
    </div>
  );
}

const dismissed = signal<ReadonlySet<string>>(new Set());

function Messages({ session }: { session: Session }) {
  const { connection } = session;
  const notice = session.loaded.value?.info.notice ?? null;
  const silent = connection.silent.value;
  const problem = connection.problem.value;
  return (
    <>
      {silent && (
        <div class="fv-message" data-kind="error" role="alert" data-testid="kernel-silent">
          <p>{SILENCE}</p>
          <button type="button" onClick={session.retry}>
            Ask again
          </button>
        </div>
      )}
      {problem !== null && (
        <div class="fv-message" data-kind="error" role="alert" data-testid="error-message">
          <p>{problem}</p>
          <button type="button" data-testid="dismiss-error" onClick={() => (connection.problem.value = null)}>
            Dismiss
          </button>
        </div>
      )}
      {notice !== null && !dismissed.value.has(notice) && (
        <div class="fv-message" data-kind="notice" data-testid="notice">
          <p>{notice}</p>
          <button type="button" data-testid="dismiss-notice" onClick={() => (dismissed.value = new Set([...dismissed.value, notice]))}>
            Dismiss
          </button>
        </div>
      )}
    </>
  );
}
