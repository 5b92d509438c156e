// What the live region says of runs: a start, each quarter and the end. More often would only interrupt.
import { type Run, isGoing } from "./retraining";

const quarters = (run: Run): number => Math.min(Math.floor((run.share ?? 0) * 4), 3);

/** The words for an end, as they stand after "Run 3". */
export const ENDS: Partial<Record<Run["status"], string>> = {
  done: "is done",
  cancelled: "was cancelled",
  failed: "has failed",
  interrupted: "was interrupted",
};

/** From one list of runs to the next; null when nothing is worth a word. The first list is no news. */
export function announcement(before: readonly Run[] | null, now: readonly Run[]): string | null {
  if (before === null) return null;
  for (const run of now) {
    const old = before.find((one) => one.number === run.number);
    const name = `Run ${run.number}`;
    if (!isGoing(run)) {
      if (old?.status !== run.status) return `${name} ${ENDS[run.status]}`;
    } else if (!old) return `${name} has started`;
    else if (quarters(run) > quarters(old)) return `${name}: ${quarters(run) * 25}% done`;
  }
  return null;
}
