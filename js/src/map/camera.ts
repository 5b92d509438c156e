// From positions (uint16, y up) to the plot (CSS pixels, y down) and back.

const FULL = 65535;
const PAD = 18;
/** Room below the layout for the buttons that lie over the plot. */
const FOOT = 46;
const MIN_ZOOM = 0.5;
const MAX_ZOOM = 400;

export interface Camera {
  /** Centre of what is seen, in 0..1 of the layout. */
  x: number;
  y: number;
  zoom: number;
}

export interface Size {
  width: number;
  height: number;
}

/** screen = position * scale + offset, per axis: what both renderers draw with. */
export interface Transform {
  scaleX: number;
  scaleY: number;
  offsetX: number;
  offsetY: number;
}

export const HOME: Camera = { x: 0.5, y: 0.5, zoom: 1 };

/** Map axes have no unit, so the layout fills the plot in both directions. */
export function transformOf(camera: Camera, { width, height }: Size): Transform {
  const spanX = Math.max(width - 2 * PAD, 1) * camera.zoom;
  const spanY = Math.max(height - PAD - FOOT, 1) * camera.zoom;
  return {
    scaleX: spanX / FULL,
    scaleY: -spanY / FULL,
    offsetX: width / 2 - camera.x * spanX,
    offsetY: (height + PAD - FOOT) / 2 + camera.y * spanY,
  };
}

export function toPosition(t: Transform, x: number, y: number): [number, number] {
  return [(x - t.offsetX) / t.scaleX, (y - t.offsetY) / t.scaleY];
}

export function toScreen(t: Transform, x: number, y: number): [number, number] {
  return [x * t.scaleX + t.offsetX, y * t.scaleY + t.offsetY];
}

export function pan(camera: Camera, size: Size, dx: number, dy: number): Camera {
  const t = transformOf(camera, size);
  return keepInSight({ ...camera, x: camera.x - dx / (t.scaleX * FULL), y: camera.y - dy / (t.scaleY * FULL) });
}

/** Zoom about a point of the plot, which stays where it is. */
export function zoomAt(camera: Camera, size: Size, factor: number, x: number, y: number): Camera {
  const zoom = Math.min(Math.max(camera.zoom * factor, MIN_ZOOM), MAX_ZOOM);
  const [px, py] = toPosition(transformOf(camera, size), x, y);
  const real = camera.zoom / zoom;
  const unitX = px / FULL;
  const unitY = py / FULL;
  return keepInSight({ zoom, x: unitX + (camera.x - unitX) * real, y: unitY + (camera.y - unitY) * real });
}

function keepInSight(camera: Camera): Camera {
  const clamp = (value: number) => Math.min(Math.max(value, -0.25), 1.25);
  return { ...camera, x: clamp(camera.x), y: clamp(camera.y) };
}
