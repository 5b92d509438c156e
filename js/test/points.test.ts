import { describe, expect, it } from "vitest";
import { countBits, emptyBits, hasBit, setBit } from "../src/core/bitset";
import { HOME, pan, toPosition, toScreen, transformOf, zoomAt } from "../src/map/camera";
import { buildGrid, nearestRow } from "../src/map/grid";
import { rowsInside } from "../src/map/lasso";
import { STRONG, looksOf, passesOf, stylesOf } from "../src/map/looks";
import { stampOf } from "../src/map/canvas2d";

/** mulberry32: the same points in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function cloud(n: number, seed = 1): Uint16Array {
  const next = random(seed);
  return Uint16Array.from({ length: 2 * n }, () => Math.floor(next() * 65536));
}

function naiveInside(x: number, y: number, outline: Float64Array): boolean {
  let inside = false;
  for (let i = 0, j = outline.length - 2; i < outline.length; j = i, i += 2) {
    const [xi, yi, xj, yj] = [outline[i]!, outline[i + 1]!, outline[j]!, outline[j + 1]!];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

describe("bitset", () => {
  it("puts row r in bit r & 7 of byte r >> 3, as Python does", () => {
    const bits = emptyBits(10);
    expect(bits.length).toBe(2);
    setBit(bits, 0);
    setBit(bits, 9);
    expect([...bits]).toEqual([1, 2]);
    expect([hasBit(bits, 9), hasBit(bits, 8)]).toEqual([true, false]);
  });

  it("counts every byte right", () => {
    for (let byte = 0; byte < 256; byte++) {
      expect(countBits(Uint8Array.of(byte))).toBe(byte.toString(2).replaceAll("0", "").length);
    }
  });
});

describe("lasso", () => {
  it("agrees with the naive rule on random, self-crossing outlines", () => {
    const positions = cloud(3000);
    for (let seed = 2; seed < 12; seed++) {
      const outline = Float64Array.from(cloud(4 + seed, seed), (value) => value + 0.5);
      const { bits, count } = rowsInside(positions, outline);
      for (let row = 0; row < 3000; row++) {
        expect(hasBit(bits, row)).toBe(naiveInside(positions[2 * row]!, positions[2 * row + 1]!, outline));
      }
      expect(count).toBe(countBits(bits));
    }
  });

  it("holds nothing when the outline is no area", () => {
    expect(rowsInside(cloud(100), Float64Array.of(0, 0, 65535, 65535)).count).toBe(0);
  });

  it("takes a million points in flat arrays", () => {
    const outline = Float64Array.of(-1, -1, 65536, -1, 65536, 65536, -1, 65536);
    const { bits, count } = rowsInside(cloud(1_000_000), outline);
    expect(count).toBe(1_000_000);
    expect(bits.byteLength).toBe(125_000);
  });
});

describe("grid", () => {
  it("finds the nearest point on screen, as a search through all does", () => {
    const positions = cloud(2000);
    const size = { width: 600, height: 400 };
    const next = random(9);
    for (const camera of [HOME, zoomAt(HOME, size, 7, 300, 100)]) {
      const transform = transformOf(camera, size);
      const grid = buildGrid(positions);
      for (let trial = 0; trial < 300; trial++) {
        const x = next() * 600;
        const y = next() * 400;
        let best = -1;
        let nearest = 81;
        for (let row = 0; row < 2000; row++) {
          const [sx, sy] = toScreen(transform, positions[2 * row]!, positions[2 * row + 1]!);
          const distance = (sx - x) ** 2 + (sy - y) ** 2;
          if (distance < nearest) [best, nearest] = [row, distance];
        }
        expect(nearestRow(grid, positions, transform, x, y, 9)).toBe(best);
      }
    }
  });
});

describe("camera", () => {
  const size = { width: 800, height: 500 };

  it("goes to the screen and back, with y up in the data", () => {
    const transform = transformOf(zoomAt(HOME, size, 3, 100, 100), size);
    const [x, y] = toScreen(transform, 20000, 50000);
    const [px, py] = toPosition(transform, x, y);
    expect(px).toBeCloseTo(20000);
    expect(py).toBeCloseTo(50000);
    expect(toScreen(transform, 0, 0)[1]).toBeGreaterThan(toScreen(transform, 0, 65535)[1]);
  });

  it("leaves room below the layout for the buttons over the plot", () => {
    const transform = transformOf(HOME, size);
    expect(toScreen(transform, 0, 0)[1]).toBeCloseTo(454);
    expect(toScreen(transform, 65535, 65535)).toEqual([expect.closeTo(782), expect.closeTo(18)]);
  });

  it("keeps the point under the pointer while zooming, and follows the pointer while panning", () => {
    const before = toPosition(transformOf(HOME, size), 610, 90);
    const after = toPosition(transformOf(zoomAt(HOME, size, 2.5, 610, 90), size), 610, 90);
    expect(after[0]).toBeCloseTo(before[0]);
    expect(after[1]).toBeCloseTo(before[1]);
    const moved = toScreen(transformOf(pan(HOME, size, 30, -12), size), ...before);
    expect(moved[0]).toBeCloseTo(640);
    expect(moved[1]).toBeCloseTo(78);
  });
});

describe("looks", () => {
  const outcome = Uint8Array.of(0, 1, 0, 1);
  const first = Uint8Array.of(0b0011);

  it("greys out what is not selected, and keeps its shape", () => {
    expect([...looksOf({ n: 4, outcome, selection: first, members: null }).codes]).toEqual([4, 5, 0, 1]);
  });

  it("brings the slice in hand to the front", () => {
    expect([...looksOf({ n: 4, outcome, selection: null, members: first }).codes]).toEqual([6, 7, 2, 3]);
    expect([...looksOf({ n: 4, outcome, selection: null, members: null }).counts]).toEqual([0, 0, 0, 0, 2, 2, 0, 0]);
  });

  it("draws fewer points larger", () => {
    const radius = (n: number) => stylesOf(n, 256_000, 1)[2]!.radius;
    expect(radius(1000)).toBeGreaterThan(radius(50_000));
    expect(radius(1_000_000)).toBeGreaterThan(0.5);
  });

  it("draws both outcomes together where crosses would hide the dots", () => {
    const counts = new Uint32Array(8).fill(10);
    const shapes = (n: number, ratio: number, zoom = 1) =>
      passesOf(counts, stylesOf(n, 268_000, zoom), ratio).filter(({ level }) => level === STRONG).map(({ shape }) => shape);
    expect(shapes(4000, 1)).toEqual(["dot", "cross"]);
    for (const ratio of [1, 2]) expect(shapes(100_000, ratio)).toEqual(["any"]);
    expect(shapes(100_000, 1, 4)).toEqual(["dot", "cross"]);
  });

  it("stamps a cross for wrong and a dot for right", () => {
    const at = (wrong: boolean, x: number, y: number) => {
      const stamp = stampOf(wrong, 3, 1, 100);
      const index = stamp.offsets.indexOf(y * 100 + x);
      return index < 0 ? 0 : stamp.alphas[index]!;
    };
    expect(at(false, 0, 0)).toBe(255);
    expect(at(false, 2, 0)).toBe(255);
    expect(at(true, 2, 2)).toBeGreaterThan(200);
    expect(at(true, 3, 0)).toBe(0);
  });
});
