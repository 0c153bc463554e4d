/** How far a run has come, as a bar. */
import type { Progress, RunState } from "../api/types";
import { formatCount, formatPercent } from "../format";

export function ProgressBar({ progress, state }: { progress: Progress; state: RunState }) {
  const { batches_done: done, batches_total: total } = progress;
  // An evaluation trains no batches: there is no share to show.
  if (total === 0) return <span class="quiet">–</span>;
  const share = done / total;
  const text = `${formatCount(done)} of ${formatCount(total)} batches`;
  return (
    <div class="progress" data-state={state} title={text}>
      <progress value={Math.min(done, total)} max={total} aria-label={text} />
      <span class="progress-share">{formatPercent(share)}</span>
    </div>
  );
}
