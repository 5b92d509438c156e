// The loss of each arm as it falls, named at the end of its line; validation is dashed.
import { short } from "../core/format";
import type { Curve } from "../core/retraining";

const WIDE = 260;
const TALL = 72;
const LINE = 14;

export function LossCurve({ curves }: { curves: readonly Curve[] }) {
  const drawn = curves.filter((curve) => curve.loss.length > 0);
  const all = drawn.flatMap((curve) => [...curve.loss, ...curve.validation]);
  if (all.length === 0) return null;
  const [low, high] = all.reduce(([least, most], loss) => [Math.min(least, loss), Math.max(most, loss)], [Infinity, -Infinity]);
  const y = (loss: number) => 4 + (TALL - 8) * (high > low ? (high - loss) / (high - low) : 0.5);
  const longest = Math.max(...drawn.map((curve) => curve.loss.length));
  /** Validation may come once an epoch: it spreads over the steps that its arm has made. */
  const path = (losses: number[], steps: number) => {
    const end = (WIDE * Math.max(steps - 1, 1)) / Math.max(longest - 1, 1);
    const at = losses.map((loss, i) => `${((i / Math.max(losses.length - 1, 1)) * end).toFixed(1)} ${y(loss).toFixed(1)}`);
    return at.length === 1 ? `M${at[0]}h3` : `M${at.join("L")}`;
  };
  const last = (curve: Curve) => curve.loss[curve.loss.length - 1]!;
  const places = apart(drawn.map((curve) => y(last(curve))));
  const words = drawn.map((curve) => `${curve.arm} from ${short(curve.loss[0]!)} to ${short(last(curve))}`).join(", ");
  return (
    <svg class="fv-curve" viewBox={`0 -6 ${WIDE + 140} ${TALL + 24}`} role="img" aria-label={`Loss: ${words}`} data-testid="loss-curve">
      <path class="fv-base" d={`M0 ${TALL}H${WIDE}`} />
      {drawn.map((curve, i) => (
        <g key={curve.arm} data-arm={i}>
          <path d={path(curve.loss, curve.loss.length)} />
          {curve.validation.length > 0 && <path d={path(curve.validation, curve.loss.length)} stroke-dasharray="3 3" />}
          <text x={WIDE + 6} y={places[i]! + 4}>
            {curve.arm} {short(last(curve))}
          </text>
        </g>
      ))}
      <text x={0} y={TALL + 14}>
        loss{drawn.some((curve) => curve.validation.length > 0) && ", dashed on validation data"}
      </text>
    </svg>
  );
}

/** Moves labels that would overlap, the lower one downwards. */
export function apart(places: readonly number[]): number[] {
  const moved = [...places];
  const order = moved.map((_, i) => i).sort((a, b) => places[a]! - places[b]!);
  order.forEach((i, rank) => {
    if (rank > 0) moved[i] = Math.max(moved[i]!, moved[order[rank - 1]!]! + LINE);
  });
  return moved;
}
