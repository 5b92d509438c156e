// Pointer, wheel and keys over the plot: pan, zoom, hover, lasso.
import { HOME, pan, toPosition, zoomAt } from "./camera";
import type { Scatter } from "./scatter";

export interface Gestures {
  zoom(factor: number): void;
  reset(): void;
  dispose(): void;
}

interface Hooks {
  lassoMode(): boolean;
  /** The outline so far in CSS pixels, or null when there is none in hand. */
  onOutline(pixels: readonly number[] | null): void;
  /** The finished outline, in the coordinates of the positions. */
  onLasso(outline: Float64Array): void;
  onHover(at: { row: number; x: number; y: number } | null): void;
  onEscape(): void;
}

const NUDGE = 40;
const KEY_ZOOM = 1.4;
/** Pixels between two corners of an outline, and the smallest area that counts as drawn on purpose. */
const CORNER_EVERY = 3;
const SMALLEST = 40;

export function listen(surface: HTMLElement, scatter: Scatter, hooks: Hooks): Gestures {
  let drag: { lasso: boolean; x: number; y: number; pixels: number[] } | null = null;
  const leaving = new AbortController();
  const on = <K extends keyof HTMLElementEventMap>(name: K, react: (event: HTMLElementEventMap[K]) => void, passive = true) =>
    surface.addEventListener(name, react, { signal: leaving.signal, passive });

  function place(event: MouseEvent): [number, number] {
    const box = surface.getBoundingClientRect();
    // A host may scale its cells with a CSS transform.
    const scale = box.width > 0 ? surface.clientWidth / box.width : 1;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  on("pointerdown", (event) => {
    if (event.button !== 0 || drag) return;
    event.preventDefault();
    surface.focus({ preventScroll: true });
    surface.setPointerCapture(event.pointerId);
    const [x, y] = place(event);
    drag = { lasso: hooks.lassoMode() || event.shiftKey, x, y, pixels: [x, y] };
    hooks.onHover(null);
  }, false);

  on("pointermove", (event) => {
    const [x, y] = place(event);
    if (!drag) {
      const row = scatter.rowAt(x, y);
      hooks.onHover(row < 0 ? null : { row, x, y });
    } else if (drag.lasso) {
      const { pixels } = drag;
      if (Math.hypot(x - pixels[pixels.length - 2]!, y - pixels[pixels.length - 1]!) < CORNER_EVERY) return;
      pixels.push(x, y);
      hooks.onOutline(pixels);
    } else {
      scatter.setCamera(pan(scatter.camera(), scatter.size(), x - drag.x, y - drag.y));
      drag.x = x;
      drag.y = y;
    }
  });

  on("pointerup", () => {
    const finished = drag;
    drag = null;
    if (!finished?.lasso) return;
    hooks.onOutline(null);
    if (area(finished.pixels) < SMALLEST) return;
    const transform = scatter.transform();
    const outline = new Float64Array(finished.pixels.length);
    for (let i = 0; i < outline.length; i += 2) outline.set(toPosition(transform, finished.pixels[i]!, finished.pixels[i + 1]!), i);
    hooks.onLasso(outline);
  });

  function abandon() {
    drag = null;
    hooks.onOutline(null);
  }
  on("pointercancel", abandon);
  on("pointerleave", () => !drag && hooks.onHover(null));
  on("wheel", (event) => {
    // A wheel that passes over the map scrolls the notebook; it zooms once the map was clicked, or with Ctrl.
    if (!event.ctrlKey && !event.metaKey && !surface.matches(":focus")) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
    const [x, y] = place(event);
    hooks.onHover(null);
    scatter.setCamera(zoomAt(scatter.camera(), scatter.size(), Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0018)), x, y));
  }, false);
  on("dblclick", reset);

  function zoom(factor: number) {
    const { width, height } = scatter.size();
    scatter.setCamera(zoomAt(scatter.camera(), scatter.size(), factor, width / 2, height / 2));
  }

  function reset() {
    scatter.setCamera(HOME);
  }

  const move = (dx: number, dy: number) => () => scatter.setCamera(pan(scatter.camera(), scatter.size(), dx, dy));
  const keys: Record<string, () => void> = {
    ArrowLeft: move(NUDGE, 0),
    ArrowRight: move(-NUDGE, 0),
    ArrowUp: move(0, NUDGE),
    ArrowDown: move(0, -NUDGE),
    "+": () => zoom(KEY_ZOOM),
    "=": () => zoom(KEY_ZOOM),
    "-": () => zoom(1 / KEY_ZOOM),
    "0": reset,
    Escape: () => (drag ? abandon() : hooks.onEscape()),
  };
  on("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }, false);

  return { zoom, reset, dispose: () => leaving.abort() };
}

function area(pixels: readonly number[]): number {
  let twice = 0;
  for (let i = 0; i < pixels.length; i += 2) {
    const next = (i + 2) % pixels.length;
    twice += pixels[i]! * pixels[next + 1]! - pixels[next]! * pixels[i + 1]!;
  }
  return Math.abs(twice) / 2;
}
