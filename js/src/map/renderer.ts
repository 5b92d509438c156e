// What the scatter needs of a renderer, and which one this browser gets.
import type { Rgb } from "../core/theme";
import { createCanvasRenderer } from "./canvas2d";
import type { Transform } from "./camera";
import type { Looks, Style } from "./looks";
import { createWebglRenderer } from "./webgl2";

export type RendererName = "webgl2" | "canvas2d";

export interface Frame {
  width: number;
  height: number;
  ratio: number;
  transform: Transform;
  styles: Style[];
  background: Rgb;
  grey: Rgb;
}

export interface Renderer {
  name: RendererName;
  canvas: HTMLCanvasElement;
  setPositions(positions: Uint16Array): void;
  setColours(values: Uint8Array, table: Uint8Array): void;
  setLooks(looks: Looks): void;
  draw(frame: Frame): void;
  dispose(): void;
}

/** Software WebGL is slower than our own rasteriser and `failIfMajorPerformanceCaveat` does not notice it: ask for its name. */
function hasFastWebgl(): boolean {
  const probe = document.createElement("canvas").getContext("webgl2");
  if (!probe) return false;
  const info = probe.getExtension("WEBGL_debug_renderer_info");
  const name: unknown = probe.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : probe.RENDERER);
  probe.getExtension("WEBGL_lose_context")?.loseContext();
  return typeof name === "string" && !/swiftshader|llvmpipe|software/i.test(name);
}

/** `onLost` fires when a WebGL context goes away: the caller then asks again with "canvas2d". */
export function createRenderer(wish: RendererName | null, onLost: () => void): Renderer {
  if (wish === "webgl2" || (wish === null && hasFastWebgl())) {
    const renderer = createWebglRenderer(onLost);
    if (renderer) return renderer;
  }
  return createCanvasRenderer();
}
