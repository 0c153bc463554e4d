/** The runs as a table; on narrow screens each becomes a card. */
import { measured } from "../../api/measured";
import type { RunSummary, StepValue } from "../../api/types";
import { useNow } from "../../clock";
import { formatAge, formatInstant, formatSpeed, formatValue } from "../../format";
import { ProgressBar } from "../../parts/progress";
import { StateBadge } from "../../parts/state";

export function RunTable({ runs }: { runs: readonly RunSummary[] }) {
  const now = useNow();
  return (
    <div class="card table-card">
      <table class="table runs">
        <caption class="visually-hidden">Runs, newest first</caption>
        <thead>
          <tr>
            <th scope="col">State</th>
            <th scope="col">Run</th>
            <th scope="col">Progress</th>
            <th scope="col" class="number">
              Loss
            </th>
            <th scope="col" class="number">
              Best validation
            </th>
            <th scope="col" class="number">
              Batches/s
            </th>
            <th scope="col">Worker</th>
            <th scope="col">Submitted</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <RunRow key={run.id} run={run} now={now} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RunRow({ run, now }: { run: RunSummary; now: number }) {
  return (
    <tr data-run={run.id}>
      <td class="cell-state">
        <StateBadge state={run.state} pausing={run.pausing} />
      </td>
      <td class="cell-name">
        <a class="run-link" href={`/runs/${run.id}`}>
          {run.name}
        </a>
        <span class="run-sub">
          <span class="kind">{run.kind}</span>
          {run.preset && run.preset !== run.name && <span>{run.preset}</span>}
          <span>seed {run.seed}</span>
          {run.attempts > 1 && <span>attempt {run.attempts}</span>}
          {run.tags.map((tag) => (
            <span class="tag" key={tag}>
              {tag}
            </span>
          ))}
        </span>
        {run.failure && <span class="run-failure">{run.failure.message}</span>}
      </td>
      <td class="cell-progress" data-label="Progress">
        <ProgressBar progress={run.progress} state={run.state} />
      </td>
      <td class="number" data-label="Loss">
        {valueOf(run.last_loss)}
      </td>
      <td class="number" data-label="Best validation">
        {valueOf(run.best_validation)}
      </td>
      <td class="number" data-label="Batches/s">
        {run.state === "running" ? formatSpeed(run.progress.batches_per_second) : "–"}
      </td>
      <td class="cell-worker" data-label="Worker">
        {run.worker ?? "–"}
      </td>
      <td data-label="Submitted" title={formatInstant(run.created_at)}>
        {formatAge(run.created_at, now)}
      </td>
    </tr>
  );
}

function valueOf(point: StepValue | null | undefined): string {
  return formatValue(point ? measured(point.value) : null);
}
