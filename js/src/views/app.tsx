// The frame: header, messages, three columns. It composes the views, which know nothing of each other.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { RendererName } from "../map/renderer";
import type { Loaded, Session } from "../data/session";
import { sentence } from "../core/format";
import { SILENCE } from "../core/rpc";
import { Button } from "../parts/button";
import { type Hover, HoverCard } from "../parts/hovercard";
import { CompareView } from "./compare";
import { DirectionView } from "./direction";
import { GalleryView } from "./gallery";
import { HandView } from "./hand";
import { Header } from "./header";
import { MapView } from "./map";
import { RetrainView } from "./retrain";
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
      <p class="fv-live" role="status" aria-live="polite" data-testid="live-runs">
        {loaded?.runs.said.value}
      </p>
    </>
  );
}

function Columns({ session, loaded, wish }: Props & { loaded: Loaded }) {
  const [focused, setFocused] = useState<(Hover & { width: number; height: number }) | null>(null);
  const view = session.store.view.value;
  const middle = useRef<HTMLDivElement>(null);
  const first = useRef(view);

  // Where the columns are stacked, a button below the middle may have changed it out of sight.
  useEffect(() => {
    if (view !== first.current && session.shape.peek() !== "wide") middle.current?.scrollIntoView({ block: "nearest" });
    first.current = view;
  }, [view]);

  /** The form is in the hand column, for which the comparison may have no room. */
  function onNew() {
    if (view === "compare") session.store.show("map");
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
      <div ref={middle} class="fv-middle">
        {view === "gallery" && <GalleryView session={session} loaded={loaded} />}
        {view === "retrain" && <RetrainView session={session} loaded={loaded} />}
        {view === "compare" && <CompareView session={session} loaded={loaded} />}
        {view === "map" && (
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
          <Button class="fv-centred" testid="ask-again" onClick={session.retry}>
            Ask again
          </Button>
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
      {silent && <Message kind="error" text={SILENCE} testid="kernel-silent" action="Ask again" onAct={session.retry} />}
      {problem !== null && <Message kind="error" text={problem} testid="error-message" action="Dismiss" acted="dismiss-error" onAct={() => (connection.problem.value = null)} />}
      {notice !== null && !dismissed.value.has(notice) && (
        <Message kind="notice" text={notice} testid="notice" action="Dismiss" acted="dismiss-notice" onAct={() => (dismissed.value = new Set([...dismissed.value, notice]))} />
      )}
    </>
  );
}

interface MessageProps {
  kind: "error" | "notice";
  text: string;
  testid: string;
  action: string;
  /** The button's own test id. */
  acted?: string;
  onAct(): void;
}

function Message({ kind, text, testid, action, acted, onAct }: MessageProps) {
  return (
    <div class="fv-message" data-kind={kind} role={kind === "error" ? "alert" : undefined} data-testid={testid}>
      <p>{sentence(text)}</p>
      <Button testid={acted} onClick={onAct}>
        {action}
      </Button>
    </div>
  );
}
