/** `/runs/{id}`: one run with its curves. */
import { useRoute } from "preact-iso";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { StepRange } from "../../charts/curve";
import { Icon } from "../../parts/icon";
import { ErrorNotice } from "../../parts/notice";
import { Artifacts } from "./artifacts";
import { Attempts } from "./attempts";
import { Checkpoints } from "./checkpoints";
import { CurvePanels } from "./curves";
import { RunHeader } from "./header";
import { EvaluationCard } from "./heat-table";
import { Logs } from "./logs";
import { Spec } from "./spec";
import { isOver, useRun } from "./use-run";

const FEWEST_POINTS = 400;
const MOST_POINTS = 2_000;

/** Another run is another page: nothing of the last one stays. */
export function RunPage() {
  const id = useRoute().params["id"] ?? "";
  return <RunView key={id} id={id} />;
}

function RunView({ id }: { id: string }) {
  const [range, setRange] = useState<StepRange | null>(null);
  const charts = useRef<HTMLDivElement>(null);
  const points = useCallback(() => {
    // Before the first answer there is no chart to measure; half a wide window is what one will get.
    const width = charts.current?.querySelector(".plot")?.clientWidth ?? window.innerWidth / 2;
    return Math.min(Math.max(Math.round(width), FEWEST_POINTS), MOST_POINTS);
  }, []);
  const run = useRun(id, range, points);
  const name = run.detail?.name;

  useEffect(() => {
    document.title = name === undefined ? "Run · Motif" : `${name} · Motif`;
  }, [name]);

  if (run.detail === null) {
    return (
      <div class="page">
        <Back />
        {run.notFound && (
          <section class="card empty">
            <h1>There is no such run</h1>
            <p class="quiet">{run.error}</p>
          </section>
        )}
        {!run.notFound && run.error !== null && <ErrorNotice onRetry={run.reload}>{run.error}</ErrorNotice>}
        {run.error === null && <p class="quiet loading">Loading the run…</p>}
      </div>
    );
  }
  const trains = run.detail.kind !== "evaluate";
  return (
    <div class="page">
      <Back />
      <RunHeader run={run.detail} stream={run.stream} onChanged={run.reload} />
      {run.error !== null && <ErrorNotice onRetry={run.reload}>{run.error}</ErrorNotice>}
      {trains ? (
        <div ref={charts}>
          <CurvePanels run={run.detail} curves={run.curves} range={range} onRange={setRange} />
        </div>
      ) : (
        <EvaluationCard artifacts={run.artifacts} ended={isOver(run.detail)} />
      )}
      <div class="columns">
        {trains && <Checkpoints checkpoints={run.checkpoints} />}
        {(!trains || run.artifacts.length > 0) && <Artifacts artifacts={run.artifacts} />}
        <Attempts attempts={run.detail.attempt_history} />
      </div>
      <Logs run={id} end={run.logEnd} attempts={run.detail.attempts} />
      <Spec run={run.detail} />
    </div>
  );
}

function Back() {
  return (
    <nav class="crumbs" aria-label="Breadcrumb">
      <a href="/">
        <Icon name="back" /> Runs
      </a>
    </nav>
  );
}
