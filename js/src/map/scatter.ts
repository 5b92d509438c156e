// The live plot: owns the canvas and its renderer, redraws at most once a frame, and never leaves a blank.
import type { Rgb } from "../core/theme";
import { type Camera, HOME, type Size, type Transform, transformOf } from "./camera";
import { type Grid, buildGrid, nearestRow } from "./grid";
import { type Marks, looksOf, stylesOf } from "./looks";
import { type Renderer, type RendererName, createRenderer } from "./renderer";

export interface Scatter {
  setPositions(positions: Uint16Array, smooth: boolean): void;
  setColours(values: Uint8Array, table: Uint8Array): void;
  setMarks(marks: Marks): void;
  setGround(background: Rgb, grey: Rgb): void;
  setCamera(camera: Camera): void;
  camera(): Camera;
  size(): Size;
  transform(): Transform;
  positions(): Uint16Array;
  /** The row under a point of the plot, or -1. */
  rowAt(x: number, y: number): number;
  dispose(): void;
}

interface Hooks {
  wish: RendererName | null;
  onRenderer(name: RendererName): void;
  /** After every frame, for what is drawn on top. */
  onFrame(transform: Transform): void;
}

const REACH = 9;
const SMOOTH_UP_TO = 60_000;
const SMOOTH_MS = 700;

export function createScatter(host: HTMLElement, hooks: Hooks): Scatter {
  let positions = new Uint16Array(0);
  let colours: [Uint8Array, Uint8Array] = [new Uint8Array(0), new Uint8Array(768)];
  let marks: Marks = { n: 0, outcome: null, selection: null, members: null };
  let looks = looksOf(marks);
  let background: Rgb = [255, 255, 255];
  let grey: Rgb = [190, 190, 190];
  let camera = HOME;
  let grid: Grid | null = null;
  let frame = 0;
  let moving = 0;
  let size: Size = { width: 0, height: 0 };
  let renderer = start(hooks.wish);

  function start(wish: RendererName | null): Renderer {
    const made = createRenderer(wish, () => {
      renderer.dispose();
      renderer = start("canvas2d");
      fill();
    });
    made.canvas.dataset.testid = "scatter-canvas";
    made.canvas.setAttribute("aria-hidden", "true");
    host.prepend(made.canvas);
    hooks.onRenderer(made.name);
    return made;
  }

  function fill() {
    renderer.setPositions(positions);
    renderer.setColours(...colours);
    renderer.setLooks(looks);
    redraw();
  }

  function redraw() {
    if (frame === 0) frame = requestAnimationFrame(draw);
  }

  function draw() {
    frame = 0;
    if (size.width < 1 || size.height < 1) return;
    const n = positions.length >> 1;
    const transform = transformOf(camera, size);
    const ratio = n > 300_000 ? 1 : Math.min(window.devicePixelRatio || 1, 2);
    const styles = stylesOf(n, size.width * size.height, camera.zoom);
    renderer.draw({ ...size, ratio, transform, styles, background, grey });
    hooks.onFrame(transform);
  }

  const watch = new ResizeObserver(() => {
    size = { width: host.clientWidth, height: host.clientHeight };
    redraw();
  });
  watch.observe(host);

  function setPositions(next: Uint16Array, smooth: boolean) {
    cancelAnimationFrame(moving);
    grid = null;
    const from = positions;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!smooth || calm || from.length !== next.length || next.length > 2 * SMOOTH_UP_TO) {
      place(next);
      return;
    }
    const began = performance.now();
    const advance = (now: number) => {
      const share = Math.min((now - began) / SMOOTH_MS, 1);
      place(share < 1 ? between(from, next, share * share * (3 - 2 * share)) : next);
      if (share < 1) moving = requestAnimationFrame(advance);
    };
    moving = requestAnimationFrame(advance);
  }

  function place(next: Uint16Array) {
    positions = next as Uint16Array<ArrayBuffer>;
    grid = null;
    renderer.setPositions(positions);
    redraw();
  }

  return {
    setPositions,
    setColours(values, table) {
      colours = [values, table];
      renderer.setColours(values, table);
      redraw();
    },
    setMarks(next) {
      marks = next;
      looks = looksOf(marks);
      renderer.setLooks(looks);
      redraw();
    },
    setGround(nextBackground, nextGrey) {
      background = nextBackground;
      grey = nextGrey;
      redraw();
    },
    setCamera(next) {
      camera = next;
      redraw();
    },
    camera: () => camera,
    size: () => size,
    transform: () => transformOf(camera, size),
    positions: () => positions,
    rowAt(x, y) {
      if (positions.length === 0) return -1;
      grid ??= buildGrid(positions);
      return nearestRow(grid, positions, transformOf(camera, size), x, y, REACH);
    },
    dispose() {
      cancelAnimationFrame(frame);
      cancelAnimationFrame(moving);
      watch.disconnect();
      renderer.dispose();
    },
  };
}

function between(from: Uint16Array, to: Uint16Array, share: number): Uint16Array {
  const out = new Uint16Array(to.length);
  for (let i = 0; i < out.length; i++) out[i] = from[i]! + (to[i]! - from[i]!) * share;
  return out;
}
