/** The head of a run's page: what it is, where it stands, and the figures that matter. */
import type { ComponentChildren } from "preact";
import { measured } from "../../api/measured";
import type { BaseCheckpoint, RunDetail, StepValue } from "../../api/types";
import { useNow } from "../../clock";
import {
  formatAge,
  formatCount,
  formatDuration,
  formatInstant,
  formatSpeed,
  formatValue,
} from "../../format";
import type { StreamState } from "../../live";
import { ErrorNotice, LiveMark } from "../../parts/notice";
import { ProgressBar } from "../../parts/progress";
import { StateBadge } from "../../parts/state";
import { useMaySubmit } from "../../session";
import { RunActions } from "./actions";
import { secondsLeft } from "./eta";
import { isOver } from "./use-run";

const FAILURES: Readonly<Record<string, string>> = {
  bad_spec: "The spec cannot be carried out",
  out_of_memory: "Out of memory",
  diverged: "The training diverged",
  lost: "Too many workers were lost",
  internal: "The worker failed",
};

export interface RunHeaderProps {
  run: RunDetail;
  stream: StreamState;
  onChanged: () => void;
}

export function RunHeader({ run, stream, onChanged }: RunHeaderProps) {
  const now = useNow(1_000);
  const maySubmit = useMaySubmit();
  return (
    <header class="run-head">
      <div class="page-head">
        <h1>{run.name}</h1>
        <StateBadge state={run.state} pausing={run.pausing} />
        <LiveMark state={stream} ended={isOver(run)} />
        {maySubmit && <RunActions run={run} now={now} onChanged={onChanged} />}
      </div>
      <p class="run-sub">
        <span class="kind">{run.kind}</span>
        {run.preset && run.preset !== run.name && <span>{run.preset}</span>}
        {run.base && <Base base={run.base} />}
        <span>seed {run.seed}</span>
        <span title={formatInstant(run.created_at)}>submitted {formatAge(run.created_at, now)}</span>
        {run.worker && <span>on {run.worker}</span>}
        {run.tags.map((tag) => (
          <span class="tag" key={tag}>
            {tag}
          </span>
        ))}
      </p>
      {run.notes && <p class="run-notes">{run.notes}</p>}
      {run.failure && (
        <ErrorNotice>
          <strong>{FAILURES[run.failure.class] ?? run.failure.class}.</strong> {run.failure.message}
        </ErrorNotice>
      )}
      <dl class="tiles" data-kind={run.kind}>
        {run.kind === "evaluate" ? (
          <Tile name="Position error" note="mean over all conditions">
            <Metres point={run.last_validation} />
          </Tile>
        ) : (
          <TrainingTiles run={run} />
        )}
        {isOver(run) ? (
          <Tile name="Took" note={run.finished_at ? `ended ${formatAge(run.finished_at, now)}` : ""}>
            {formatDuration(secondsBetween(run.started_at, run.finished_at))}
          </Tile>
        ) : (
          <Tile name="Time left" note={paceNote(run, now)}>
            {formatDuration(secondsLeft(run, now))}
          </Tile>
        )}
      </dl>
    </header>
  );
}

function TrainingTiles({ run }: { run: RunDetail }) {
  return (
    <>
      <Tile
        name="Progress"
        wide
        note={`${formatCount(run.progress.batches_done)} of ${formatCount(run.progress.batches_total)} batches`}
      >
        <ProgressBar progress={run.progress} state={run.state} />
      </Tile>
      <Tile name="Best validation" note={atBatch(run.best_validation)}>
        <Metres point={run.best_validation} />
      </Tile>
      <Tile name="Newest validation" note={atBatch(run.last_validation)}>
        <Metres point={run.last_validation} />
      </Tile>
      <Tile name="Training loss" note={atBatch(run.last_loss)}>
        {formatValue(run.last_loss ? measured(run.last_loss.value) : null)}
      </Tile>
      <Tile name="Batches per second" note={run.state === "running" ? "evaluations left out" : ""}>
        {formatSpeed(run.progress.batches_per_second)}
      </Tile>
    </>
  );
}

/** What the run starts from. */
function Base({ base }: { base: BaseCheckpoint }) {
  return (
    <span>
      from <a href={`/runs/${base.run}`}>{base.run_name}</a>, {base.kind} after {formatCount(base.next_batch)}{" "}
      batches
    </span>
  );
}

interface TileProps {
  name: string;
  note: string;
  wide?: boolean;
  children: ComponentChildren;
}

function Tile({ name, note, wide = false, children }: TileProps) {
  return (
    <div class="tile" data-wide={wide}>
      <dt>{name}</dt>
      <dd class="tile-value">{children}</dd>
      <dd class="tile-note">{note}</dd>
    </div>
  );
}

function Metres({ point }: { point: StepValue | null | undefined }) {
  if (!point) return <>–</>;
  return (
    <>
      {formatValue(measured(point.value))}
      <span class="unit"> m</span>
    </>
  );
}

function paceNote(run: RunDetail, now: number): string {
  const wait = run.not_before ? (Date.parse(run.not_before) - now) / 1000 : 0;
  if (run.state === "queued" && wait > 0) return `tried again in ${formatDuration(wait)}`;
  if (run.state === "queued") return "waits for a worker";
  if (run.state === "waiting") return "waits for other runs";
  if (run.state === "paused") return "until it is resumed";
  if (run.pausing) return "leaves a checkpoint, then pauses";
  return run.kind === "evaluate" ? "" : "at this attempt's pace";
}

function atBatch(point: StepValue | null | undefined): string {
  return point ? `at batch ${formatCount(point.step)}` : "";
}

function secondsBetween(from: string | null | undefined, to: string | null | undefined): number | null {
  return from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null;
}
