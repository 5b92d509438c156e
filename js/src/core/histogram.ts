// Geometry of the histogram of decision values: stacked right and wrong, and where each step stands.

export interface Bar {
  x: number;
  width: number;
  right: { y: number; height: number };
  wrong: { y: number; height: number };
}

export interface Histogram {
  edges: readonly number[];
  right: readonly number[];
  wrong: readonly number[];
}

/** Horizontal place of a score, clamped to the plot: 0 at the first edge, `width` at the last. */
export function scoreToX(score: number, edges: readonly number[], width: number): number {
  const first = edges[0] ?? 0;
  const last = edges[edges.length - 1] ?? 1;
  if (last <= first) return width / 2;
  return Math.min(Math.max((score - first) / (last - first), 0), 1) * width;
}

export function bars({ edges, right, wrong }: Histogram, width: number, height: number): Bar[] {
  const n = Math.min(edges.length - 1, right.length, wrong.length);
  let tallest = 1;
  for (let i = 0; i < n; i++) tallest = Math.max(tallest, right[i]! + wrong[i]!);
  const out: Bar[] = [];
  for (let i = 0; i < n; i++) {
    const from = scoreToX(edges[i]!, edges, width);
    const to = scoreToX(edges[i + 1]!, edges, width);
    const gap = Math.min(1.5, (to - from) * 0.15);
    const tallRight = (right[i]! / tallest) * height;
    const tallWrong = (wrong[i]! / tallest) * height;
    out.push({
      x: from + gap / 2,
      width: Math.max(to - from - gap, 0.5),
      right: { y: height - tallRight, height: tallRight },
      wrong: { y: height - tallRight - tallWrong, height: tallWrong },
    });
  }
  return out;
}

/** The step whose score is nearest to a place in the plot: a click on the histogram goes there. */
export function stepAtX(x: number, steps: readonly { score: number }[], edges: readonly number[], width: number): number {
  let best = 0;
  let nearest = Infinity;
  steps.forEach((step, i) => {
    const distance = Math.abs(scoreToX(step.score, edges, width) - x);
    if (distance < nearest) {
      nearest = distance;
      best = i;
    }
  });
  return best;
}
