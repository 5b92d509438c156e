// A rate with its interval on a 0 to 100% track, and the rest of the scope as a tick to compare with.
import { interval, percent } from "../core/format";

interface Props {
  rate: number;
  low: number;
  high: number;
  rest: number | null;
}

export function IntervalTrack({ rate, low, high, rest }: Props) {
  const label = `error rate ${percent(rate)} ${interval(low, high)}${rest === null ? "" : `, elsewhere in its scope ${percent(rest)}`}`;
  return <Track label={label} at={rate} low={low} high={high} tick={rest} />;
}

/** A change of a rate, from -reach to reach, with no change as the tick in the middle. */
export function ChangeTrack({ label, change, low, high, reach }: { label: string; change: number; low: number; high: number; reach: number }) {
  const at = (value: number) => 0.5 + value / (2 * reach);
  return <Track label={label} at={at(change)} low={at(low)} high={at(high)} tick={0.5} />;
}

/** All four from 0 to 1. */
function Track({ label, at, low, high, tick }: { label: string; at: number; low: number; high: number; tick: number | null }) {
  const left = (share: number) => `${(Math.min(Math.max(share, 0), 1) * 100).toFixed(1)}%`;
  return (
    <div class="fv-track" role="img" aria-label={label} title={label}>
      <span class="fv-range" style={{ left: left(low), width: left(high - low) }} />
      {tick !== null && <span class="fv-rest" style={{ left: left(tick) }} />}
      <span class="fv-point" style={{ left: left(at) }} />
    </div>
  );
}
