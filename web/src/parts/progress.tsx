/** How far a run has come, as a bar. */
import type { Progress, RunState } from "../api/types";
import { formatCount, formatPercent } from "../format";

export function ProgressBar({ progress, state }: { progress: Progress; state: RunState }) {
  const { batches_done: done, batches_total: total } = progress;
  const share = total > 0 ? done / total : 0;
  const text = `${formatCount(done)} of ${formatCount(total)} batches`;
  return (
    <div class="progress" data-state={state} title={text}>
      <progress value={Math.min(done, total)} max={Math.max(total, 1)} aria-label={text} />
      <span class="progress-share">{formatPercent(share)}</span>
    </div>
  );
}
