// A rate with its interval on a 0 to 100% track, and the rest of the scope as a tick to compare with.
import { interval, percent } from "../core/format";

interface Props {
  rate: number;
  low: number;
  high: number;
  rest: number | null;
}

export function IntervalTrack({ rate, low, high, rest }: Props) {
  const at = (share: number) => `${(Math.min(Math.max(share, 0), 1) * 100).toFixed(1)}%`;
  const label = `error rate ${percent(rate)} ${interval(low, high)}${rest === null ? "" : `, elsewhere in its scope ${percent(rest)}`}`;
  return (
    <div class="fv-track" role="img" aria-label={label} title={label}>
      <span class="fv-range" style={{ left: at(low), width: at(high - low) }} />
      {rest !== null && <span class="fv-rest" style={{ left: at(rest) }} />}
      <span class="fv-point" style={{ left: at(rate) }} />
    </div>
  );
}
