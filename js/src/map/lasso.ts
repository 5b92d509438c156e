// Which points lie inside a drawn outline: even-odd rule over flat arrays, fast enough for a million points.
import { emptyBits } from "../core/bitset";

/** Outline as x0, y0, x1, y1, ... in the coordinates of `positions`. */
export function rowsInside(positions: Uint16Array, outline: Float64Array): { bits: Uint8Array<ArrayBuffer>; count: number } {
  const n = positions.length >> 1;
  const bits = emptyBits(n);
  const corners = outline.length >> 1;
  if (corners < 3) return { bits, count: 0 };
  let left = Infinity, right = -Infinity, bottom = Infinity, top = -Infinity;
  for (let k = 0; k < outline.length; k += 2) {
    left = Math.min(left, outline[k]!);
    right = Math.max(right, outline[k]!);
    bottom = Math.min(bottom, outline[k + 1]!);
    top = Math.max(top, outline[k + 1]!);
  }
  let count = 0;
  for (let row = 0, at = 0; row < n; row++, at += 2) {
    const x = positions[at]!;
    if (x < left || x > right) continue;
    const y = positions[at + 1]!;
    if (y < bottom || y > top) continue;
    let inside = false;
    let px = outline[2 * corners - 2]!;
    let py = outline[2 * corners - 1]!;
    for (let k = 0; k < corners; k++) {
      const qx = outline[2 * k]!;
      const qy = outline[2 * k + 1]!;
      if (qy > y !== py > y && x < ((px - qx) * (y - qy)) / (py - qy) + qx) inside = !inside;
      px = qx;
      py = qy;
    }
    if (inside) {
      bits[row >> 3]! |= 1 << (row & 7);
      count++;
    }
  }
  return { bits, count };
}
