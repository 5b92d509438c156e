// Finds the point under the pointer without looking at every point: rows sorted into 128 x 128 cells.
import { type Transform, toPosition } from "./camera";

const SHIFT = 9;
const SIDE = 65536 >> SHIFT;

export interface Grid {
  starts: Uint32Array;
  rows: Uint32Array;
}

export function buildGrid(positions: Uint16Array): Grid {
  const n = positions.length >> 1;
  const starts = new Uint32Array(SIDE * SIDE + 1);
  for (let row = 0; row < n; row++) starts[cellOf(positions, row) + 1]!++;
  for (let cell = 0; cell < SIDE * SIDE; cell++) starts[cell + 1]! += starts[cell]!;
  const next = starts.slice();
  const rows = new Uint32Array(n);
  for (let row = 0; row < n; row++) rows[next[cellOf(positions, row)]!++] = row;
  return { starts, rows };
}

function cellOf(positions: Uint16Array, row: number): number {
  return (positions[2 * row + 1]! >> SHIFT) * SIDE + (positions[2 * row]! >> SHIFT);
}

/** The row nearest to (x, y) on screen within `reach` pixels, or -1. */
export function nearestRow(grid: Grid, positions: Uint16Array, t: Transform, x: number, y: number, reach: number): number {
  const [px, py] = toPosition(t, x, y);
  const cell = (value: number) => Math.min(Math.max(Math.floor(value / (1 << SHIFT)), 0), SIDE - 1);
  const dx = Math.abs(reach / t.scaleX);
  const dy = Math.abs(reach / t.scaleY);
  if (px + dx < 0 || py + dy < 0 || px - dx > 65535 || py - dy > 65535) return -1;
  let best = -1;
  let nearest = reach * reach;
  for (let cy = cell(py - dy); cy <= cell(py + dy); cy++) {
    const from = grid.starts[cy * SIDE + cell(px - dx)]!;
    const to = grid.starts[cy * SIDE + cell(px + dx) + 1]!;
    for (let i = from; i < to; i++) {
      const row = grid.rows[i]!;
      const ex = (positions[2 * row]! - px) * t.scaleX;
      const ey = (positions[2 * row + 1]! - py) * t.scaleY;
      const distance = ex * ex + ey * ey;
      if (distance <= nearest) {
        nearest = distance;
        best = row;
      }
    }
  }
  return best;
}
