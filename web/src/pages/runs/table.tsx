/** The runs as a table; on narrow screens each becomes a card. */
import { measured } from "../../api/measured";
import type { RunSummary, StepValue } from "../../api/types";
import { useNow } from "../../clock";
import { formatAge, formatDuration, formatInstant, formatSpeed, formatValue } from "../../format";
import { ProgressBar } from "../../parts/progress";
import { Icon } from "../../parts/icon";
import { StateBadge } from "../../parts/state";
import { type RunSort, type SortKey } from "./list";

interface RunTableProps {
  runs: readonly RunSummary[];
  sort: RunSort;
  onSort: (by: SortKey) => void;
}

export function RunTable({ runs, sort, onSort }: RunTableProps) {
  const now = useNow();
  return (
    <div class="card table-card">
      <table class="table runs">
        <caption class="visually-hidden">Runs; a button in a column's head sorts by it</caption>
        <thead>
          <tr>
            <th scope="col">State</th>
            <SortHead by="name" name="Run" sort={sort} onSort={onSort} />
            <th scope="col">Progress</th>
            <SortHead by="last_loss" name="Loss" number sort={sort} onSort={onSort} />
            <SortHead by="best_validation" name="Best validation" number sort={sort} onSort={onSort} />
            <th scope="col" class="number">
              Batches/s
            </th>
            <SortHead by="duration" name="Took" number sort={sort} onSort={onSort} />
            <th scope="col">Worker</th>
            <SortHead by="created" name="Submitted" sort={sort} onSort={onSort} />
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

interface SortHeadProps {
  by: SortKey;
  name: string;
  number?: boolean;
  sort: RunSort;
  onSort: (by: SortKey) => void;
}

function SortHead({ by, name, number = false, sort, onSort }: SortHeadProps) {
  const chosen = sort.by === by;
  const direction = sort.descending ? "descending" : "ascending";
  return (
    <th scope="col" class={number ? "number" : undefined} aria-sort={chosen ? direction : "none"}>
      <button
        type="button"
        class="sort"
        onClick={() => {
          onSort(by);
        }}
      >
        {name}
        <Icon name={chosen ? direction : "unsorted"} />
      </button>
    </th>
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
            <a class="tag" key={tag} href={`/?tag=${encodeURIComponent(tag)}`}>
              {tag}
            </a>
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
      <td class="number" data-label="Took">
        {durationOf(run)}
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

function durationOf({ started_at, finished_at }: RunSummary): string {
  if (!started_at || !finished_at) return "–";
  return formatDuration((Date.parse(finished_at) - Date.parse(started_at)) / 1000);
}

function valueOf(point: StepValue | null | undefined): string {
  return formatValue(point ? measured(point.value) : null);
}
