// A group of tiles is one stop of the Tab key: arrow keys move the focus inside it, as the eye would.
import { useState } from "preact/hooks";

/** Where an arrow key leads from tile `at`, or -1: it leads nowhere, and the browser may scroll. */
export function nextTile(key: string, at: number, total: number, columns: number): number {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  const to = at + (by ?? NaN);
  return at >= 0 && to >= 0 && to < total ? to : -1;
}

type On<E extends Event> = E & { currentTarget: HTMLElement };

/** `first` is the index of the first tile that is drawn; `stop` is the tile that Tab reaches; `of` says what takes the focus. */
export function useRoving(first = 0, of = ".fv-tile") {
  const [stop, setStop] = useState(0);
  const tilesIn = (event: On<Event>) => [...event.currentTarget.querySelectorAll<HTMLElement>(of)];
  return {
    stop,
    on: {
      onFocusIn(event: On<FocusEvent>) {
        const at = tilesIn(event).indexOf(event.target as HTMLElement);
        if (at >= 0) setStop(first + at);
      },
      onKeyDown(event: On<KeyboardEvent>) {
        const tiles = tilesIn(event);
        const top = (tile: HTMLElement) => Math.round(tile.getBoundingClientRect().top);
        const columns = tiles.filter((tile) => top(tile) === top(tiles[0]!)).length;
        const next = tiles[nextTile(event.key, tiles.indexOf(event.target as HTMLElement), tiles.length, columns)];
        if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        next.scrollIntoView({ block: "nearest" });
        next.focus({ preventScroll: true });
      },
    },
  };
}
