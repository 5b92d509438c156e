// The right column: the slice in hand, or the selection that may become one: its numbers, its examples, its label.
import { useEffect, useMemo } from "preact/hooks";
import { NEW } from "../core/drafts";
import { interval, percent, points as inPoints, whole, wilson } from "../core/format";
import type { Slice } from "../core/protocol";
import { sliceColour } from "../core/scales";
import { createPages } from "../data/examples";
import type { Loaded, Session } from "../data/session";
import { Button } from "../parts/button";
import { LabelForm } from "../parts/labelform";
import { Segmented } from "../parts/segmented";
import { useRoving } from "../parts/roving";
import { Placeholder, Tile } from "../parts/tile";

interface Props {
  session: Session;
  loaded: Loaded;
}

export function HandView({ session, loaded }: Props) {
  const slice = loaded.slices.active.value;
  const selection = loaded.points.selection.value;
  const both = slice !== null && selection.count > 0;
  const onSelection = selection.count > 0 && (slice === null || session.hand.value === "selection");
  return (
    <section class="fv-hand" aria-label="In hand" data-testid="hand" data-hand={onSelection ? "selection" : slice ? "slice" : "nothing"}>
      {both && (
        <div class="fv-bar">
          <Segmented
            label="In hand"
            choices={[
              ["slice", "Slice"],
              ["selection", `Selection ${whole(selection.count)}`],
            ]}
            testids="hand-"
            value={onSelection ? "selection" : "slice"}
            onChoose={(value) => (session.hand.value = value)}
          />
        </div>
      )}
      {onSelection ? (
        <SelectionInHand session={session} loaded={loaded} />
      ) : slice ? (
        <SliceInHand key={slice.key} session={session} loaded={loaded} slice={slice} />
      ) : (
        <p class="fv-quiet">
          {loaded.slices.list.value === null ? "" : `Nothing in hand. ${loaded.slices.list.value.length > 0 ? "Choose a slice, or draw" : "Draw"} around points on the map with Lasso.`}
        </p>
      )}
    </section>
  );
}

function SliceInHand({ session, loaded, slice }: Props & { slice: Slice }) {
  const { slices, points } = loaded;
  return (
    <>
      <div class="fv-facts">
        <h2 class="fv-title">
          <span class="fv-dot" style={{ background: sliceColour(slice.colour) }} />
          <span data-testid="hand-name">{slice.name}</span>
        </h2>
        {slice.found_name !== null && slice.found_name !== slice.name && <p class="fv-muted fv-found">found as “{slice.found_name}”</p>}
        <div class="fv-stats">
          {slice.error_rate !== null && (
            <>
              <Stat value={percent(slice.error_rate)} name="error rate" detail={`${interval(slice.low, slice.high)} n\u00a0${whole(slice.n)}`} wrong />
              <Stat value={percent(slice.rest_error_rate)} name={slice.scope === "all classes" ? "same class mix" : `other ${slice.scope}`} detail={`n ${whole(slice.rest_n ?? 0)}`} />
            </>
          )}
          <Stat value={slice.badge} name={inPoints(slice.error_rate, slice.rest_error_rate)} detail={slice.rest_error_rate === null ? "" : "vs the rest"} word title={slice.explanation} />
        </div>
        {slice.confused_with.length > 0 && (
          <p>
            {slice.confused_as}{" "}
            {slice.confused_with.slice(0, 3).map(({ name, count }, i) => (
              <span key={name}>
                {i > 0 && ", "}
                <b>{name}</b> {whole(count)}
              </span>
            ))}
          </p>
        )}
        <p class="fv-muted fv-explanation">{slice.explanation}</p>
        <Examples session={session} loaded={loaded} of="slice" slice={slice.key} stamp={slice.key} />
        <div class="fv-row">
          <Button testid="select-slice" disabled={slice.n === 0} onClick={() => points.selectSlice(slice.key)}>
            Select these {whole(slice.n)}
          </Button>
          <Button testid="show-all" disabled={slice.n === 0} onClick={() => session.store.show("gallery")}>
            See all {whole(slice.n)}
          </Button>
          <Button
            testid="fix-this"
            disabled={slice.n === 0}
            onClick={() => {
              loaded.planning.wish.value = "slice";
              session.store.show("retrain");
            }}
          >
            Fix this
          </Button>
          {slice.kind === "drawn" && (
            <Button testid="remove-button" title="Undo brings it back" onClick={() => slices.remove(slice.key)}>
              Remove
            </Button>
          )}
        </div>
      </div>
      <LabelForm slices={slices} draftKey={slice.key} kept={slice} saveAs="Save" naming={session.naming.value} onSaved={() => {}} />
    </>
  );
}

