/** How long a run still takes. */
import type { RunDetail } from "../../api/types";

/** Fewer batches than this say nothing about the speed. */
const FEWEST_BATCHES = 5;

/**
 * Seconds until a running run ends; `null` where that cannot be told.
 *
 * The present attempt's own pace counts, evaluations and all; at its start, the speed that the worker
 * reports has to do.
 */
export function secondsLeft(run: RunDetail, now: number): number | null {
  if (run.state !== "running" || run.progress.batches_total === 0) return null;
  const { batches_done: done, batches_total: total, batches_per_second: speed } = run.progress;
  const left = Math.max(0, total - done);
  const attempt = run.attempt_history.at(-1);
  if (attempt?.state === "running") {
    const batches = done - attempt.first_batch;
    const seconds = (now - Date.parse(attempt.started_at)) / 1000;
    if (batches >= FEWEST_BATCHES && seconds > 0) return (left * seconds) / batches;
  }
  return speed && speed > 0 ? left / speed : null;
}
