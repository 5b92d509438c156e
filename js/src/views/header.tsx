// One row: where you are, one sentence about the model, and whether your labels are safe.
import { findings, percent, plural, whole } from "../core/format";
import { Button } from "../parts/button";
import { Segmented } from "../parts/segmented";
import type { Loaded, Session } from "../data/session";

export function Header({ session }: { session: Session }) {
  const loaded = session.loaded.value;
  return (
    <header class="fv-header">
      <span class="fv-wordmark">
        <svg viewBox="0 0 26 12" aria-hidden="true">
          <circle cx="6" cy="6" r="4.6" />
          <path d="M15.5 2 23.5 10M23.5 2 15.5 10" />
        </svg>
        failviz
      </span>
      <Segmented
        label="What the middle shows"
        choices={[
          ["map", "Map"],
          ["gallery", "Gallery"],
          ["retrain", "Retrain"],
          ["compare", "Compare"],
        ]}
        testids="view-"
        value={session.store.view.value}
        onChoose={session.store.show}
      />
      {loaded ? <Summary loaded={loaded} /> : <p class="fv-summary fv-muted">{session.connection.silent.value || session.connection.problem.value ? "" : "waiting for Python"}</p>}
      {loaded && <Saving loaded={loaded} />}
    </header>
  );
}

function Summary({ loaded }: { loaded: Loaded }) {
  const { accuracy, n, unit } = loaded.info;
  const found = findings(loaded.slices.list.value?.map((slice) => slice.status) ?? []);
  return (
    <p class="fv-summary" data-testid="summary">
      {accuracy !== null && (
        <>
          <b>{percent(accuracy, 1)}</b> accuracy ·{" "}
        </>
      )}
      {whole(n)} {unit}
      {found && " · "}
      {/^\d/.test(found) ? <b class="fv-wrong">{found}</b> : found}
    </p>
  );
}

function Saving({ loaded }: { loaded: Loaded }) {
  const { slices } = loaded;
  const history = slices.history.value;
  const busy = slices.saving.value;
  const state = !history
    ? ""
    : busy
      ? "saving"
      : history.saved
        ? `saved · ${plural(history.n_labels, "label")}`
        : "not saved: kept in memory only";
  return (
    <div class="fv-saving">
      <span class={history && !history.saved ? "fv-warn" : "fv-muted"} data-testid="save-state" title={history?.place ?? undefined}>
        {state}
      </span>
      <Button
        testid="undo-button"
        disabled={!history?.can_undo || busy}
        title={history?.undo ? `Undo: ${history.undo} (Ctrl+Z)` : "Nothing to undo"}
        onClick={slices.undo}
      >
        Undo
      </Button>
      <Button
        testid="redo-button"
        disabled={!history?.can_redo || busy}
        title={history?.redo ? `Redo: ${history.redo} (Ctrl+Shift+Z)` : "Nothing to redo"}
        onClick={slices.redo}
      >
        Redo
      </Button>
    </div>
  );
}