const BLANK = { name: "", tags: [], note: "" };

function SelectionInHand({ session, loaded }: Props) {
  const { slices, points, info } = loaded;
  const { count, nWrong, revision } = points.selection.value;
  const [low, high] = wilson(nWrong ?? 0, count);
  const elsewhere = info.n - count;
  const wrongElsewhere = (info.n_wrong ?? 0) - (nWrong ?? 0);

  function onSaved(key: string) {
    session.hand.value = "slice";
    session.store.choose(key);
  }

  return (
    <>
      <div class="fv-facts">
        <h2 class="fv-title">
          <span data-testid="hand-name">Your selection</span>
        </h2>
        <div class="fv-stats">
          <Stat value={nWrong === null ? "–" : percent(nWrong / Math.max(count, 1))} name="error rate" detail={nWrong === null ? `n ${whole(count)}` : `${interval(low, high)} n\u00a0${whole(count)}`} wrong />
          <Stat value={nWrong === null || elsewhere === 0 ? "–" : percent(wrongElsewhere / elsewhere)} name="all others" detail={`n ${whole(elsewhere)}`} />
          <Stat value="not held out" name="drawn by you" detail="" word title="You drew this while looking at these examples: no held-out test." />
        </div>
        <Examples session={session} loaded={loaded} of="selection" slice={null} stamp={String(revision)} />
        <div class="fv-row">
          <Button testid="show-all" onClick={() => session.store.show("gallery")}>
            See all {whole(count)}
          </Button>
        </div>
      </div>
      <LabelForm slices={slices} draftKey={NEW} kept={BLANK} saveAs="Save as a slice" naming={session.naming.value} onSaved={onSaved} />
    </>
  );
}

function Stat({ value, name, detail, wrong = false, word = false, title }: { value: string; name: string; detail: string; wrong?: boolean; word?: boolean; title?: string }) {
  return (
    <div class="fv-stat" data-wrong={wrong} data-word={word} title={title}>
      <b>{value}</b>
      <span>{name}</span>
      <span class="fv-muted">{detail}</span>
    </div>
  );
}

/** Texts need more room than pictures. */
const SHOWN = { text: 6, other: 18 };

function Examples({ session, loaded, of, slice, stamp }: Props & { of: "slice" | "selection"; slice: string | null; stamp: string }) {
  const limit = loaded.info.source === "text" ? SHOWN.text : SHOWN.other;
  const pages = useMemo(
    () => createPages(session.connection, { of, slice, order: of === "slice" ? "score" : "loss", only: "all" }, limit),
    [of, slice, stamp, session.connection.revived.value],
  );
  useEffect(() => {
    pages.want(0, 0);
    return () => pages.dispose();
  }, [pages]);
  const { stop, on } = useRoving();
  pages.version.value;
  const total = pages.total.value;
  const shown = total === null ? limit : Math.min(total, limit);
  return (
    <div class="fv-thumbs" role="group" aria-label="Examples in hand" data-testid="hand-thumbs" {...on}>
      {Array.from({ length: shown }, (_, i) => {
        const example = pages.at(i);
        return example ? <Tile key={i} example={example} thumbnails={loaded.thumbnails} stop={i === Math.min(stop, shown - 1)} /> : <Placeholder key={i} />;
      })}
    </div>
  );
}
