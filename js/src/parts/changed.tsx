// The examples behind a change: fixed, newly wrong or still wrong, of one run and arm.
import { useEffect, useMemo } from "preact/hooks";
import { type Column, columnsOf } from "../core/comparison";
import { whole } from "../core/format";
import type { Changed, RunDetail } from "../core/retraining";
import { type Kind, createChanges } from "../data/changes";
import type { Loaded, Session } from "../data/session";
import { Button } from "./button";
import { Failure } from "./failure";
import { useRoving } from "./roving";
import { Segmented } from "./segmented";
import { Cross, Face } from "./tile";

const KINDS: readonly (readonly [Kind, string])[] = [
  ["fixed", "Fixed"],
  ["broken", "Newly wrong"],
  ["still", "Still wrong"],
];

interface Props {
  session: Session;
  loaded: Loaded;
}

export function WhatChanged({ session, loaded, runs }: Props & { runs: readonly RunDetail[] }) {
  const { look } = loaded.runs;
  const slice = loaded.slices.active.value;
  const of = slice ? look.value.of : "all";
  const columns = columnsOf(runs);
  const column = columns.find((one) => one.key === look.value.column) ?? columns[0];
  if (!column) return null;
  return (
    <section class="fv-changed" aria-label="What changed">
      <div class="fv-bar">
        <h2>What changed</h2>
        <p class="fv-muted">{of === "slice" ? `in ${slice!.name}` : ""}</p>
      </div>
      <div class="fv-bar">
        <Segmented
          label="Changes in"
          choices={[
            ["slice", "This slice", !slice],
            ["all", "All"],
          ]}
          testids="changed-of-"
          value={of}
          onChoose={(value) => (look.value = { ...look.value, of: value })}
        />
        {columns.length > 1 && (
          <select aria-label="Of which run" value={column.key} onChange={(event) => (look.value = { ...look.value, column: event.currentTarget.value })}>
            {columns.map(({ key, number, arm }) => (
              <option key={key} value={key}>
                Run {number}, {arm}
              </option>
            ))}
          </select>
        )}
      </div>
      <Lists session={session} loaded={loaded} column={column} of={of} slice={of === "slice" ? slice!.key : null} />
    </section>
  );
}

function Lists({ session, loaded, column, of, slice }: Props & { column: Column; of: "slice" | "all"; slice: string | null }) {
  const { look } = loaded.runs;
  const { number, arm } = column;
  const changes = useMemo(() => createChanges(session.connection, { number, arm, of, slice }), [column.key, of, slice, session.connection.revived.value]);
  useEffect(() => {
    for (const [one] of KINDS) changes.more(one);
    return () => changes.dispose();
  }, [changes]);
  const { stop, on } = useRoving();
  const { kind } = look.value;
  const totals = changes.totals.value;
  const total = totals[kind];
  const shown = changes.list(kind);
  if (changes.error.value !== null) return <Failure message={changes.error.value} />;
  return (
    <>
      <div>
        <Segmented
          label="Which changes"
          choices={KINDS.map(([one, name]) => [one, `${name} ${totals[one] === undefined ? "" : whole(totals[one]!)}`])}
          testids="changed-"
          value={kind}
          onChoose={(value) => (look.value = { ...look.value, kind: value })}
        />
      </div>
      {total === 0 && <p class="fv-quiet">None.</p>}
      <div class="fv-moved" role="group" aria-label="Examples" {...on}>
        {shown.map((one, i) => (
          <ChangedTile key={one.row} example={one} kind={kind} loaded={loaded} stop={i === Math.min(stop, shown.length - 1)} />
        ))}
      </div>
      {total !== undefined && shown.length < total && (
        <Button class="fv-more" testid="changed-more" onClick={() => changes.more(kind)}>
          Show more
        </Button>
      )}
    </>
  );
}

function ChangedTile({ example, kind, loaded, stop }: { example: Changed; kind: Kind; loaded: Loaded; stop: boolean }) {
  const { row, id, label, prediction, after } = example;
  const move = `${prediction ?? "–"} → ${after ?? "–"}`;
  const title = `${id} · ${label ?? "no label"}\ncalled ${move}`;
  return (
    <figure class="fv-tile" role="img" tabIndex={stop ? 0 : -1} aria-label={title} title={title} data-testid="changed-tile" data-row={row} data-id={id} data-outcome={kind === "fixed" ? "right" : "wrong"}>
      <Face thumb={loaded.thumbnails.get(row, 128).value} id={id}>
        {kind !== "fixed" && <Cross />}
      </Face>
      <figcaption>{move}</figcaption>
    </figure>
  );
}
