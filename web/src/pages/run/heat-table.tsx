/** The table of an evaluation: the error of every task at every speed, warmer where it is greater. */
import { useEffect, useState } from "preact/hooks";
import { api, isAbort, messageOf } from "../../api/client";
import type { Artifact } from "../../api/types";
import { taskLabel } from "../../charts/palette";
import { ErrorNotice } from "../../parts/notice";
import { type Condition, type Evaluation, EVALUATION_FILE, readEvaluation, shareOf } from "./evaluation";

const MILLIMETRES = 1_000;
const MILLISECONDS_PER_STEP = 10;

interface EvaluationCardProps {
  artifacts: readonly Artifact[];
  /** Whether the run can still make the file. */
  ended: boolean;
}

/** Fetches the table when the run has made it. */
export function EvaluationCard({ artifacts, ended }: EvaluationCardProps) {
  const file = artifacts.find((artifact) => artifact.name === EVALUATION_FILE)?.id;
  const [evaluation, setEvaluation] = useState<Evaluation | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (file === undefined) return;
    const controller = new AbortController();
    api
      .document(file, controller.signal)
      .then((document) => {
        const read = readEvaluation(document);
        setEvaluation(read);
        setError(read === null ? `${EVALUATION_FILE} holds no table that this page can read.` : null);
      })
      .catch((reason: unknown) => {
        if (!isAbort(reason)) setError(messageOf(reason));
      });
    return () => {
      controller.abort();
    };
  }, [file, round]);
  const retry = () => {
    setRound((n) => n + 1);
  };
  return (
    <section class="card heat-card" aria-labelledby="evaluation-title">
      <h2 id="evaluation-title">Evaluation</h2>
      {error !== null && <ErrorNotice onRetry={retry}>{error}</ErrorNotice>}
      {evaluation !== null && <HeatTable evaluation={evaluation} />}
      {evaluation === null && error === null && <p class="quiet">{waitingText(file !== undefined, ended)}</p>}
    </section>
  );
}

function waitingText(made: boolean, ended: boolean): string {
  if (made) return "Loading the table…";
  return ended ? "The run made no table." : "The table appears when every condition was measured.";
}

export function HeatTable({ evaluation }: { evaluation: Evaluation }) {
  const delays = evaluation.rows.some((row) => row.delay !== null);
  return (
    <>
      <p class="heat-about">
        <span class="quiet">
          Mean |Δx| + |Δy| between fingertip and goal in mm, for each task and speed over time and directions
        </span>
        <span class="heat-scale">
          {inMillimetres(evaluation.least)}
          <span class="heat-bar" aria-hidden="true" />
          {inMillimetres(evaluation.greatest)} mm
        </span>
      </p>
      <div class="heat-scroll" tabIndex={0} role="group" aria-label="Table of the evaluation">
        <table class="heat">
          <thead>
            <tr>
              <th scope="col">Task</th>
              {delays && (
                <th scope="col" class="number">
                  Delay
                </th>
              )}
              {evaluation.speeds.map((speed) => (
                <th scope="col" class="number" key={speed} title={`Speed ${speed}; 0 is the fastest`}>
                  {speed === 0 ? "fastest" : speed}
                </th>
              ))}
              <th scope="col" class="number">
                Mean
              </th>
            </tr>
          </thead>
          <tbody>
            {evaluation.rows.map((row) => (
              <tr key={`${row.task} ${row.delay ?? ""}`}>
                <th scope="row" title={row.task}>
                  {taskLabel(row.task)}
                </th>
                {delays && <td class="number">{row.delay === null ? "drawn" : milliseconds(row.delay)}</td>}
                {row.cells.map((cell, i) => (
                  <HeatCell key={evaluation.speeds[i]} cell={cell} evaluation={evaluation} />
                ))}
                <td class="number heat-mean">{inMillimetres(row.mean)}</td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row" colSpan={1 + (delays ? 1 : 0) + evaluation.speeds.length}>
                All tasks
              </th>
              <td class="number heat-mean">{inMillimetres(evaluation.total)}</td>
            </tr>
          </tfoot>
        </table>
      </div>
    </>
  );
}

function HeatCell({ cell, evaluation }: { cell: Condition | null; evaluation: Evaluation }) {
  if (cell === null) return <td class="number">–</td>;
  const { position } = cell;
  const share = position === null ? 1 : shareOf(position, evaluation);
  return (
    <td
      class="number heat-cell"
      style={{ "--heat": `${(share * 100).toFixed(1)}%` }}
      title={`movement ${milliseconds(cell.movement)}, delay ${milliseconds(cell.delay)}, ${cell.directions} directions`}
    >
      {inMillimetres(position)}
    </td>
  );
}

function inMillimetres(metres: number | null): string {
  return metres === null ? "–" : (metres * MILLIMETRES).toFixed(1);
}

function milliseconds(steps: number): string {
  return `${steps * MILLISECONDS_PER_STEP} ms`;
}
